"""Mark in a stored text what is only settled when the mail goes: its link, and whose name stands where."""

from __future__ import annotations

import re

LINK = "\N{LEFT CEILING}link\N{RIGHT CEILING}"
"""Stands in a stored text for the link that opens something: it is made when the mail goes, and kept nowhere."""

STRANGER = ""
"""Stands for the resource name of somebody whom the register may not have: a row that was rejected, a plan."""

TAKEN_OUT = "…"

_BEGIN, _OF, _END = "\x02", "\x04", "\x03"
"""Control characters: `plain` lets none through, so no value from a file can be taken for a mark."""
_NAMED = re.compile(f"{_BEGIN}([^{_OF}]*){_OF}([^{_END}]*){_END}")


def named(text: str, user: str = STRANGER) -> str:
    """Mark a harmless text as one that names this person, so that it can be taken out of a mail that waits."""
    return f"{_BEGIN}{user}{_OF}{text}{_END}" if text else text


def unmarked(text: str) -> str:
    """Give the text as it is mailed and shown: names are in it, marks are not."""
    return _NAMED.sub(r"\2", text)


def without_person(text: str, user: str) -> str:
    """Take a person out of a stored text, and all strangers: nobody can say from here which of them it is."""
    return _NAMED.sub(lambda found: TAKEN_OUT if found[1] in {user, STRANGER} else found[0], text)


def readable(text: str) -> str:
    """Show a stored text without its link and marks."""
    return unmarked(text).replace(LINK, "https://…")
