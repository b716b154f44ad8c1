"""Check what a connection says of users and groups, and bring it into the forms that are kept."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import phonenumbers

from services.directory.rules import contact, text
from services.directory.rules.checks import FieldChecks, InvalidValueError

MOST_DOCUMENT_BYTES: Final = 64 * 1024
MOST_NAME_CHARACTERS: Final = 1024
MOST_NAME_BYTES: Final = 2048
"""What a name may have as UTF-8 once it is folded: PostgreSQL keeps keys of up to 2,704 bytes in an index."""
_APART: Final = frozenset({"id", "meta", "groups", "members", "password"})
"""Attributes that are never part of a document: kept elsewhere, or not at all."""
_LIKE_AN_ID: Final = re.compile(r"(usr|grp)_.*|[0-9]+|[0-9A-Fa-f]{8}-?([0-9A-Fa-f]{4}-?){3}[0-9A-Fa-f]{12}", re.DOTALL)


@dataclass(frozen=True)
class UserFacts:
    """What a connection says of a user, as it was sent; the contract's message of that name."""

    user_name: str
    external_id: str
    active: bool
    display_name: str
    email: str
    title: str
    phone: str
    secondary_phone: str
    attributes: bytes


@dataclass(frozen=True)
class GroupFacts:
    """What a connection says of a group, as it was sent."""

    external_id: str
    display_name: str
    attributes: bytes


@dataclass(frozen=True)
class ProvisionedUser:
    """A user's facts in the forms that are kept; a phone is None when it is unusable and the register's stays."""

    user_name: str
    name_key: str
    external_id: str
    active: bool
    display_name: str
    email: str
    title: str
    phone: str | None
    secondary_phone: str | None
    document: str
    folded: dict[str, Any]


@dataclass(frozen=True)
class ProvisionedGroup:
    """A group's facts in the forms that are kept."""

    external_id: str | None
    display_name: str
    name_key: str
    document: str
    folded: dict[str, Any]


def check_user(facts: UserFacts, *, region: str) -> ProvisionedUser:
    """Check a user's facts; `region` is for phones in national form. Errors: InvalidArgument, all that is wrong."""
    checks = FieldChecks()
    user_name, name_key = checks.parse("userName", _parse_name, facts.user_name) or ("", "")
    external_id = checks.parse("externalId", _parse_key, facts.external_id)
    display_name = checks.parse("displayName", _parse_display_name, facts.display_name or facts.user_name)
    title = checks.parse("title", _fit_title, facts.title)
    email = checks.parse("emails", _parse_email, facts.email or facts.user_name)
    document = checks.parse("attributes", _parse_document, facts.attributes)
    checks.end()
    return ProvisionedUser(
        user_name=user_name,
        name_key=name_key,
        external_id=external_id,
        active=facts.active,
        display_name=display_name,
        email=email,
        title=title,
        phone=_usable_phone(facts.phone, region),
        secondary_phone=_usable_phone(facts.secondary_phone, region),
        document=_written(document),
        folded=fold(document),
    )


def check_group(facts: GroupFacts) -> ProvisionedGroup:
    """Check a group's facts. Errors: InvalidArgument, all that is wrong."""
    checks = FieldChecks()
    external_id = checks.parse("externalId", text.parse_group_external_id, facts.external_id)
    called = facts.display_name or facts.external_id
    display_name = checks.parse("displayName", _parse_display_name, called)
    name_key = checks.parse("displayName", _fold_name, called)
    document = checks.parse("attributes", _parse_document, facts.attributes)
    checks.end()
    return ProvisionedGroup(
        external_id=external_id,
        display_name=display_name,
        name_key=name_key,
        document=_written(document),
        folded=fold(document),
    )


def is_like_an_id(text: str) -> bool:
    """Say whether a server gives out such ids: ours, numbers and UUIDs. Who sends one means somebody."""
    return _LIKE_AN_ID.fullmatch(text) is not None


def fold_text(value: str) -> str:
    """Bring a string into the form in which it compares where case does not count: NFC, lower case, NFC again."""
    if value.isascii():
        return value.lower()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", value).lower())


