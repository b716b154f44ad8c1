"""Hold what all rows of one file share: where the columns stand, the source's settings, the newest TimeStamp so far."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from hashlib import blake2b

from muster.directory.v1 import imports_pb2

from services.importer.cells import clean_cell, has_control_character
from services.importer.header import Header
from services.importer.timestamps import NewestTimestamp

ACCEPTED = imports_pb2.ROW_DISPOSITION_ACCEPTED
SKIPPED = imports_pb2.ROW_DISPOSITION_SKIPPED
REJECTED = imports_pb2.ROW_DISPOSITION_REJECTED
MAX_FIELD_BYTES = 64 * 1024
MAX_TEXT_CHARACTERS = 256
PHONES = ("TelephoneNumber", "SecondaryTelephoneNumber")
FORMULA = tuple("=+-@")
"""What a cell must not begin with in a spreadsheet (R25)."""
DAMAGED_ID = re.compile(r"[+-]?\d(?:[.,]\d+)?[Ee][+-]\d{1,3}")
"""A number as spreadsheets write long ones (R16)."""
_MAX_GROUP_CELLS, _LONGEST_KEPT_CELL = 4096, 1024


@dataclass(frozen=True)
class RowSettings:
    """What of a source's settings decides how its rows read.

    `region` is an ISO 3166 region or empty (R21); `time_zone` is that of TimeStamps without one.
    """

    group_separator: str = ","
    region: str = ""
    time_zone: tzinfo = UTC


@dataclass(frozen=True)
class RowLayout:
    """The columns and settings of one file; `fields` is how many fields a row must have (R14)."""

    header: Header
    settings: RowSettings
    fields: int
    timestamps: NewestTimestamp
    _group_cells: dict[str, list[str]] = field(default_factory=dict)

    @property
    def positions(self) -> Mapping[str, int]:
        """Where each known column stands."""
        return self.header.positions

    @property
    def name_columns(self) -> list[str]:
        """The columns that make the name, in the order in which they are looked at (R20)."""
        return [column for column in ("Name", "FirstName", "LastName") if column in self.positions]

    def groups_of(self, cell: str) -> list[str] | None:
        """Split a Groups cell into Group IDs (R37); None when one of them holds a control character (R20)."""
        known = self._group_cells.get(cell)
        if known is not None:
            return known
        parts = [clean_cell(part).text for part in cell.split(self.settings.group_separator)]
        if any(map(has_control_character, parts)):
            return None
        if len(self._group_cells) > _MAX_GROUP_CELLS:  # most files have few distinct cells; the others must not grow it
            self._group_cells.clear()
        groups = list(dict.fromkeys(filter(None, parts)))
        if len(cell) <= _LONGEST_KEPT_CELL:
            self._group_cells[cell] = groups
        return groups


def digest(texts: list[str]) -> bytes:
    """Hash the cells in an order that the header fixes; no cell can pretend to be two (R17)."""
    if any("\x1f" in text for text in texts):
        texts = ["\x1e" + text.replace("\x1e", "\x1e0").replace("\x1f", "\x1e1") for text in texts]
    return blake2b("\x1f".join(texts).encode("utf-8", "surrogatepass"), digest_size=16).digest()


def digest_of_calm(texts: Iterable[str]) -> bytes:
    """Hash as `digest` does cells that are known to hold no control character and nothing undecodable."""
    return blake2b("\x1f".join(texts).encode(), digest_size=16).digest()
