"""Hold one row as the directory is to see it, and write many of them column by column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

from muster.directory.v1 import imports_pb2

GROUP_SEPARATOR = "\x1f"
"""Joins Group IDs; no Group ID holds a control character (R20)."""


class Row(NamedTuple):
    """One row in canonical form, as ImportBlock defines its columns; None leaves the user's value alone."""

    line: int
    disposition: imports_pb2.RowDisposition.ValueType
    external_id: str
    email: str
    display_name: str
    title: str | None
    phone: str | None
    secondary_phone: str | None
    group_external_ids: str | None
    digest: bytes
    row_hash: bytes


SettledRow = tuple[int, bytes]
"""Line and hash of a row that is as it was when it last took full effect."""


def import_block(
    rows: Sequence[Row], settled: Sequence[SettledRow], issues: Sequence[imports_pb2.ImportIssue]
) -> imports_pb2.ImportBlock:
    """Turn rows into columns."""
    block = imports_pb2.ImportBlock(issues=issues)
    block.settled_lines.extend([line for line, _ in settled])
    block.settled_hashes = b"".join([row_hash for _, row_hash in settled])
    if rows:
        columns = iter(zip(*rows, strict=True))
        block.lines.extend(cast("Sequence[int]", next(columns)))
        block.dispositions.extend(cast("Sequence[imports_pb2.RowDisposition.ValueType]", next(columns)))
        for required in (block.external_ids, block.emails, block.display_names):
            required.extend(cast("Sequence[str]", next(columns)))
        for optional in (block.titles, block.phones, block.secondary_phones, block.group_external_ids):
            _fill(optional, cast("Sequence[str | None]", next(columns)))
        block.digests = b"".join(cast("Sequence[bytes]", next(columns)))
        block.row_hashes = b"".join(cast("Sequence[bytes]", next(columns)))
    return block


def _fill(column: imports_pb2.OptionalColumn, values: Sequence[str | None]) -> None:
    absent = [place for place, value in enumerate(values) if value is None] if None in values else []
    if len(absent) < len(values):
        column.values.extend([value or "" for value in values] if absent else cast("Sequence[str]", values))
        column.absent.extend(absent)