def fold(value: Any) -> Any:
    """Fold every string in a JSON value; names of attributes stay."""
    if isinstance(value, str):
        return fold_text(value)
    if isinstance(value, dict):
        return {name: fold(child) for name, child in value.items()}
    if isinstance(value, list):
        return [fold(child) for child in value]
    return value


def document_of_register(*, email: str, external_id: str, fields: Mapping[str, str]) -> dict[str, Any]:
    """Write a user that no connection has described as SCIM has it; `fields` are the register's columns (S14)."""
    phones = [
        {"type": kind, "value": fields[column]}
        for kind, column in (("work", "phone"), ("mobile", "secondary_phone"))
        if fields[column]
    ]
    document = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "externalId": external_id,
        "userName": email,
        "displayName": fields["display_name"],
        "title": fields["title"],
        "active": True,
        "emails": [{"type": "work", "value": email, "primary": True}],
        "phoneNumbers": phones,
    }
    return {name: value for name, value in document.items() if value not in ("", [])}


def _parse_name(value: str) -> tuple[str, str]:
    """Read a userName, and what an index finds its bearer by."""
    name, name_key = _parse_key_and_folded(value)
    if not name:
        raise InvalidValueError("must not be empty")
    return name, name_key


def _parse_key(value: str) -> str:
    return _parse_key_and_folded(value)[0]


def _parse_key_and_folded(value: str) -> tuple[str, str]:
    if text.has_control_character(value):
        raise InvalidValueError("must not contain control characters")
    key = value.strip()
    return key, _fold_name(key)


def _parse_display_name(value: str) -> str:
    """Read the register's name; what an identity provider allows and a register does not is left out, not refused."""
    return text.parse_display_name(_fit(value))


def _fit_title(value: str) -> str:
    return text.parse_title(_fit(value))


def _fit(value: str) -> str:
    """Leave out what the register refuses of a text; a control character may stand between words."""
    if value.isprintable():
        return value[: text.MOST_CHARACTERS]
    spaced = (" " if unicodedata.category(character) == "Cc" else character for character in value)
    return "".join(character for character in spaced if character not in text.BIDI_CONTROLS)[: text.MOST_CHARACTERS]


def _parse_email(value: str) -> str:
    """Read a mail as the register compares it; a userName that is no address stands for one all the same (S2)."""
    if text.has_control_character(value.strip()):
        raise InvalidValueError("must not contain control characters")
    email = contact.comparable_email(value)
    _fold_name(email)
    return email


def _fold_name(value: str) -> str:
    """Fold a name by which an index finds its bearer."""
    folded = fold_text(_plain(value))
    if len(value) > MOST_NAME_CHARACTERS or len(folded.encode()) > MOST_NAME_BYTES:
        raise InvalidValueError(f"must have at most {MOST_NAME_CHARACTERS} characters and {MOST_NAME_BYTES} bytes")
    return folded


def _usable_phone(number: str, region: str) -> str | None:
    """Read a phone as E.164, "" for none, None for what is no phone number (R21)."""
    try:
        return contact.parse_phone(number)
    except InvalidValueError:
        if not region:
            return None
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None
    if parsed.extension or not phonenumbers.is_possible_number(parsed):
        return None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _parse_document(raw: bytes) -> dict[str, Any]:
    if len(raw) > MOST_DOCUMENT_BYTES:
        raise InvalidValueError(f"must be at most {MOST_DOCUMENT_BYTES} bytes as JSON")
    try:
        document = json.loads(raw or b"{}")
    except (ValueError, RecursionError):
        raise InvalidValueError("must be a JSON object") from None
    if not isinstance(document, dict):
        raise InvalidValueError("must be a JSON object")
    kept = _filled({name: value for name, value in document.items() if name not in _APART})
    return kept or {}


def _filled(value: Any) -> Any:
    """Take out what is no value: null, "", and what holds nothing else; and what databases cannot keep as text."""
    if isinstance(value, dict):
        filled = {_plain(name): child for name, raw in value.items() if (child := _filled(raw)) is not None}
        return filled or None
    if isinstance(value, list):
        return [child for raw in value if (child := _filled(raw)) is not None] or None
    if isinstance(value, str):
        return _plain(value) or None
    return value


def _plain(value: str) -> str:
    if value.isascii() and "\0" not in value:
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()


def _written(document: Mapping[str, Any]) -> str:
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
