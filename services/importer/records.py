"""Read a file's records one by one, with the line each starts on; what a stray quote joined falls apart again (R11)."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from services.importer.decoding import Decoding, OpenBytes
from services.importer.errors import ImporterError, TruncatedError

MAX_RECORD_CHARACTERS = 8 * 1024 * 1024
"""Beyond this a record is the rest of a file behind a lost quote; 64 fields of 64 KiB are half of it."""
_MOST_HELD_CHARACTERS = 1024 * 1024
_END_OF_FILE = "\x1a"
"""Ctrl-Z: no part of the text when it stands at the very end, where no line end follows."""

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
        self.delimiter = delimiter
        self._lines_before = 1 if has_sep_line else 0
        if has_sep_line:
            self._text.readline()
        self._held: list[str] = []  # the lines of the record being read
        self._characters = 0  # of them
        self._at_end = False
        self._lacks_newline = False
        self.spread: list[str] | None = None
        """The lines of the record read last, if it has more than one."""
        self.is_torn = False
        """Whether the last line of the file belongs to a row and lacks its newline; known at the end."""

    def close(self) -> None:
        """Close the file."""
        self._text.close()

    def records(self) -> Iterator[Record]:
        """Read records that are not blank; TruncatedError behind the last whole one when a quote is never closed."""
        reader = csv.reader(self._lines(), delimiter=self.delimiter)
        start = self._lines_before + 1
        last_line_of_row = 0
        try:
            for fields in reader:
                line, start = start, self._lines_before + reader.line_num + 1
                characters, self._characters = self._characters, 0
                if start - line > 1:
                    self.spread, self._held = self._held, []
                else:
                    self.spread = None
                    self._held.clear()
                if self._at_end:
                    if fields != ["", ""]:  # the end was swallowed by a quoted field
                        raise _open_quote(line)
                    self.is_torn = self._lacks_newline and last_line_of_row == line - 1
                    return
                if not fields or ((not fields[0] or fields[0].isspace()) and is_blank(fields)):
                    continue
                last_line_of_row = start - 1
                yield line, fields, characters
        except _EndlessRecordError:
            raise _open_quote(start) from None

    def is_joined(self, record: Record, width: int) -> bool:
        """Tell whether the record read last is several lines that a stray quote joined, where a row has `width` fields.

        That is so when its fields are not as many, or when something follows a closing quote. TruncatedError when it is
        so long that the quote counts as never closed.
        """
        if self.spread is None or (len(record[1]) == width and is_well_quoted(self.spread, self.delimiter)):
            return False
        if record[2] > _MOST_HELD_CHARACTERS:
            raise _open_quote(record[0])
        return True

    def apart(self, record: Record, width: int) -> list[Record]:
        """Take the record read last apart into its lines, none of which is a row; blank ones are left out."""
        assert self.spread is not None
        first, last = record[0], record[0] + len(self.spread) - 1
        lines: list[Record] = []
        for place, line in enumerate(self.spread):
            fields = next(csv.reader([line], delimiter=self.delimiter), [])
            if not is_blank(fields):
                joined = JoinedFields(fields, width=width, first_line=first, last_line=last)
                lines.append((first + place, joined, len(line)))
        return lines

    def _lines(self) -> Iterator[str]:
        """Read physical lines; at the end one more, a lone delimiter, which shows whether a quote is still open."""
        readline = self._text.readline
        line = "\n"
        while True:
            following = readline(MAX_RECORD_CHARACTERS + 1)
            if following[-1:] == _END_OF_FILE:  # `copy a.csv+b.csv c.csv` and other DOS heirs end a text with it
                following = following.rstrip(_END_OF_FILE)
            if not following:
                break
            line = following
            self._characters += len(line)
            if self._characters <= _MOST_HELD_CHARACTERS:
                self._held.append(line)
            elif self._characters > MAX_RECORD_CHARACTERS:
                raise _EndlessRecordError
            yield line
        self._lacks_newline = line[-1] not in "\r\n"
        self._at_end = True
        yield self.delimiter


class _EndlessRecordError(ImporterError):
    """A record is longer than any can be."""


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


def _open_quote(line: int) -> TruncatedError:
    return TruncatedError(because="open_quote", line=str(line))
