"""Bring single cells into canonical form, and say what had to be dropped on the way (R16, R18, R20, R21)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import email_validator
import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat, ValidationResult

from services.importer.errors import ImporterError

# `.test`, `.local` and the like are refused as undeliverable unless they leave the library's list, as its README says;
# whether mail can be delivered is not what an import decides.
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()

_SPACES = " \t\n\r\x0b\x0c\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_INVISIBLE = "\xad\u034f\u061c\u180e\u200b-\u200f\u2060-\u2064\u206a-\u206f\ufeff"
_BIDI = re.compile("[\u202a-\u202e\u2066-\u2069]")
_EDGES = re.compile(f"^[{_SPACES}{_INVISIBLE}]+|(?<![{_SPACES}{_INVISIBLE}])[{_SPACES}{_INVISIBLE}]+$")
"""Each run of spaces is tried from its beginning only: a cell may hold millions of them."""
_RUN_OF_SPACES = re.compile(f"[{_SPACES}]+")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_ELISION = re.compile("'[a-zA-Z][ -]")  # 't Hart, 's-Gravesande

_PLAIN_MAIL = re.compile(
    r"(?=[^@]{1,64}@)[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*@(?!.*--)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z])?"
)
_MAX_MAIL_CHARACTERS = 254

_PHONE = re.compile(r"(?![^.]*\.0$)\(?[+\uff0b]?[\d\s().\-\u2010-\u2015\u2212/]+")
"""Not 701234567.0, which a spreadsheet or a script made of a phone: its zero would be read as a digit."""
_SPACE = re.compile(r"\s")
_NOT_DIGITS = re.compile(r"\D")
_MAX_PHONE_DIGITS = 15  # E.164
_MAX_PHONE_CHARACTERS = 250  # the library reads none longer
_PUNCTUATION = {ord(character): None for character in " -()./\xa0"}
_MIXTURES = (
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA"}),
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "BOPOMOFO"}),
    frozenset({"LATIN", "CJK", "IDEOGRAPHIC", "HANGUL"}),
)  # UTS #39, "highly restrictive"


class MailInvalidError(ImporterError):
    """Not one bare mail address."""


class MailMixedScriptError(ImporterError):
    """A mail address that mixes scripts in its local part or in a label of its domain."""


class CleanCell(NamedTuple):
    """A cell without what people cannot see at its edges; `warnings` name what was dropped."""

    text: str
    warnings: tuple[str, ...] = ()


class Phone(NamedTuple):
    """A phone number in E.164; `is_national` when it was made international by the source's region."""

    e164: str
    is_national: bool = False


def clean_cell(raw: str, *, keeps_elision: bool = False) -> CleanCell:
    """Trim white space, invisible characters, bidi controls and one leading apostrophe (R16, R20).

    With `keeps_elision` the apostrophe of names such as 't Hart stays.
    """
    text, warnings = raw, []
    if _BIDI.search(text):
        text = _BIDI.sub("", text)
        warnings.append("bidi_control_removed")
    dropped = "".join(_EDGES.findall(text))
    text = _EDGES.sub("", text)
    if text.startswith("'") and not (keeps_elision and _ELISION.match(text)):
        dropped += "".join(_EDGES.findall(text[1:]))
        text = _EDGES.sub("", text[1:])
        warnings.append("apostrophe_removed")
    if not dropped.isascii():
        warnings.append("invisible_removed")
    return CleanCell(text, tuple(warnings))


def canonical_text(text: str) -> str:
    """Collapse white space, line breaks too, and compose (NFC)."""
    return unicodedata.normalize("NFC", _RUN_OF_SPACES.sub(" ", text))


def has_control_character(text: str) -> bool:
    """Tell whether there is a control character (C0, DEL, C1) in it."""
    return _CONTROL.search(text) is not None


