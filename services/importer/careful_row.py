"""Read one row cell by cell, with everything there is to say about it (R14 to R25)."""

from __future__ import annotations

import re
from typing import NamedTuple

from muster.directory.v1 import imports_pb2

from services.importer import vocabulary
from services.importer.cells import (
    MailInvalidError,
    MailMixedScriptError,
    canonical_mail,
    canonical_phone,
    canonical_text,
    clean_cell,
    has_control_character,
)
from services.importer.issues import rejection, showable, warning
from services.importer.records import JoinedFields, Record
from services.importer.row_block import GROUP_SEPARATOR, Row
from services.importer.row_layout import (
    ACCEPTED,
    DAMAGED_ID,
    FORMULA,
    MAX_FIELD_BYTES,
    MAX_TEXT_CHARACTERS,
    PHONES,
    REJECTED,
    SKIPPED,
    RowLayout,
    digest,
)

_UNDECODABLE = re.compile("[\udc80-\udcff]")


class _Text(NamedTuple):
    """One cell in canonical form, with the words for what had to be dropped."""

    column: str
    text: str
    warnings: tuple[str, ...]


class CarefulRow:
    """One row read cell by cell, with everything there is to say about it."""

    def __init__(self, layout: RowLayout, record: Record) -> None:
        self._layout = layout
        self._line, self._fields, self._characters = record
        self._texts: list[str] = []  # of the digest
        self._warnings: list[imports_pb2.ImportIssue] = []
        self._rejection: imports_pb2.ImportIssue | None = None
        self._is_skipped = False
        self._key = self._key_of()
        self._external_id = self._email = self._display_name = ""
        self._title: str | None = None
        self._phones: dict[str, str] = {}
        self._groups: str | None = None
        self._read()

    def row(self, row_hash: bytes) -> Row:
        """Make the row of what is usable of it."""
        disposition = SKIPPED if self._is_skipped else ACCEPTED if self._rejection is None else REJECTED
        phone, secondary_phone = map(self._phones.get, PHONES)
        return Row(
            self._line,
            disposition,
            self._external_id,
            self._email,
            self._display_name,
            self._title,
            phone,
            secondary_phone,
            self._groups,
            digest(self._texts),
            row_hash,
        )

    @property
    def issues(self) -> list[imports_pb2.ImportIssue]:
        """One rejection, or all warnings: a row that is not used has no warnings."""
        return self._warnings if self._rejection is None else [self._rejection]

    @property
    def _is_imported(self) -> bool:
        return self._rejection is None and not self._is_skipped

    def _read(self) -> None:
        """Look at each cell. The first rejection counts: UniqueID, row, Mail, Name; before all, a line out of many."""
        if isinstance(self._fields, JoinedFields):
            self._reject("column_count", "")
        self._read_id()
        if len(self._fields) != self._layout.fields:
            self._reject("column_count", "")
        skip = self._cell("Skip")
        self._is_skipped = skip.text == "1" and self._rejection is None and self._external_id != ""
        if not self._is_skipped:
            self._check_fields()
        warned_for_id = list(self._warnings)
        self._read_mail()
        self._read_name()
        self._read_title()
        for column in PHONES:
            self._read_phone(column)
        self._read_groups()
        self._read_skip(skip)
        if self._is_skipped:
            self._warnings = warned_for_id

    def _read_id(self) -> None:
        cell = self._cell("UniqueID")
        self._texts.append(cell.text)
        if _UNDECODABLE.search(cell.text):
            return  # the row is rejected for it
        self._warn_of(cell)
        if not cell.text:
            self._reject("id_missing", "UniqueID")
        elif has_control_character(cell.text):
            self._reject("control_character", "UniqueID")
        elif DAMAGED_ID.fullmatch(cell.text):
            self._reject("id_damaged", "UniqueID")
        elif not 10 <= len(cell.text) <= MAX_TEXT_CHARACTERS:
            self._reject("id_length", "UniqueID")
        else:
            self._external_id = cell.text

    def _check_fields(self) -> None:
        if any(map(_UNDECODABLE.search, self._fields)):
            self._reject("encoding_invalid", "")
        elif self._characters > MAX_FIELD_BYTES // 4:
            for position, field in enumerate(self._fields):
                if len(field.encode()) > MAX_FIELD_BYTES:
                    self._reject_long_field(position)
                    return

    def _reject_long_field(self, position: int) -> None:
        header = self._layout.header
        column = next((name for name, its in header.positions.items() if its == position), "")
        shown = column or (header.names[position] if position < header.width else "")
        self._reject(f"field_too_long:{shown or position + 1}", column)

    def _read_mail(self) -> None:
        cell = self._cell("Mail")
        mail, problem = "", ""
        if not cell.text:
            problem = "mail_missing"
        elif has_control_character(cell.text):
            problem = "control_character"
        else:
            try:
                mail = canonical_mail(cell.text)
            except MailInvalidError:
                problem = "mail_invalid"
            except MailMixedScriptError:
                problem = "mail_mixed_script"
        self._texts.append(mail or cell.text)
        self._email = mail
        if not self._is_skipped:
            self._warn_of(cell)
            if problem:
                self._reject(problem, "Mail")

    def _read_name(self) -> None:
        cells = [self._cell(column, keeps_elision=True) for column in self._layout.name_columns]
        self._texts.extend(cell.text for cell in cells)
        filled = [cell for cell in cells if cell.text]
        if filled and filled[0].column == "Name":
            filled = filled[:1]
        name = " ".join(cell.text for cell in filled)
        if self._is_skipped:
            return
        broken = next((cell for cell in filled if has_control_character(cell.text)), None)
        if not name:
            self._reject("name_missing", "Name")
        elif broken is not None:
            self._reject("control_character", broken.column)
        elif len(name) > MAX_TEXT_CHARACTERS:
            self._reject("field_too_long:Name", "Name")
        for cell in filled:
            self._warn_of(cell)
        if name.startswith(FORMULA):
            self._warn("formula_like", "Name", name)
        if self._is_imported:
            self._display_name = name

    def _read_title(self) -> None:
        if "Title" not in self._layout.positions:
            return
        cell = self._cell("Title")
        self._texts.append(cell.text)
        self._warn_of(cell)
        if has_control_character(cell.text):
            self._warn("control_character", "Title", cell.text)
        elif len(cell.text) > MAX_TEXT_CHARACTERS:
            self._warn("field_too_long:Title", "Title", cell.text)
        else:
            if cell.text.startswith(FORMULA):
                self._warn("formula_like", "Title", cell.text)
            if self._is_imported:
                self._title = cell.text

    def _read_phone(self, column: str) -> None:
        if column not in self._layout.positions:
            return
        cell = self._cell(column)
        phone = canonical_phone(cell.text, self._layout.settings.region) if cell.text else None
        self._texts.append(phone.e164 if phone is not None else cell.text)
        self._warn_of(cell)
        if phone is None and cell.text:
            self._warn("phone_invalid", column, cell.text)
            return
        if phone is not None and phone.is_national:
            self._warn("phone_national", column, cell.text)
        if self._is_imported:
            self._phones[column] = phone.e164 if phone is not None else ""

    def _read_groups(self) -> None:
        if "Groups" not in self._layout.positions:
            return
        cell = clean_cell(self._raw("Groups"))  # not collapsed: Group IDs match exactly
        if _UNDECODABLE.search(cell.text):
            return  # the row is rejected for it
        groups = self._layout.groups_of(cell.text)
        parts = [clean_cell(part).warnings for part in cell.text.split(self._layout.settings.group_separator)]
        for code in dict.fromkeys((*cell.warnings, *(code for codes in parts for code in codes))):
            self._warn(code, "Groups", cell.text)
        if groups is None:
            self._warn("control_character", "Groups", cell.text)
            return
        if cell.text.startswith(FORMULA):
            self._warn("formula_like", "Groups", cell.text)
        if self._is_imported:
            self._groups = GROUP_SEPARATOR.join(groups)

    def _read_skip(self, cell: _Text) -> None:
        self._texts.append("" if cell.text == "0" else cell.text)
        self._warn_of(cell)
        if cell.text not in ("", "0", "1"):
            self._warn("skip_value", "Skip", cell.text)

    def _raw(self, column: str) -> str:
        position = self._layout.positions.get(column)
        return self._fields[position] if position is not None and position < len(self._fields) else ""

    def _cell(self, column: str, *, keeps_elision: bool = False) -> _Text:
        cell = clean_cell(self._raw(column), keeps_elision=keeps_elision)
        is_text = column in ("Name", "FirstName", "LastName", "Title")
        return _Text(column, canonical_text(cell.text) if is_text else cell.text, cell.warnings)

    def _key_of(self) -> str:
        return showable(self._cell("UniqueID").text or self._cell("Mail").text)

    def _warn_of(self, cell: _Text) -> None:
        for code in cell.warnings:
            self._warn(code, cell.column, cell.text)

    def _warn(self, code: str, column: str, value: str) -> None:
        self._warnings.append(warning(self._line, self._key, code, column=column, value=value))

    def _reject(self, code: str, column: str) -> None:
        if self._rejection is None:
            value = self._raw(column) if column else ""
            self._rejection = rejection(self._line, self._key, code, column=column, value=value)
            if isinstance(self._fields, JoinedFields):
                first, last = str(self._fields.first_line), str(self._fields.last_line)
                self._rejection.message = vocabulary.cause("joined_lines", first=first, last=last)
