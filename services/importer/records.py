"""Read a file's records one by one, with the line each starts on; what a stray quote joined falls apart again (R11)."""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, chain

from services.importer.decoding import Decoding, OpenBytes
from services.importer.errors import ImporterError, TruncatedError
from services.importer.long_fields import Thinner, are_rows, shortened

MAX_RECORD_CHARACTERS = 8 * 1024 * 1024
"""Beyond this, with its long values shortened, a record is none; 64 fields of 64 KiB are half of it."""
_LONG_CHARACTERS = 1024 * 1024
"""Of a longer record, values that are too long are shortened on the way."""
_END_OF_FILE = "\x1a"
"""Ctrl-Z: no part of the text when it stands at the very end, where no line end follows."""
_CHUNK_CHARACTERS = 64 * 1024
_OTHER_BREAKS = "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
_LINES = re.compile(r"[^\r\n]*+(?:\r\n|[\r\n])|[^\r\n]+")

Record = tuple[int, list[str], int]
"""The physical line a record starts on, its fields, and how many characters it takes in the file.

A plain tuple, because a named one would cost a tenth of the time that a row takes altogether.
"""

csv.field_size_limit(2 * MAX_RECORD_CHARACTERS)  # the module has one limit a process; ours is on the record


class JoinedFields(list[str]):
    """One line of several that a stray quote joined to one record: never a row, whatever it looks like.

    It has one field more than a row must have. What could be its UniqueID and mail still hold their user; `as_read` is
    the line read by itself, for people to mend.
    """

    def __init__(self, fields: Sequence[str], *, width: int, first_line: int, last_line: int) -> None:
        super().__init__([*fields[:width], *[""] * (width + 1 - len(fields[:width]))])
        self.as_read = list(fields)
        self.first_line = first_line
        self.last_line = last_line


