"""Rewrite values that identity providers send into those that the schemas have; each rewrite has a name, a quirk."""

from __future__ import annotations

from typing import Any

import orjson

from services.scim_gateway.names import binding_of, note_name
from services.scim_gateway.quirks import Note
from services.scim_gateway.schemas import ENTERPRISE_SCHEMA, USER

MANAGER = f"{ENTERPRISE_SCHEMA}:manager"
_TEXTS = {"true": True, "false": False}
_WORDS = {
    **dict.fromkeys(("1", "y", "yes", "t", "on"), True),
    **dict.fromkeys(("0", "n", "no", "f", "off"), False),
}

Json = dict[str, Any]


def tolerated_value(kind: str, path: str, value: Any, note: Note) -> Any:
    """Rewrite the value that is written at a path."""
    lower = path.lower()
    if kind == USER and lower == MANAGER.lower():
        return _manager(value, note)
    if kind == USER and lower == ENTERPRISE_SCHEMA.lower() and isinstance(value, dict):
        return tolerated_extension(value, note)
    if lower == "members" or lower.endswith(":members"):
        return _members(value, note)
    if kind == USER and lower == "roles" and isinstance(value, list):
        value = [_role(each, note) for each in value]
    if isinstance(value, list):
        return [_entry(kind, path, each, note) if isinstance(each, dict) else each for each in value]
    return _entry(kind, path, value, note) if isinstance(value, dict) else _scalar(kind, path, value, note)


def tolerated_extension(extension: Json, note: Note) -> Json:
    """Rewrite the enterprise attributes, each by its name."""
    for key in extension:
        note_name(USER, f"{ENTERPRISE_SCHEMA}:{key}", note)
    return {
        key: _manager(value, note)
        if key.lower() == "manager"
        else _scalar(USER, f"{ENTERPRISE_SCHEMA}:{key}", value, note)
        for key, value in extension.items()
    }


def tolerated_boolean(value: Any, note: Note) -> Any:
    """Read true or false out of a text, a number or another word; what is none of them stays, to be refused."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int | float) and value in {0, 1}:
        note("boolean_as_word")
        return bool(value)
    if not isinstance(value, str):
        return value
    word = value.strip().lower()
    if word in _TEXTS:
        note("boolean_as_text")
        return _TEXTS[word]
    if word in _WORDS:
        note("boolean_as_word")
        return _WORDS[word]
    return value


def _scalar(kind: str, path: str, value: Any, note: Note) -> Any:
    binding = binding_of(kind, path)
    target = binding.target_type if binding else None
    if not isinstance(target, type):
        return value
    if issubclass(target, bool) and value not in ("", None):
        return tolerated_boolean(value, note)
    if isinstance(value, str) and not value.strip() and not issubclass(target, str):
        note("empty_object")
        return None
    if value == "":
        note("empty_text")
    return value


def _entry(kind: str, path: str, entry: Json, note: Note) -> Json:
    """Rewrite the parts of an object, which may be one of several."""
    binding = binding_of(kind, path)
    if binding is None:
        return entry
    for key in entry:
        note_name(kind, f"{path}.{key}", note)
    return {key: _scalar(kind, f"{path}.{key}", value, note) for key, value in entry.items()}


def _manager(value: Any, note: Note) -> Any:
    """Give manager the one form it has, an object with value; nothing in any form is null."""
    while isinstance(value, list):
        note("manager_as_id")
        value = value[0] if value else None
    if isinstance(value, str):
        note("manager_as_id")
        value = {"value": value}
    if not isinstance(value, dict):
        return value
    for key in value:
        note_name(USER, f"{MANAGER}.{key}", note)
    return value if any(item for key, item in value.items() if key.lower() == "value") else None


def _members(value: Any, note: Note) -> Any:
    """Write each bare id of a group's members as the object that it stands for."""
    entries = [value] if isinstance(value, str) and value else value
    if not isinstance(entries, list) or not any(isinstance(each, str) and each for each in entries):
        return value
    note("bare_member_id")
    return [{"value": each} if isinstance(each, str) and each else each for each in entries]


def _role(role: Any, note: Note) -> Any:
    """Take a role out of the text that it was put into as JSON."""
    text = role.get("value") if isinstance(role, dict) else role
    if not isinstance(text, str):
        return role
    outer = role if isinstance(role, dict) else {"value": role}
    if outer is not role:
        note("bare_role")
    if not text.lstrip().startswith("{"):
        return outer
    try:
        inner = orjson.loads(text)
    except orjson.JSONDecodeError:
        return outer
    if not isinstance(inner, dict) or not inner.get("value"):
        return outer
    note("json_in_text")
    taken = {"value": inner["value"], "display": inner.get("display") or inner.get("displayName")}
    labels = {key: item for key, item in {**inner, **outer}.items() if key in {"type", "primary"}}
    return {**{key: item for key, item in taken.items() if item}, **labels}
