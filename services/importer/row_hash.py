"""Hash rows as they stand in the file, and know again those of which the directory needs nothing new."""

from __future__ import annotations

import sys
import unicodedata
from array import array
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable
from hashlib import blake2b
from operator import itemgetter
from typing import cast

import email_validator
import phonenumbers

from services.importer.header import COLUMNS
from services.importer.row_layout import MAX_FIELD_BYTES, RowLayout

READING = 4
"""To be raised whenever the same row may read as something else than before: then every row is sent once more."""

HASH_BYTES = 16
NO_HASH = bytes(HASH_BYTES)
"""Of a row that is always to be sent: it has another number of fields, or characters that cannot be shown."""

_PREFIX_BYTES = 8


def reading() -> bytes:
    """Digest what decides how any file reads, but for its source's settings: the same bytes read the same under it."""
    return blake2b(repr(_RULES).encode(), digest_size=HASH_BYTES).digest()


_RULES = (
    READING,
    phonenumbers.__version__,
    email_validator.__version__,
    unicodedata.unidata_version,
    sorted(COLUMNS),
)


class RowHasher:
    """Hashes rows of one file, but for their TimeStamps, with what decides how they read: header, settings, reader."""

    def __init__(self, layout: RowLayout) -> None:
        positions = {column: place for column, place in layout.positions.items() if column != "TimeStamp"}
        self._cells = itemgetter(*sorted(positions.values()))
        self._fields = layout.fields
        self._timestamp = layout.positions.get("TimeStamp")
        self._timestamps = layout.timestamps
        decides = repr(
            (
                *_RULES,
                sorted(positions.items()),
                layout.header.width,
                layout.fields,
                layout.settings.group_separator,
                layout.settings.region,
            )
        )
        self._salt = blake2b(decides.encode(), digest_size=HASH_BYTES).hexdigest()

    def hash_of(self, fields: list[str]) -> bytes:
        """Hash a row and note its TimeStamp (R6); NO_HASH when it cannot be known again."""
        if self._timestamp is not None and self._timestamp < len(fields):
            self._timestamps.note(fields[self._timestamp])
        whole = "".join(fields)
        # What can be shown holds no control character, so no two rows look alike when they are joined by one. All cells
        # are asked, since a broken one rejects its row in any column.
        if len(fields) != self._fields or len(whole) > MAX_FIELD_BYTES // 4 or not whole.isprintable():
            return NO_HASH
        text = "\x1f".join(self._cells(fields))
        return blake2b(f"{self._salt}{text}".encode(), digest_size=HASH_BYTES).digest()


class SettledHashes:
    """Hashes to know rows by, eight bytes each in memory; the directory compares the whole of those it is sent.

    Each page is kept apart, under the first bytes of its hashes: the directory sends one for each first byte, so that
    there is one place to look, and no more than a 256th is ever sorted at a time.
    """

    def __init__(self, pages: Iterable[bytes] = ()) -> None:
        self._pages: defaultdict[int, list[array[int]]] = defaultdict(list)
        for page in pages:
            words = array("Q", page)
            prefixes = array("Q", sorted(words[:: HASH_BYTES // _PREFIX_BYTES]))
            for first in set(page[::HASH_BYTES]):
                self._pages[first].append(prefixes)

    def __contains__(self, row_hash: object) -> bool:
        known = cast("bytes", row_hash)
        prefix = int.from_bytes(known[:_PREFIX_BYTES], sys.byteorder)
        for prefixes in self._pages.get(known[0], ()):
            place = bisect_left(prefixes, prefix)
            if place < len(prefixes) and prefixes[place] == prefix:
                return True
        return False