class RecordReader:
    """One reading of the file, record by record."""

    def __init__(self, open_bytes: OpenBytes, decoding: Decoding, delimiter: str, *, has_sep_line: bool) -> None:
        self._text: io.TextIOWrapper = decoding.open_text(open_bytes)
        self._encoding = decoding.encoding
        self.delimiter = delimiter
        self._lines_before = 1 if has_sep_line else 0
        self.start_byte = self.end_byte = decoding.bom_bytes
        """Where in the file the record read last begins and ends."""
        if has_sep_line:
            self.end_byte += self._bytes_of(self._text.readline())
        self._start = self._lines_before + 1  # the line on which the record being read starts
        self._lines: list[str] = []  # from some line before or on `_start` on, as far as they were read
        self._first = self._start  # the line of `_lines[0]`
        self._thinner = Thinner()
        self._thinned_from = 0  # the line on which the record starts whose lines are thinned
        self._left_out_lines = self._left_out_characters = self._left_out_bytes = 0  # of the record being read
        self._at_end = False
        self._lacks_newline = False
        self.spread: list[str] | None = None
        """The lines of the record read last, if it has more than one; of a long one, without what was left out."""
        self.is_shortened = False
        """Whether values of the record read last are longer in the file."""
        self.is_torn = False
        """Whether the last line of the file belongs to a row and lacks its newline; known at the end."""

    def close(self) -> None:
        """Close the file."""
        self._text.close()

    def records(self) -> Iterator[Record]:
        """Read records that are not blank; TruncatedError behind the last whole one when a quote is never closed."""
        reader = csv.reader(chain.from_iterable(self._chunks()), delimiter=self.delimiter)
        last_line_of_row = 0
        is_ascii_based = not self._encoding.startswith("utf-16")
        try:
            for fields in reader:
                line, start = self._start, self._lines_before + reader.line_num + 1
                self._start = start
                place = line - self._first
                if start - line == 1:
                    read = self._lines[place]
                    self.spread = None
                else:
                    self.spread = self._lines[place : place + start - line]
                    read = "".join(self.spread)
                characters = len(read)
                self.start_byte = self.end_byte
                self.end_byte += characters if is_ascii_based and read.isascii() else self._bytes_of(read)
                self.is_shortened = self._left_out_characters > 0
                if self.is_shortened:
                    characters += self._count_left_out()
                    start = self._start
                if self._at_end:
                    if fields != ["", ""]:  # the end was swallowed by a quoted field
                        raise open_quote(line)
                    self.is_torn = self._lacks_newline and last_line_of_row == line - 1
                    return
                if not fields or ((not fields[0] or fields[0].isspace()) and is_blank(fields)):
                    continue
                last_line_of_row = start - 1
                yield line, fields, characters
        except _EndlessRecordError:
            raise open_quote(self._start) from None

    def _bytes_of(self, text: str) -> int:
        return len(text.encode(self._encoding, "surrogateescape"))

    def _count_left_out(self) -> int:
        """Count what was left out of the record that has just been read; answers its characters."""
        characters, lines = self._left_out_characters, self._left_out_lines
        self.end_byte += self._left_out_bytes
        self._lines_before += lines
        self._start += lines
        self._first += lines
        self._left_out_lines = self._left_out_characters = self._left_out_bytes = 0
        return characters

    def is_joined(self, record: Record, width: int) -> bool:
        """Tell whether the record read last is several lines that a stray quote joined, where a row has `width` fields.

        That is so when its fields are not as many, when something follows a closing quote, or when it is long and most
        of its lines look like rows.
        """
        if self.spread is None:
            return False
        if len(record[1]) != width or not is_well_quoted(self.spread, self.delimiter):
            return True
        return is_long(record) and are_rows(self.spread[1:-1], self.delimiter, width)

    def apart(self, record: Record, width: int) -> list[Record]:
        """Take the record read last, no long one, apart into its lines: none is a row, and blank ones are left out."""
        assert self.spread is not None
        first, last = record[0], record[0] + len(self.spread) - 1
        lines: list[Record] = []
        for place, line in enumerate(self.spread):
            fields = next(csv.reader([line], delimiter=self.delimiter), [])
            if not is_blank(fields):
                joined = JoinedFields(fields, width=width, first_line=first, last_line=last)
                lines.append((first + place, joined, len(line)))
        return lines

    def _chunks(self) -> Iterator[list[str]]:
        """Read physical lines, many at a time; at the end a lone delimiter shows whether a quote is still open."""
        tail = ""
        while data := self._text.read(_CHUNK_CHARACTERS):
            lines = _split(tail + data)
            if len(lines[0]) > _LONG_CHARACTERS:  # and may not be whole yet
                lines[0] = self._shortened(lines[0])
                if len(lines[0]) > MAX_RECORD_CHARACTERS:
                    raise _EndlessRecordError
            # A carriage return may be half of a line end.
            tail = "" if lines[-1][-1] == "\n" else lines.pop()
            for part in self._parts(self._thinned(lines)):
                yield self._remember(part)
        tail = tail.rstrip(_END_OF_FILE)  # `copy a.csv+b.csv c.csv` and other DOS heirs end a text with it
        self._lacks_newline = tail[-1:] not in ("", "\r")
        if tail:
            yield self._remember([tail])
        self._at_end = True
        yield self._remember([self.delimiter])

    def _shortened(self, line: str) -> str:
        """Shorten the values of a very long line, by their ends."""
        short = shortened(line, self.delimiter, begins_inside=self._start - self._first < len(self._lines))
        self._left_out_characters += len(line) - len(short)
        self._left_out_bytes += self._bytes_of(line) - self._bytes_of(short)
        return short

    def _thinned(self, lines: list[str]) -> list[str]:
        """Leave out lines of a value that is too long, where the record being read is known to be long."""
        if self._start != self._thinned_from:
            return lines
        needed, others = self._thinner.thin(lines)
        text = "".join(others)
        self._left_out_lines += len(others)
        self._left_out_characters += len(text)
        self._left_out_bytes += self._bytes_of(text)
        return needed

    def _parts(self, lines: list[str]) -> list[list[str]]:
        """Part lines before the one that makes the record being read too long, unless it ends before."""
        held = self._lines[self._start - self._first :] if lines else []
        if not held:
            return [lines] if lines else []
        fitting = bisect_right(list(accumulate(map(len, lines))), MAX_RECORD_CHARACTERS - sum(map(len, held)))
        return [part for part in (lines[:fitting], lines[fitting:]) if part]

    def _remember(self, lines: list[str]) -> list[str]:
        """Keep lines, and those before them of the record that is being read."""
        held = self._lines[self._start - self._first :]
        characters = sum(map(len, held))
        if characters + len(lines[0]) > MAX_RECORD_CHARACTERS:
            raise _EndlessRecordError
        if characters > _LONG_CHARACTERS:
            self._thinned_from = self._start
        self._lines, self._first = held + lines, self._start
        return lines


def is_long(record: Record) -> bool:
    """Tell whether a record is so long that, were it lines joined by a stray quote, they would be much of the file."""
    return record[2] > _LONG_CHARACTERS


class _EndlessRecordError(ImporterError):
    """A record is longer than any can be."""


def _split(text: str) -> list[str]:
    """Split at line feeds, carriage returns and both together, which stay; `splitlines` splits at others, too."""
    return _LINES.findall(text) if any(map(text.__contains__, _OTHER_BREAKS)) else text.splitlines(keepends=True)


def is_blank(fields: Sequence[str]) -> bool:
    """Tell whether a record is blank or only delimiters, and so no row (R14)."""
    return not "".join(fields).strip()


def is_well_quoted(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether each closing quote of one record is followed by a delimiter or the line's end."""
    try:
        for _ in csv.reader(lines, delimiter=delimiter, strict=True):
            pass
    except csv.Error:
        return False
    return True


def open_quote(line: int) -> TruncatedError:
    """Say on which line a quote opens that counts as never closed (R3)."""
    return TruncatedError(because="open_quote", line=str(line))
