"""Find what a name or a path means in the schemas that are served, and say what is odd about it."""

from __future__ import annotations

from typing import Any

from scim2_models import AttributeBinding, Path, SCIMException

from services.scim_gateway.quirks import Note
from services.scim_gateway.schemas import ENTERPRISE_SCHEMA, GROUP_SCHEMA, USER_SCHEMA, model

KNOWN_SCHEMAS = {each.lower() for each in (USER_SCHEMA, GROUP_SCHEMA, ENTERPRISE_SCHEMA)}
_OF_ALL = frozenset({"schemas", "id", "externalid", "meta"})
"""Lower-case names of what every resource has (RFC 7643 §3.1)."""


def binding_of(kind: str, path: str) -> AttributeBinding | None:
    """Find the attribute that a path names; None for no attribute, and for what is no path."""
    bound: Any = Path[model(kind)]  # type: ignore[misc]  # known at run time only
    try:
        found: AttributeBinding | None = bound(path).resolve()
    except SCIMException:
        return None
    return found


def note_name(kind: str, path: str, note: Note) -> None:
    """Say what is odd about the name of an attribute, by which it is found all the same or not."""
    if path.lower() in KNOWN_SCHEMAS:
        return
    binding = binding_of(kind, path)
    if binding is None:
        if path.lower() not in _OF_ALL:
            note("unknown_attribute")
    elif binding.urn.rpartition(":")[2].rpartition(".")[2] not in path:
        note("attribute_case")
