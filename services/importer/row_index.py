"""Remember where each row of a file stands and what it hashes to, so that most of a file need not be read twice."""

from __future__ import annotations

import csv
import io
from array import array
from collections.abc import Container, Iterator
from typing import Final

from services.importer.decoding import Decoding, OpenBytes
from services.importer.records import Record
from services.importer.row_hash import HASH_BYTES, RowHasher
from services.importer.timestamps import NewestTimestamp

_PART_BYTES: Final = 4096 * HASH_BYTES


class RowIndex:
    """Of each row the line, the place in the file and the hash: 24 bytes in memory.

    `newest_timestamp` has looked at all of them (R6).
    """

    def __init__(self, hasher: RowHasher, newest_timestamp: NewestTimestamp) -> None:
        self.newest_timestamp = newest_timestamp
        self._hasher = hasher
        self._lines = array("I")
        self._starts = array("I")  # a file has at most 512 MiB (R7)
        self._hashes = bytearray()
        self._end = 0

    def __len__(self) -> int:
        return len(self._lines)

    def note(self, record: Record, start_byte: int, end_byte: int) -> None:
        """Take the next row."""
        self._lines.append(record[0])
        self._starts.append(start_byte)
        self._hashes += self._hasher.hash_of(record[1])
        self._end = end_byte

    def hashes(self) -> Iterator[bytes]:
        """Answer the rows' hashes."""
        for start in range(0, len(self._hashes), _PART_BYTES):
            part = bytes(self._hashes[start : start + _PART_BYTES])
            yield from (part[place : place + HASH_BYTES] for place in range(0, len(part), HASH_BYTES))

    def hash_at(self, place: int) -> bytes:
        """Answer one row's hash."""
        return bytes(self._hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES])

    def places_of_others(self, settled: Container[bytes]) -> array[int]:
        """Find the rows that are not settled."""
        return array("I", (place for place, row_hash in enumerate(self.hashes()) if row_hash not in settled))

    def lines_and_hashes(self, first: int, end: int) -> Iterator[tuple[int, bytes]]:
        """Answer the lines and hashes of rows from a place on, up to another."""
        hashes = bytes(self._hashes[first * HASH_BYTES : end * HASH_BYTES])
        return (
            (line, hashes[place * HASH_BYTES : (place + 1) * HASH_BYTES])
            for place, line in enumerate(self._lines[first:end])
        )

    def records(
        self, places: array[int], open_bytes: OpenBytes, decoding: Decoding, delimiter: str
    ) -> Iterator[Record]:
        """Read the rows at these places, and nothing between them."""
        with open_bytes() as buffered:
            raw = getattr(buffered, "raw", buffered)  # a buffer would read far more than a row
            for place in places:
                start = self._starts[place]
                end = self._starts[place + 1] if place + 1 < len(self._starts) else self._end
                raw.seek(start)
                text = raw.read(end - start).decode(decoding.encoding, "surrogateescape")
                fields = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
                yield self._lines[place], fields, len(text)