def canonical_mail(text: str) -> str:
    """Lower-case one bare address and write its domain in ASCII; MailInvalidError, MailMixedScriptError (R18)."""
    lowered = text.lower()
    if _PLAIN_MAIL.fullmatch(lowered) and len(lowered) <= _MAX_MAIL_CHARACTERS:
        return lowered
    try:
        found = email_validator.validate_email(text, check_deliverability=False, allow_smtputf8=True, strict=True)
    except ValueError as error:  # EmailNotValidError is one; so is what a text that is no Unicode raises
        raise MailInvalidError from error
    local = unicodedata.normalize("NFC", found.local_part.lower())
    mail = f"{local}@{found.ascii_domain}"
    if len(mail.encode()) > _MAX_MAIL_CHARACTERS:
        raise MailInvalidError
    if any(_mixes_scripts(part) for part in (local, *found.domain.split("."))):
        raise MailMixedScriptError
    return mail


def canonical_phone(text: str, region: str) -> Phone | None:
    """Write a phone number as E.164; None when it is not usable.

    A number in national form needs a region. What counts is that its length is possible in its country: a numbering
    plan newer than ours must not cost a person the warning in a crisis.
    """
    if len(text) > _MAX_PHONE_CHARACTERS:
        return None
    e164 = international_phone(text)
    return Phone(e164) if e164 is not None else _parsed_phone(text, region)


def international_phone(text: str) -> str | None:
    """Write the usual international forms as E.164 at a fraction of `canonical_phone`'s cost; None says nothing.

    Taken is `+` and digits that the library would leave as they are: of a possible length, without a trunk prefix.
    """
    if text[:1] != "+":
        return None
    digits = text[1:]
    if not (digits.isdigit() and digits.isascii()):
        if digits.endswith(".0"):
            return None
        digits = digits.translate(_PUNCTUATION)
        if not (digits.isascii() and digits.isdigit()):
            return None
    plan = _PLANS.get(digits[:3]) or _learn_plan(digits[:3])
    if len(digits) not in plan.lengths or (plan.prefix is not None and plan.prefix(digits, plan.code_digits)):
        return None
    return "+" + digits


class _Plan(NamedTuple):
    """A country's numbering plan: how many digits a number has with its country code, and what is a trunk prefix."""

    code_digits: int
    lengths: frozenset[int]
    prefix: Callable[[str, int], object] | None


_PLANS: dict[str, _Plan] = {}
"""By the first three digits; at most 1,110 of them."""


def _learn_plan(start: str) -> _Plan:
    plan = _Plan(0, frozenset(), None)
    for code in (start[:1], start[:2], start):
        regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code))
        if regions is not None and not code.startswith("0"):
            metadata = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
            if metadata is not None and metadata.general_desc is not None:
                lengths = (len(code) + length for length in metadata.general_desc.possible_length)
                prefix = metadata.national_prefix_for_parsing
                plan = _Plan(
                    len(code),
                    frozenset(length for length in lengths if length <= _MAX_PHONE_DIGITS),
                    re.compile(prefix).match if prefix else None,
                )
            break
    _PLANS[start] = plan
    return plan


@lru_cache(maxsize=8192)
def _parsed_phone(text: str, region: str) -> Phone | None:
    if not _PHONE.fullmatch(text):
        return None
    text = _SPACE.sub(" ", text)  # of which the library knows a few only
    digits = _NOT_DIGITS.sub("", text)
    is_international = "+" in text or "\uff0b" in text
    if not is_international and digits.startswith("00"):
        text, is_international = "+" + digits[2:], True
    if not is_international and not region:
        return None
    try:
        number = phonenumbers.parse(text, None if is_international else region)
    except phonenumbers.NumberParseException:
        return None
    if phonenumbers.is_possible_number_with_reason(number) != ValidationResult.IS_POSSIBLE:
        return None
    e164 = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    return Phone(e164, not is_international) if len(e164) <= _MAX_PHONE_DIGITS + 1 else None


def _mixes_scripts(text: str) -> bool:
    if text.isascii():
        return False
    scripts = {_script(character) for character in unicodedata.normalize("NFKC", text)} - {""}
    return len(scripts) > 1 and not any(scripts <= mixture for mixture in _MIXTURES)


@lru_cache(maxsize=4096)
def _script(character: str) -> str:
    """Name a letter's script by the first word of its Unicode name; digits, marks and signs have none."""
    if not unicodedata.category(character).startswith("L"):
        return ""
    word = unicodedata.name(character, "").partition(" ")[0]
    return "" if word == "MODIFIER" else word
