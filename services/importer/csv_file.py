"""Find out how a file is to be read, and judge it as a whole (R2, R3, R4, R7, R11, R14)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from services.importer.decoding import Decoding, OpenBytes, find_decoding
from services.importer.errors import (
    EmptyFileError,
    FileRefusedError,
    NoHeaderError,
    TooLargeError,
    TruncatedError,
)
from services.importer.header import Header, known_headers, read_header
from services.importer.records import Record, RecordReader, is_long, open_quote
from services.importer.row_hash import RowHasher
from services.importer.row_index import RowIndex
from services.importer.row_layout import RowLayout, RowSettings
from services.importer.timestamps import NewestTimestamp

MAX_ROWS = 2_000_000
DELIMITERS = (",", ";", "\t", "|")

_SEP_LINE = re.compile(r'\ufeff?"?sep=(.)"?[\r\n]*', re.IGNORECASE)
_WORKBOOKS = (b"PK\x03\x04", bytes.fromhex("d0cf11e0a1b11ae1"), b"\x1f\x8b\x08")  # .xlsx or .zip; .xls; .gz
_PAGES = (b"<!doctype", b"<html", b"<?xml")
_MAGIC_BYTES = 64
_EOF = "#EOF"
_MOST_DIGITS = 18


@dataclass(frozen=True)
class CsvFile:
    """A file whose header can be used.

    `fields` is how many fields a row must have: the header's, or more where every row has the same empty surplus (R14).
    `refusal` is why it cannot be used all the same; `rows` is then what was readable of it, without a torn last record.
    """

    open_bytes: OpenBytes
    decoding: Decoding
    delimiter: str
    header: Header
    header_line: int
    fields: int
    rows: int
    has_sep_line: bool = False
    refusal: FileRefusedError | None = None
    index: RowIndex | None = None
    """Where its rows stand, when it was asked for and the file is as plain as most are."""

    def records(self) -> Iterator[Record]:
        """Read the rows that `rows` counts, in file order; each call reads the file anew."""
        with closing(
            RecordReader(self.open_bytes, self.decoding, self.delimiter, has_sep_line=self.has_sep_line)
        ) as text:
            yield from islice(self._records(text), self.rows)

    def _records(self, text: RecordReader) -> Iterator[Record]:
        records = text.records()
        next(records)  # the header
        for record in records:
            if text.spread is not None and text.is_joined(record, self.fields):
                yield from text.apart(record, self.fields)
            else:
                yield record


def read_csv_file(
    open_bytes: OpenBytes,
    *,
    strict_encoding: bool = False,
    ends_with_eof: bool = False,
    settings: RowSettings | None = None,
) -> CsvFile:
    """Find out encoding, delimiter and header, and read the whole file once for its shape; memory is flat in its size.

    Raises the FileRefusedError that applies when there is no usable header; a refusal behind the header is in the
    result, so that the rows before it can be counted. With `ends_with_eof` the last row is no row but the end marker,
    and must say how many there are (R2). With `settings` the rows are hashed on the way, for `index`.
    """
    _refuse_workbook(open_bytes)
    decoding = find_decoding(open_bytes, strict_encoding=strict_encoding)
    separator = _sep_line(open_bytes, decoding)
    delimiter, first = _find_header(open_bytes, decoding, separator)
    header = read_header(first[1])
    with closing(RecordReader(open_bytes, decoding, delimiter, has_sep_line=separator is not None)) as text:
        index = None if settings is None else _index_of(header, settings)
        shape = _Measure(header.width, ends_with_eof=ends_with_eof, index=index).of(text)
    return CsvFile(
        open_bytes,
        decoding,
        delimiter,
        header,
        header_line=first[0],
        fields=shape.fields,
        rows=shape.rows,
        has_sep_line=separator is not None,
        refusal=shape.refusal,
        index=index if index is not None and _is_plain(shape, header, index) else None,
    )


def _index_of(header: Header, settings: RowSettings) -> RowIndex:
    layout = RowLayout(header, settings, header.width, NewestTimestamp(settings.time_zone))
    return RowIndex(RowHasher(layout), layout.timestamps)


def _is_plain(shape: _Shape, header: Header, index: RowIndex) -> bool:
    """Whether each record is a row as it stands, and of the width that was taken for granted."""
    return shape.refusal is None and shape.fields == header.width and shape.rows == len(index)


def _sep_line(open_bytes: OpenBytes, decoding: Decoding) -> str | None:
    """Read the delimiter of a first line `sep=X`, if that is what it is."""
    with decoding.open_text(open_bytes) as text:
        matched = _SEP_LINE.fullmatch(text.readline(16))
    if matched is None:
        return None
    delimiter = matched[1]
    usable = delimiter == "\t" or (delimiter.isprintable() and delimiter not in ' "')
    return delimiter if usable else None


def _find_header(open_bytes: OpenBytes, decoding: Decoding, separator: str | None) -> tuple[str, Record]:
    """Choose the delimiter under which the first record has most known headers (R11)."""
    best: tuple[int, str, Record] | None = None
    refusal: FileRefusedError = EmptyFileError()
    for delimiter in DELIMITERS if separator is None else (separator,):
        with closing(RecordReader(open_bytes, decoding, delimiter, has_sep_line=separator is not None)) as text:
            try:
                record = next(text.records(), None)
            except TruncatedError as error:
                refusal = error
                continue
        if record is None:
            continue
        known = known_headers(record[1])
        if best is None or known > best[0]:
            best = (known, delimiter, record)
    if best is None or (best[0] == 0 and isinstance(refusal, TruncatedError)):
        raise refusal
    if best[0] == 0:
        raise _no_header(open_bytes, best[2], separator)
    return best[1:]


def _refuse_workbook(open_bytes: OpenBytes) -> None:
    """NoHeaderError for a workbook or an archive, by its first bytes: whatever text one finds in it is none."""
    with open_bytes() as raw:
        if raw.read(_MAGIC_BYTES).startswith(_WORKBOOKS):
            raise NoHeaderError(because="workbook")


def _no_header(open_bytes: OpenBytes, record: Record, separator: str | None) -> NoHeaderError:
    """Name what usually stands there instead of a header, for the message."""
    with open_bytes() as raw:
        start = raw.read(_MAGIC_BYTES).lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_PAGES):
        return NoHeaderError(because="web_page")
    lone = record[1][0] if len(record[1]) == 1 else ""
    if not any(known_headers(lone.split(delimiter)) for delimiter in DELIMITERS if delimiter in lone):
        return NoHeaderError()
    if separator is not None:
        return NoHeaderError(because="other_separator", separator="TAB" if separator == "\t" else separator)
    return NoHeaderError(because="quoted_lines")


@dataclass(frozen=True)
class _Shape:
    fields: int
    rows: int
    refusal: FileRefusedError | None


class _Spread(NamedTuple):
    """A record of several lines; `fields` is -1 when it can be no row, `more_lines` how many beyond the first."""

    rows_before: int
    line: int
    fields: int
    more_lines: int
    is_long: bool


class _Measure:
    """Counts the rows and their fields, and finds where the file breaks off."""

    def __init__(self, width: int, *, ends_with_eof: bool, index: RowIndex | None = None) -> None:
        self._index = index
        self._width = width
        self._ends_with_eof = ends_with_eof
        self._widths: Counter[int] = Counter()
        self._filled: set[int] = set()
        self._rows = 0
        self._last_count = 0
        self._spread: list[_Spread] = []
        self._eof: list[str] | None = None  # the record that may be the end marker, while nothing stands behind it

    def of(self, text: RecordReader) -> _Shape:
        """Read the whole file."""
        refusal: FileRefusedError | None = None
        note, index = self._note if self._ends_with_eof else self._count, self._index
        records = text.records()
        next(records)  # the header
        try:
            for record in records:
                if self._rows == MAX_ROWS and not self._is_eof(record[1]):
                    return _Shape(self._width, self._rows, TooLargeError(because="rows"))
                if text.spread is not None:
                    self._note_spread(text, record)
                note(record[1])
                # What is shortened cannot be read again by its place.
                if (
                    index is not None
                    and not text.is_shortened
                    and not (self._ends_with_eof and self._is_eof(record[1]))
                ):
                    index.note(record, text.start_byte, text.end_byte)
        except TruncatedError as error:
            refusal = error
        if refusal is None and self._rows and text.is_torn and self._eof is None:
            usual = self._usual(self._widths - Counter([self._last_count]))  # what the rows before it have
            if self._last_count < usual:
                self._rows -= 1
                if self._spread and self._spread[-1].rows_before == self._rows:
                    self._spread.pop()
                refusal = TruncatedError()
        usual = self._usual(self._widths)
        joined = [spread for spread in self._spread if spread.fields != usual]
        endless = next((spread for spread in joined if spread.is_long), None)
        if endless is not None:
            joined = joined[: joined.index(endless)]
            self._rows, refusal = endless.rows_before, open_quote(endless.line)
        rows = self._rows + sum(spread.more_lines for spread in joined)
        return _Shape(usual, rows, refusal or (self._wrong_end(rows) if rows else EmptyFileError()))

    def _note(self, fields: list[str]) -> None:
        if self._ends_with_eof:
            eof, self._eof = self._eof, fields if self._is_eof(fields) else None
            if eof is not None:  # it is not the last: a row like any other
                self._count(eof)
            if self._eof is not None:
                return
        self._count(fields)

    def _count(self, fields: list[str]) -> None:
        self._rows += 1
        count = self._last_count = len(fields)
        self._widths[count] += 1
        if count > self._width and any(fields[self._width :]):
            self._filled.add(count)

    def _note_spread(self, text: RecordReader, record: Record) -> None:
        """Remember a record of several lines, which falls apart unless it has as many fields as most.

        A long one would be much of the file: its quote counts as never closed.
        """
        line, fields, _ = record
        if not text.is_joined(record, self._width):
            return
        count = -1 if text.is_joined(record, len(fields)) else len(fields)  # which may be the usual surplus
        more_lines = 0 if is_long(record) else len(text.apart(record, self._width)) - 1
        self._spread.append(_Spread(self._rows, line, count, more_lines, is_long(record)))

    def _usual(self, widths: Counter[int]) -> int:
        """The header's width, or that of every row when all have the same surplus and it is empty."""
        only = next(iter(widths)) if len(widths) == 1 else self._width
        return only if only > self._width and only not in self._filled else self._width

    def _is_eof(self, fields: list[str]) -> bool:
        return self._ends_with_eof and fields[0].strip().partition(",")[0] == _EOF

    def _wrong_end(self, rows: int) -> TruncatedError | None:
        """Compare what the end marker says with the rows before it (R2)."""
        if not self._ends_with_eof:
            return None
        said = ",".join(self._eof or ()).strip().removeprefix(_EOF).strip(", ")
        if not (said.isascii() and said.isdigit() and len(said) <= _MOST_DIGITS):
            return TruncatedError(because="eof_absent")
        return None if int(said) == rows else TruncatedError(because="eof_differs", said=said, found=str(rows))
