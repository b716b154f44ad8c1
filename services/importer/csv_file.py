"""Turn a file's bytes into records with the line each starts on, and judge the whole file (R3, R4, R7, R11, R14)."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

from services.importer.decoding import Decoding, OpenBytes, find_decoding
from services.importer.errors import (
    EmptyFileError,
    FileRefusedError,
    NoHeaderError,
    TooLargeError,
    TruncatedError,
)
from services.importer.header import Header, known_headers, read_header

MAX_ROWS = 2_000_000
MAX_RECORD_CHARACTERS = 8 * 1024 * 1024
"""Beyond this a record is the rest of a file behind a lost quote; 64 fields of 64 KiB are half of it."""
DELIMITERS = (",", ";", "\t", "|")

Record = tuple[int, list[str], int]
"""The physical line a record starts on, its fields, and how many characters it takes in the file.

A plain tuple, because a named one would cost a tenth of the time that a row takes altogether.
"""

_SEP_LINE = re.compile(r'\ufeff?"?sep=(.)"?[\r\n]*', re.IGNORECASE)

csv.field_size_limit(2 * MAX_RECORD_CHARACTERS)  # the module has one limit a process; ours is on the record


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

    def records(self) -> Iterator[Record]:
        """Read the rows that `rows` counts, in file order; each call reads the file anew."""
        with closing(_Reading(self.open_bytes, self.decoding, self.delimiter, has_sep_line=self.has_sep_line)) as text:
            records = text.records()
            next(records)  # the header
            yield from islice(records, self.rows)


def read_csv_file(open_bytes: OpenBytes, *, strict_encoding: bool = False) -> CsvFile:
    """Find out encoding, delimiter and header, and read the whole file once for its shape; memory is flat in its size.

    Raises the FileRefusedError that applies when there is no usable header; a refusal behind the header is in the
    result, so that the rows before it can be counted.
    """
    decoding = find_decoding(open_bytes, strict_encoding=strict_encoding)
    separator = _sep_line(open_bytes, decoding)
    delimiter, first = _find_header(open_bytes, decoding, separator)
    header = read_header(first[1])
    with closing(_Reading(open_bytes, decoding, delimiter, has_sep_line=separator is not None)) as text:
        shape = _measure(text, header.width)
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
    )


def is_blank(fields: Sequence[str]) -> bool:
    """Tell whether a record is blank or only delimiters, and so no row (R14)."""
    return not "".join(fields).strip()


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
        with closing(_Reading(open_bytes, decoding, delimiter, has_sep_line=separator is not None)) as text:
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
        raise NoHeaderError
    return best[1:]


@dataclass(frozen=True)
class _Shape:
    fields: int
    rows: int
    refusal: FileRefusedError | None


def _measure(text: _Reading, width: int) -> _Shape:
    """Count the rows and their fields, and find where the file breaks off."""
    widths: Counter[int] = Counter()
    filled: set[int] = set()
    refusal: FileRefusedError | None = None
    rows = count = 0
    records = text.records()
    next(records)  # the header
    try:
        for _, fields, _ in records:
            if rows == MAX_ROWS:
                return _Shape(width, rows, TooLargeError())
            rows += 1
            count = len(fields)
            widths[count] += 1
            if count > width and any(fields[width:]):
                filled.add(count)
    except TruncatedError as error:
        refusal = error
    if refusal is None and rows and text.is_torn:
        usual = _usual(widths - Counter([count]), filled, width)  # what the rows before it have
        if count < usual:
            return _Shape(usual, rows - 1, TruncatedError())
    if refusal is None and not rows:
        refusal = EmptyFileError()
    return _Shape(_usual(widths, filled, width), rows, refusal)


def _usual(widths: Counter[int], filled: set[int], width: int) -> int:
    """The header's width, or that of every row when all have the same surplus and it is empty."""
    only = next(iter(widths)) if len(widths) == 1 else width
    return only if only > width and only not in filled else width


class _Reading:
    """One reading of the file, record by record."""

    def __init__(self, open_bytes: OpenBytes, decoding: Decoding, delimiter: str, *, has_sep_line: bool) -> None:
        self._text: io.TextIOWrapper = decoding.open_text(open_bytes)
        self._delimiter = delimiter
        self._lines_before = 1 if has_sep_line else 0
        if has_sep_line:
            self._text.readline()
        self._characters = 0  # of the record being read
        self._at_end = False
        self._lacks_newline = False
        self.is_torn = False
        """Whether the last line of the file belongs to a row and lacks its newline; known at the end."""

    def close(self) -> None:
        self._text.close()

    def records(self) -> Iterator[Record]:
        """Read records that are not blank; TruncatedError behind the last whole one when a quote is never closed."""
        reader = csv.reader(self._lines(), delimiter=self._delimiter)
        start = self._lines_before + 1
        last_line_of_row = 0
        for fields in reader:
            line, start = start, self._lines_before + reader.line_num + 1
            characters, self._characters = self._characters, 0
            if self._at_end:
                if fields != ["", ""]:  # the end was swallowed by a quoted field
                    raise TruncatedError
                self.is_torn = self._lacks_newline and last_line_of_row == line - 1
                return
            if not fields or ((not fields[0] or fields[0].isspace()) and is_blank(fields)):
                continue
            last_line_of_row = start - 1
            yield line, fields, characters

    def _lines(self) -> Iterator[str]:
        """Read physical lines; at the end one more, a lone delimiter, which shows whether a quote is still open."""
        readline = self._text.readline
        line = "\n"
        while True:
            following = readline(MAX_RECORD_CHARACTERS + 1)
            if not following:
                break
            line = following
            self._characters += len(line)
            if self._characters > MAX_RECORD_CHARACTERS:
                raise TruncatedError
            yield line
        self._lacks_newline = line[-1] not in "\r\n"
        self._at_end = True
        yield self._delimiter
