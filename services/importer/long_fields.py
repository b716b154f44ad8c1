"""Keep values that are too long from taking memory: shortened they still are, and their row is rejected (R11)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Final

KEPT_CHARACTERS: Final = 2 * (64 * 1024 + 1)
"""What stays of a value as it is written: were it all doubled quotes, one character more than it may have bytes."""

_INSIDE = re.compile(r'[^"]*+(?:""[^"]*+)*+')


def is_inside(line: str) -> bool:
    """Tell whether a line that begins inside quotes lies in them to its end."""
    return '"' not in line or _INSIDE.fullmatch(line) is not None


def shortened(line: str, delimiter: str, *, begins_inside: bool) -> str:
    """Shorten the values of a line, which may not be whole yet; what parts and quotes them stays as it is."""
    body = line.rstrip("\r\n")
    end = line[len(body) :]
    if begins_inside:
        body = f'"{body}'
    parts = []
    for field in _field(delimiter).finditer(body):
        quote, quoted, closing, rest, delimited = field.groups(default="")
        parts += [quote, _cut_quoted(quoted), closing, rest[:KEPT_CHARACTERS], delimited]
    return "".join(parts)[int(begins_inside) :] + end


def are_rows(lines: Sequence[str], delimiter: str, width: int) -> bool:
    """Tell whether most lines, but for blank ones, have as many fields as a row by themselves, and a mail address."""
    alike = [line.count(delimiter) == width - 1 and "@" in line for line in lines if line.strip()]
    return sum(alike) * 2 > len(alike)


class Thinner:
    """Leaves out lines of a value that is too long already; for lines given in the order of the file."""

    def __init__(self) -> None:
        self._inside_characters = 0  # of the lines before that lie in one value

    def thin(self, lines: list[str]) -> tuple[list[str], list[str]]:
        """Part lines, of which the first begins inside quotes, into those that are needed and those that are not."""
        first = len(lines)
        for place, line in enumerate(lines):
            if not is_inside(line):
                self._inside_characters = 0
                first = min(first, place)
                return lines[:first] + lines[place:], lines[first:place]
            if self._inside_characters < KEPT_CHARACTERS:
                self._inside_characters += len(line)
            else:
                first = min(first, place)
        return lines[:first], lines[first:]


@cache
def _field(delimiter: str) -> re.Pattern[str]:
    """Match a field as the csv module reads it: quotes count at its beginning, and text may follow a closing one."""
    other, delimiter = f"[^{re.escape(delimiter)}]", re.escape(delimiter)
    return re.compile(rf'(?:(")((?:[^"]++|"")*+)("?))?({other}*+)({delimiter}|\Z)')


def _cut_quoted(text: str) -> str:
    if len(text) <= KEPT_CHARACTERS:
        return text
    kept = text[:KEPT_CHARACTERS]
    return kept + '"' * (kept.count('"') % 2)  # no half of a doubled quote
