"""Bring texts that people see into one canonical form, or say why they cannot be used."""

from __future__ import annotations

import unicodedata

from services.directory.rules.checks import InvalidValueError

MOST_CHARACTERS = 256
_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u2060\ufeff"))
BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def has_control_character(text: str) -> bool:
    """Say whether a control character is in it; no printable one is one."""
    return not text.isprintable() and any(unicodedata.category(character) == "Cc" for character in text)


def parse_display_name(text: str) -> str:
    """Read a name of 1 to 256 characters: white space collapsed, NFC, no control characters (R20)."""
    name = parse_title(text)
    if not name:
        raise InvalidValueError("must not be empty")
    return name


def parse_title(text: str) -> str:
    """Read a text of at most 256 characters that may be empty; else as `parse_display_name`."""
    title = " ".join(unicodedata.normalize("NFC", text).translate(_INVISIBLE).split())
    if len(title) > MOST_CHARACTERS:
        raise InvalidValueError(f"must have at most {MOST_CHARACTERS} characters")
    if has_control_character(title) or not BIDI_CONTROLS.isdisjoint(title):
        raise InvalidValueError("must not contain control characters")
    return title


def parse_group_external_id(text: str) -> str | None:
    """Read a Group ID, matched exactly by the syncs (R37); None for a manual group."""
    group_external_id = text.strip()
    if len(group_external_id) > MOST_CHARACTERS:
        raise InvalidValueError(f"must have at most {MOST_CHARACTERS} characters")
    if has_control_character(group_external_id):
        raise InvalidValueError("must not contain control characters")
    return group_external_id or None


def parse_language(text: str) -> str:
    """Read `en`, `sv`, or "" for none."""
    if text not in {"", "en", "sv"}:
        raise InvalidValueError("must be en or sv")
    return text


def parse_web_address(text: str) -> str:
    """Read an http or https address, or "" for none."""
    address = text.strip()
    is_one = address.startswith(("https://", "http://")) and len(address.partition("://")[2]) > 0
    if address and (not is_one or any(character.isspace() for character in address)):
        raise InvalidValueError("must be an address that begins with https:// or http://")
    return address
