"""Turn one record into one ImportRow, or into a rejected one with its reason: swiftly where nothing is to be said."""

from __future__ import annotations

import re
import unicodedata

from muster.directory.v1 import imports_pb2

from services.importer.careful_row import CarefulRow
from services.importer.cells import MailInvalidError, MailMixedScriptError, canonical_mail, international_phone
from services.importer.csv_file import CsvFile, Record
from services.importer.row_layout import (
    ACCEPTED,
    DAMAGED_ID,
    MAX_FIELD_BYTES,
    MAX_TEXT_CHARACTERS,
    PHONES,
    RowLayout,
    RowSettings,
    digest_of_calm,
)
from services.importer.timestamps import NewestTimestamp

_PLAIN_ID = re.compile(rf"(?!{DAMAGED_ID.pattern}$)[A-Za-z0-9_.:@/-]{{10,256}}")
_EDGE = frozenset(" '=+-@")


class RowReader:
    """Reads the rows of one file; `newest_timestamp` looks at all the rows read so far (R6)."""

    def __init__(self, csv_file: CsvFile, settings: RowSettings) -> None:
        self.newest_timestamp = NewestTimestamp(settings.time_zone)
        self._layout = RowLayout(csv_file.header, settings, csv_file.fields, self.newest_timestamp)
        # With Name, FirstName and LastName in one file it depends on the row which of them count.
        self._swift = _SwiftReader(self._layout) if len(self._layout.name_columns) < 3 else None

    def read(self, record: Record, block: imports_pb2.ImportBlock) -> imports_pb2.RowDisposition.ValueType:
        """Add the row and its issues to the block, and say what the row is to the plan."""
        if self._swift is not None and self._swift.read(record, block):
            return ACCEPTED
        row = CarefulRow(self._layout, record)
        row.read()
        block.rows.append(row.row)
        block.issues.extend(row.issues)
        return row.row.disposition


class _SwiftReader:
    """Reads rows with nothing to say about them, several times as fast as `CarefulRow` and to the same result."""

    def __init__(self, layout: RowLayout) -> None:
        where = layout.positions.get
        self._layout = layout
        self._fields = layout.fields
        self._id, self._mail = layout.positions["UniqueID"], layout.positions["Mail"]
        self._names = [layout.positions[column] for column in layout.name_columns]
        self._title, self._groups, self._skip = where("Title"), where("Groups"), where("Skip")
        self._phones = [(name, layout.positions[column]) for column, name in PHONES if column in layout.positions]
        self._timestamp = where("TimeStamp")
        self._separator = layout.settings.group_separator

    def read(self, record: Record, block: imports_pb2.ImportBlock) -> bool:
        """Add the row to the block, or leave everything alone and return False for `CarefulRow` to read it."""
        line, fields, characters = record
        if len(fields) != self._fields or characters > MAX_FIELD_BYTES // 4 or not _is_calm("".join(fields)):
            return False
        external_id = fields[self._id]
        if not _PLAIN_ID.fullmatch(external_id):
            return False
        names = [fields[position] for position in self._names]
        name = names[0] if len(names) == 1 else " ".join(names)
        if len(name) > MAX_TEXT_CHARACTERS or not all(map(_is_plain, names)):
            return False
        mail = self._mail_of(fields[self._mail])
        optional = self._optional(fields)
        groups = self._groups_of(fields)
        if mail is None or optional is None or groups is None:
            return False
        if self._timestamp is not None:
            self._layout.timestamps.note(fields[self._timestamp])
        block.rows.add(
            line=line,
            disposition=ACCEPTED,
            external_id=external_id,
            email=mail,
            display_name=name,
            has_groups=self._groups is not None,
            group_external_ids=groups,
            digest=digest_of_calm((external_id, mail, *names, *optional.values(), "")),
            **optional,
        )
        return True

    def _mail_of(self, cell: str) -> str | None:
        try:
            return None if cell[:1] == "'" else canonical_mail(cell)
        except (MailInvalidError, MailMixedScriptError):
            return None

    def _optional(self, fields: list[str]) -> dict[str, str] | None:
        """Read title and phones in the digest's order; None when one of them, or Skip, needs a careful look."""
        if self._skip is not None and fields[self._skip] not in ("", "0"):
            return None
        cells: dict[str, str] = {}
        if self._title is not None:
            title = cells["title"] = fields[self._title]
            if title and (not _is_plain(title) or len(title) > MAX_TEXT_CHARACTERS):
                return None
        for name, position in self._phones:
            cell = fields[position]
            if cell:
                phone = international_phone(cell)
                if phone is None:
                    return None
                cell = phone
            cells[name] = cell
        return cells

    def _groups_of(self, fields: list[str]) -> list[str] | None:
        if self._groups is None or not (cell := fields[self._groups]):
            return []
        if cell[0] in _EDGE or "'" in cell:
            return None
        if self._separator not in cell:
            return [cell.rstrip(" ")]
        groups = [group for part in cell.split(self._separator) if (group := part.strip(" "))]
        return groups if len(set(groups)) == len(groups) else list(dict.fromkeys(groups))


def _is_calm(text: str) -> bool:
    """Tell whether all is NFC, without control, invisible, bidi or undecodable characters and odd white space."""
    return text.isprintable() and (text.isascii() or unicodedata.is_normalized("NFC", text))


def _is_plain(text: str) -> bool:
    """Tell whether a calm text is not empty and needs neither trimming nor collapsing nor a warning."""
    return text != "" and text[0] not in _EDGE and text[-1] != " " and "  " not in text
