"""Read what a removal says beside the name of an attribute: Entra ID names by value whom or what it takes away."""

from __future__ import annotations

import re
from typing import Any

import orjson

from services.scim_gateway.names import binding_of
from services.scim_gateway.quirks import Note
from services.scim_gateway.schemas import USER
from services.scim_gateway.values import MANAGER

Json = dict[str, Any]

_ONE_MANAGER = re.compile(rf'{re.escape(MANAGER)}\s*\[\s*value\s+eq\s+("(?:[^"\\]|\\.)*")\s*\]', re.IGNORECASE)


def tolerated_removal(operation: Json, note: Note) -> Json:
    """Rewrite a removal from a user; of a manager its value still says who, until the operations are known together.

    A value is dropped where the path alone says what goes: a selected value, a part, an attribute of one value.
    """
    path = operation["path"]
    one = _ONE_MANAGER.fullmatch(path)
    if one is not None and (who := _text(one[1])):
        note("manager_as_id")
        return {**operation, "path": MANAGER, "value": who}
    if "value" not in operation or path.lower() == MANAGER.lower():
        return operation
    binding = binding_of(USER, path)
    if "[" in path or (binding is not None and not binding.is_multivalued):
        return {key: item for key, item in operation.items() if key != "value"}
    return operation


def without_stale_removals(operations: list[Any]) -> list[Any]:
    """Let whoever is made manager stay it, when the same PATCH takes another one away, before or afterwards."""
    made = {_who(each["value"]) for each in operations if _is(each, "add", "replace") and "value" in each}
    kept: list[Any] = []
    for each in operations:
        if not _is(each, "remove") or "value" not in each:
            kept.append(each)
        elif not made - {_who(each["value"])}:
            kept.append({key: item for key, item in each.items() if key != "value"})
    return kept


def _is(operation: Any, *ops: str) -> bool:
    """Tell whether an operation is one of these on the manager."""
    if not isinstance(operation, dict) or operation.get("op") not in ops:
        return False
    path = operation.get("path")
    return isinstance(path, str) and path.lower() == MANAGER.lower()


def _who(manager: Any) -> str:
    """Give the id of a manager in whatever form it comes."""
    if isinstance(manager, dict):
        manager = next((item for key, item in manager.items() if key.lower() == "value"), None)
    return manager if isinstance(manager, str) else ""


def _text(quoted: str) -> str:
    try:
        return str(orjson.loads(quoted))
    except orjson.JSONDecodeError:
        return ""  # to be refused where paths are read
