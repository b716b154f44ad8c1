"""Write rejected rows in the customer's own kind of CSV, with what is wrong beside them, safe in a spreadsheet (R25).

The importer takes what is changed here for safety back: it drops a leading apostrophe (R16), and reads past `Muster`.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

REMARKS: Final = "Muster"
"""The column that says what is wrong; imports take no notice of it."""

_FORMULA: Final = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # noqa: RUF001 - some spreadsheets read the wide ones too
_LOSSY: Final = re.compile(r"0\d+|\d{12,}|\d+[Ee]\d+|\d+[.,]\d*[Ee]\+?\d+")
"""What a spreadsheet would turn into another number: leading zeros, more digits than it keeps, an exponent."""

_LOSSY_COLUMNS: Final = frozenset({"UniqueID", "TelephoneNumber", "SecondaryTelephoneNumber"})
_ENCODINGS: Final = frozenset({"utf-8", "utf-16-le", "utf-16-be", "cp1252"})
_LINE_ENDS: Final = frozenset({"\r\n", "\n", "\r"})
_BOMS: Final = {"utf-8": codecs.BOM_UTF8, "utf-16-le": codecs.BOM_UTF16_LE, "utf-16-be": codecs.BOM_UTF16_BE}


@dataclass(frozen=True)
class FileForm:
    """How the customer's file is written."""

    encoding: str
    byte_order_mark: bool
    delimiter: str
    line_end: str
    all_quoted: bool
    separator_line: bool
    columns: tuple[str, ...]
    """Canonical names of the known columns, in the file's order."""
    header: tuple[str, ...]
    """All header cells as they stand in the file."""
    places: tuple[int, ...]
    """Where each of `columns` stands in the header."""

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> FileForm | None:
        """Read what a run keeps of its file; None when its header was never read."""
        header, columns = tuple(facts.get("header") or ()), tuple(facts.get("columns") or ())
        if header[-1:] == (REMARKS,):
            header = header[:-1]  # such a file has come back
        places = tuple(facts.get("column_places") or ())
        if not header or len(places) != len(columns) or not all(0 <= place < len(header) for place in places):
            return None
        if facts["encoding"] not in _ENCODINGS or len(facts["delimiter"]) != 1:
            return None
        return cls(
            encoding=facts["encoding"],
            byte_order_mark=facts["byte_order_mark"],
            delimiter=facts["delimiter"],
            line_end=facts["line_end"] if facts["line_end"] in _LINE_ENDS else "\r\n",
            all_quoted=facts["all_quoted"],
            separator_line=facts["separator_line"],
            columns=columns,
            header=header,
            places=places,
        )


@dataclass(frozen=True)
class RowToMend:
    """A rejected row: its cells as kept (none: they were not), and what is wrong."""

    line: int
    cells: tuple[str, ...]
    remark: str


def rejected_csv(form: FileForm, rows: Iterable[RowToMend]) -> Iterator[bytes]:
    """Write the file in pieces: header first, then the rows in the order in which they come."""
    writer = _Writer(form)
    yield writer.beginning()
    for row in rows:
        yield writer.line([*_row_cells(form, row), harmless(row.remark)])


def harmless(value: str, column: str = "") -> str:
    """Put an apostrophe before what a spreadsheet would compute, or in some columns turn into another number."""
    visible = value.lstrip(" \t\r\n\v\f") if value[:1].isspace() else value
    while visible and unicodedata.category(visible[0]) in {"Cc", "Cf", "Zs", "Zl", "Zp"}:
        visible = visible[1:]
    is_lossy = column in _LOSSY_COLUMNS and _LOSSY.fullmatch(visible.strip()) is not None
    return f"'{value}" if visible.startswith(_FORMULA) or is_lossy else value


def _row_cells(form: FileForm, row: RowToMend) -> list[str]:
    """Put kept cells where they stood; a row of another width stays so, for it must not pass for a whole one."""
    if len(row.cells) != len(form.columns):
        return [harmless(cell, "UniqueID") for cell in row.cells] or [""] * len(form.header)
    cells = [""] * len(form.header)
    for place, column, cell in zip(form.places, form.columns, row.cells, strict=True):
        cells[place] = harmless(cell, column)
    return cells


def _header_cells(form: FileForm) -> list[str]:
    """Name the columns as the file does; a known name that looks like a formula gives way to the canonical one."""
    cells = [harmless(cell) for cell in form.header]
    for place, column in zip(form.places, form.columns, strict=True):
        if cells[place] != form.header[place]:
            cells[place] = column
    return [*cells, REMARKS]


_ANY_LINE_END = "\r\n"
"""A cell is quoted when it holds one of these characters, whichever of them end the file's lines."""


class _Writer:
    """Writes records in the file's form."""

    def __init__(self, form: FileForm) -> None:
        self._form = form
        self._text = io.StringIO(newline="")
        self._writer = csv.writer(
            self._text,
            delimiter=form.delimiter,
            lineterminator=_ANY_LINE_END,
            quoting=csv.QUOTE_ALL if form.all_quoted else csv.QUOTE_MINIMAL,
        )

    def beginning(self) -> bytes:
        """Write what stands before the rows. UTF-16 always gets its mark: without one nobody knows it again."""
        form = self._form
        has_mark = form.byte_order_mark or form.encoding.startswith("utf-16")
        mark = _BOMS.get(form.encoding, b"") if has_mark else b""
        separator = self._encoded(f"sep={form.delimiter}{form.line_end}") if form.separator_line else b""
        return mark + separator + self.line(_header_cells(form))

    def line(self, cells: Sequence[str]) -> bytes:
        """Write one record. Only a remark can hold what the encoding lacks: the cells came from it."""
        self._text.seek(0)
        self._text.truncate()
        self._writer.writerow(cells)
        return self._encoded(self._text.getvalue().removesuffix(_ANY_LINE_END) + self._form.line_end)

    def _encoded(self, text: str) -> bytes:
        encoding = self._form.encoding
        try:
            return text.encode(encoding, "surrogateescape")
        except UnicodeEncodeError:
            return b"".join(_encoded_character(character, encoding) for character in text)


def _encoded_character(character: str, encoding: str) -> bytes:
    try:
        return character.encode(encoding, "surrogateescape")
    except UnicodeEncodeError:
        return "?".encode(encoding)
