"""Read a plain new user straight from its JSON: names as the schema spells them, and values of the right types.

Whatever else is said, or said otherwise, is for the models to read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from services.scim_gateway.schemas import USER_SCHEMA

Json = dict[str, Any]

_TEXT: Final = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,254}[^\s\x00-\x1f\x7f])?")
"""Something said, without anything around it."""


def plain_user(said: Any) -> Json | None:
    """Read what is kept of a user, its attributes in the order in which models write them; None if it is not plain."""
    if not isinstance(said, dict) or said.get("schemas") != [USER_SCHEMA] or "userName" not in said:
        return None
    kept = _read(_ATTRIBUTES, {name: value for name, value in said.items() if name != "schemas"})
    return None if kept is None else {"schemas": [USER_SCHEMA], **_with_active(kept)}


def _with_active(kept: Json) -> Json:
    """Who does not say whether a user is active means that it is."""
    if "active" in kept:
        return kept
    return {name: kept.get(name, True) for name in _ATTRIBUTES if name in kept or name == "active"}


def _read(attributes: Mapping[str, Callable[[Any], Any]], said: Any) -> Json | None:
    """Read an object that has some of these attributes and no others, each with a value that is read as well."""
    if not isinstance(said, dict) or not said or not said.keys() <= attributes.keys():
        return None
    kept = {name: read(said[name]) for name, read in attributes.items() if name in said}
    return None if None in kept.values() else kept


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and _TEXT.fullmatch(value) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _type(value: Any) -> str | None:
    return value if isinstance(value, str) and value in {"work", "home", "mobile"} else None


def _name(value: Any) -> Json | None:
    return _read(_NAME, value)


def _values(value: Any) -> list[Json] | None:
    """Read values of which one at most is the primary one."""
    if not isinstance(value, list) or not value:
        return None
    entries = [_read(_ENTRY, each) if isinstance(each, dict) and "value" in each else None for each in value]
    if None in entries or sum(bool(each and each.get("primary")) for each in entries) > 1:
        return None
    return entries  # type: ignore[return-value]  # None is in none of them


_NAME: Final = dict.fromkeys(("formatted", "familyName", "givenName"), _text)
_ENTRY: Final = {"value": _text, "type": _type, "primary": _flag}
_ATTRIBUTES: Final[dict[str, Callable[[Any], Any]]] = {
    "externalId": _text,
    "userName": _text,
    "name": _name,
    "displayName": _text,
    "title": _text,
    "active": _flag,
    "emails": _values,
    "phoneNumbers": _values,
}
"""In the order in which the models have them."""
