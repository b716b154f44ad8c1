"""Parse mail addresses and phone numbers into the one form in which the register keeps them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import email_validator
import phonenumbers

from services.directory.rules.checks import InvalidValueError

# `.test`, `.local` and the like are refused as undeliverable unless they leave the library's list, as its README says;
# a mail must read the same here and in a file, or the same person would be two.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


_PLAIN: Final = re.compile(
    r"(?=[^@]{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@"
    r"(?!.*--)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z])?"
)
"""An address of the form that nearly all have, in lower case: it stays as it is."""
_MOST_CHARACTERS: Final = 254


def parse_email(text: str) -> str:
    """Read one bare address: lower-case, its domain in A-labels (R18)."""
    plain = text.strip().lower()
    if text.isascii() and len(plain) <= _MOST_CHARACTERS and _PLAIN.fullmatch(plain):
        return plain
    return parse_any_email(text)


def parse_any_email(text: str) -> str:
    """Read an address of any form, as `parse_email` does."""
    try:
        address = email_validator.validate_email(
            text.strip(), check_deliverability=False, allow_smtputf8=True, strict=True
        )
    except ValueError:  # EmailNotValidError is one; so is what a text that is no Unicode raises
        raise InvalidValueError("must be one mail address such as ann@example.org") from None
    return f"{unicodedata.normalize('NFC', address.local_part.lower())}@{(address.ascii_domain or '').lower()}"


def comparable_email(text: str) -> str:
    """Bring a mail address that is searched for into the register's form; one that is none finds nothing."""
    try:
        return parse_email(text)
    except InvalidValueError:
        return text.strip().lower().replace("\0", "\N{REPLACEMENT CHARACTER}")  # NUL is no text to PostgreSQL


def parse_phone(text: str) -> str:
    """Read a phone number in international form as E.164 (R21), or "" for none."""
    number = text.strip()
    if not number:
        return ""
    if number.startswith("00"):
        number = f"+{number[2:]}"
    try:
        parsed = phonenumbers.parse(number, None)
    except phonenumbers.NumberParseException:
        parsed = None
    # Possible, not valid: a stale numbering plan must not cost anyone a warning in a crisis.
    if parsed is None or parsed.extension or not phonenumbers.is_possible_number(parsed):
        raise InvalidValueError("must be a phone number in international form such as +46701234567")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)
