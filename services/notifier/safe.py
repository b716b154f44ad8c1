"""Make values from a customer's file harmless in a mail, a header and a spreadsheet (R25)."""

from __future__ import annotations

import re
import unicodedata

from services.notifier.marks import LINK

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # noqa: RUF001 - some read the wide ones too
_LONGEST = 200
_OF_A_LINK = frozenset({LINK[0], LINK[-1]})
"""The brackets of a link's mark: no value may look like one."""


def plain(value: str, *, longest: int = _LONGEST) -> str:
    """Keep one line of visible text: white space becomes one space, control and bidi characters go, the rest is cut.

    Joiners stay, since several scripts are written with them. Markup is not this function's matter: templates escape.
    """
    kept = "".join(character for character in " ".join(value.split()) if not _is_invisible(character))
    return kept if len(kept) <= longest else f"{kept[: longest - 1]}…"


def neutral(value: str, *, longest: int = _LONGEST) -> str:
    """Write a value so that no spreadsheet takes it for a formula, wherever it is pasted: an apostrophe goes first."""
    text = plain(value, longest=longest)
    starts = value.startswith(_FORMULA_STARTS) or text.startswith(_FORMULA_STARTS)
    return f"'{text}" if starts else text


def without_addresses(text: str) -> str:
    """Take mail addresses out of what another server said: no log has any."""
    return re.sub(r"[^\s<>]*@[^\s<>]*", "…@…", text)


def _is_invisible(character: str) -> bool:
    category = unicodedata.category(character)
    if character in _OF_A_LINK or category in {"Cc", "Cs", "Zl", "Zp"}:
        return True
    return category == "Cf" and character not in "\u200c\u200d"
