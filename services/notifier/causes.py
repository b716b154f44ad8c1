"""Say in the reader's language why a run ended, by the importer's and the directory's own sentences.

The English sentences stand in templates/en.toml word for word, so they are the forms by which each is known again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from services.notifier.marks import named
from services.notifier.safe import neutral
from services.notifier.words import LANGUAGES, Words, words_in

SAID_ANYHOW = (
    "There was no file at the path; check that the export ran and where it was uploaded.",
    "The file was still being written at the third try; upload it as NAME.part, then rename it.",
    "The file stops in the middle of a record; export and upload it again.",
    "The file has no rows; check the export and upload it again.",
    "The file is over 512 MiB (or the source's own limit); split it over several sources.",
    "Text cannot be decoded; export as UTF-8 or UTF-16 with a byte order mark.",
    "The first row holds no known column name; put the header row first, such as UniqueID,Name,Mail.",
    "The column {} is there twice; leave only one of them in the export.",
    "The column {} is missing; add it, or name it so in the export.",
    "No host key is pinned for the server; `muster source test SOURCE --pin` shows and pins it.",
    "The server shows another host key than the pinned one; ask its owner before pinning that.",
    "The SFTP server could not be reached; check host, port and firewall.",
    "The SFTP server did not accept the login; check user name, password or key.",
    "The file could not be read from the SFTP server; check path and permissions.",
    "The run was interrupted before it was planned; run the source again.",
    "The staged rows were lost before they could be planned; nothing was changed. Run it again.",
    "The staged rows were lost. Nothing was changed.",
    "The directory met a fault. Nothing was changed.",
)
"""Sentences that say no more than a report says of the run's reason, with a cure: they are not said twice."""

_BLANK = re.compile(r"\\\{(\w*)\\\}")
_PEOPLE = "names"
"""The value that is a list of people's keys."""


def is_said_anyhow(message: str) -> bool:
    """Say whether the message adds nothing to what a report says of the run's reason."""
    return any(_form(sentence).fullmatch(message) for sentence in SAID_ANYHOW)


def said(message: str, words: Words) -> str:
    """Say the message in the reader's language; an empty text for one that is no known cause."""
    for name, form in _known():
        found = form.fullmatch(message)
        if found is not None:
            return words.say(f"cause.{name}", **{key: _value(key, text) for key, text in found.groupdict().items()})
    return ""


@cache
def _known() -> tuple[tuple[str, re.Pattern[str]], ...]:
    texts = words_in(LANGUAGES[0]).texts["cause"]
    return tuple((name, _form(sentence)) for name, sentence in texts.items())


@cache
def _form(sentence: str) -> re.Pattern[str]:
    return re.compile("".join(_pieces(re.escape(sentence))))


def _pieces(escaped: str) -> Iterator[str]:
    """Put a group in the place of each blank; one that comes again must be the same."""
    seen, end = set[str](), 0
    for blank in _BLANK.finditer(escaped):
        name = blank[1]
        yield escaped[end : blank.start()]
        yield ".+?" if not name else f"(?P={name})" if name in seen else f"(?P<{name}>.+?)"
        seen.add(name)
        end = blank.end()
    yield escaped[end:]


def _value(key: str, text: str) -> object:
    if text.isdecimal():
        return int(text)
    return named(neutral(text)) if key == _PEOPLE else neutral(text, longest=100)
