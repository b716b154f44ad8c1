"""What of two answers must be the same, and what is each server's own."""

from __future__ import annotations

from typing import Any


def kind_of(status: int) -> int:
    """204 and 200 are one: which of them a PATCH is answered with is the server's choice."""
    return 200 if status == 204 else status


def is_retry(plain: dict[str, Any], there: dict[str, Any]) -> bool:
    """Rule `retry`: it is what is there, word for word; of a group's members all are in it."""
    keys = (plain.keys() | there.keys()) - {"id", "meta", "groups", "schemas", "members"}
    said, found = ({each["value"] for each in one.get("members", ())} for one in (plain, there))
    return bool(plain.get("externalId")) and said <= found and all(plain.get(key) == there.get(key) for key in keys)


def sort_value(resource: dict[str, Any], name: str) -> Any:
    """The value that a resource is sorted by: of several the primary one, else the first (RFC 7644 §3.4.2.3)."""
    if name == "emails.value":
        mails = resource.get("emails", [])
        return next(
            (each.get("value") for each in mails if each.get("primary")), mails[0].get("value") if mails else None
        )
    holder, _, last = name.rpartition(":") if ":" in name else name.rpartition(".")
    value = (resource.get(holder, {}) if holder else resource).get(last)
    return value.casefold() if isinstance(value, str) else value


def members_named(plain: dict[str, Any]) -> list[str]:
    """Ids of those whom a plain POST, PUT or PATCH of a group makes members."""
    entries = list(plain.get("members", ()))
    for operation in plain.get("Operations", ()):
        if operation.get("path") == "members":
            entries += operation["value"]
    return [each["value"] for each in entries]


def bare(value: Any) -> Any:
    """Leave out what is each server's own: versions and times, the order of members, and how references are told."""
    if isinstance(value, list):
        return [bare(each) for each in value]
    if not isinstance(value, dict):
        return value
    kept = {key: bare(each) for key, each in value.items() if key not in {"meta", "schemas", "itemsPerPage", "$ref"}}
    for name in ("members", "groups"):
        if isinstance(kept.get(name), list):
            kept[name] = sorted(each["value"] for each in kept[name])
    return kept
