"""Turn one record into one row, or into a rejected one with its reason: swiftly where nothing is to be said."""

from __future__ import annotations

import re
import unicodedata

from muster.directory.v1 import imports_pb2

from services.importer.careful_row import CarefulRow
from services.importer.cells import MailInvalidError, MailMixedScriptError, canonical_mail, international_phone
from services.importer.csv_file import CsvFile
from services.importer.errors import ImporterError
from services.importer.records import Record
from services.importer.row_block import GROUP_SEPARATOR, Row
from services.importer.row_hash import NO_HASH, RowHasher
from services.importer.row_layout import (
    ACCEPTED,
    DAMAGED_ID,
    MAX_TEXT_CHARACTERS,
    PHONES,
    RowLayout,
    RowSettings,
    digest_of_calm,
)
from services.importer.timestamps import NewestTimestamp

_PLAIN_ID = re.compile(rf"(?!{DAMAGED_ID.pattern}$).{{10,{MAX_TEXT_CHARACTERS}}}")
_EDGE = frozenset(" '=+-@")


class RowReader:
    """Reads the rows of one file; `newest_timestamp` looks at all the rows read so far (R6)."""

    def __init__(self, csv_file: CsvFile, settings: RowSettings) -> None:
        self.newest_timestamp = NewestTimestamp(settings.time_zone)
        self._layout = RowLayout(csv_file.header, settings, csv_file.fields, self.newest_timestamp)
        self._hasher = RowHasher(self._layout)
        # With Name, FirstName and LastName in one file it depends on the row which of them count.
        self._swift = _SwiftReader(self._layout) if len(self._layout.name_columns) < 3 else None

    def hash_of(self, record: Record) -> bytes:
        """Hash what decides how the row reads; NO_HASH for a row that is always to be read. Its TimeStamp is noted."""
        return self._hasher.hash_of(record[1])

    def read(self, record: Record, row_hash: bytes, issues: list[imports_pb2.ImportIssue]) -> Row:
        """Read one row, and add what there is to say about it to the issues."""
        if self._swift is not None and (row := self._swift.read(record, row_hash)) is not None:
            return row
        careful = CarefulRow(self._layout, record)
        issues.extend(careful.issues)
        return careful.row(row_hash)


class _CareNeededError(ImporterError):
    """There may be something to say about the row."""


class _SwiftReader:
    """Reads rows with nothing to say about them, several times as fast as `CarefulRow` and to the same result."""

    def __init__(self, layout: RowLayout) -> None:
        where = layout.positions.get
        self._id, self._mail = layout.positions["UniqueID"], layout.positions["Mail"]
        self._names = [layout.positions[column] for column in layout.name_columns]
        self._title, self._groups, self._skip = where("Title"), where("Groups"), where("Skip")
        self._phone, self._secondary_phone = (where(column) for column in PHONES)
        self._separator = layout.settings.group_separator

    def read(self, record: Record, row_hash: bytes) -> Row | None:
        """Read the row, or return None for `CarefulRow` to read it; without a hash it is none to be read swiftly."""
        line, fields, _ = record
        if row_hash == NO_HASH or not _is_composed("".join(fields)):
            return None
        try:
            return self._read(line, fields, row_hash)
        except (_CareNeededError, MailInvalidError, MailMixedScriptError):
            return None

    def _read(self, line: int, fields: list[str], row_hash: bytes) -> Row:
        external_id, mail = fields[self._id], fields[self._mail]
        if not (_is_plain(external_id) and _PLAIN_ID.fullmatch(external_id)) or mail[:1] == "'":
            raise _CareNeededError
        if self._skip is not None and fields[self._skip] not in ("", "0"):
            raise _CareNeededError
        mail = canonical_mail(mail)
        digested = [external_id, mail]
        for position in self._names:
            if not _is_plain(fields[position]):
                raise _CareNeededError
            digested.append(fields[position])
        name = " ".join(digested[2:])
        title = phone = secondary_phone = None
        if self._title is not None:
            title = fields[self._title]
            digested.append(title)
            if title and not _is_plain(title):
                raise _CareNeededError
        if self._phone is not None:
            phone = _phone(fields[self._phone])
            digested.append(phone)
        if self._secondary_phone is not None:
            secondary_phone = _phone(fields[self._secondary_phone])
            digested.append(secondary_phone)
        if len(name) > MAX_TEXT_CHARACTERS or (title and len(title) > MAX_TEXT_CHARACTERS):
            raise _CareNeededError
        groups = None if self._groups is None else self._groups_of(fields[self._groups])
        digested.append("")  # Skip
        digest = digest_of_calm(digested)
        return Row(line, ACCEPTED, external_id, mail, name, title, phone, secondary_phone, groups, digest, row_hash)

    def _groups_of(self, cell: str) -> str:
        if not cell:
            return ""
        if cell[0] in _EDGE or "'" in cell:
            raise _CareNeededError
        if self._separator not in cell:
            return cell.rstrip(" ")
        groups = [group for part in cell.split(self._separator) if (group := part.strip(" "))]
        if len(set(groups)) != len(groups):
            groups = list(dict.fromkeys(groups))
        return GROUP_SEPARATOR.join(groups)


def _phone(cell: str) -> str:
    if not cell:
        return ""
    phone = international_phone(cell)
    if phone is None:
        raise _CareNeededError
    return phone


def _is_composed(text: str) -> bool:
    return text.isascii() or unicodedata.is_normalized("NFC", text)


def _is_plain(text: str) -> bool:
    """Tell whether a text without odd characters is not empty and needs no trimming, collapsing or warning."""
    return text != "" and text[0] not in _EDGE and text[-1] != " " and "  " not in text
