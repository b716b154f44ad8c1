"""Find out how a file is written, so that its rejected rows can be given back in the same form."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from services.importer.csv_file import CsvFile
from services.importer.records import is_blank

_MAX_CHARACTERS = 1024 * 1024
_LINE_ENDS = ("\r\n", "\n", "\r")


@dataclass(frozen=True)
class CsvForm:
    """How lines end, and whether all values of the first rows are in quotes."""

    line_end: str
    all_quoted: bool


def find_form(csv_file: CsvFile) -> CsvForm:
    """Look at the header and the first row; what is unclear is CRLF, and quotes only where they are needed."""
    with csv_file.decoding.open_text(csv_file.open_bytes) as text:
        if csv_file.has_sep_line:
            text.readline()
        seen: list[str] = []
        reader = csv.reader(_noting(text, seen), delimiter=csv_file.delimiter)
        records = list(islice(_with_text(reader, seen), 2))
    if not records:
        return CsvForm("\r\n", all_quoted=False)
    first_text = records[0][1]
    line_end = next((end for end in _LINE_ENDS if first_text.endswith(end)), "\r\n")
    fields, as_written = records[-1]
    return CsvForm(line_end, all_quoted=as_written.rstrip("\r\n") == _quoted(fields, csv_file.delimiter))


def _noting(text: io.TextIOWrapper, seen: list[str]) -> Iterator[str]:
    rest = _MAX_CHARACTERS
    while rest and (line := text.readline(rest)):
        rest -= len(line)
        seen.append(line)
        yield line


def _with_text(reader: Iterator[list[str]], seen: list[str]) -> Iterator[tuple[list[str], str]]:
    for fields in reader:
        as_written = "".join(seen)
        seen.clear()
        if not is_blank(fields):
            yield fields, as_written


def _quoted(fields: list[str], delimiter: str) -> str:
    return delimiter.join(['"' + field.replace('"', '""') + '"' for field in fields])
