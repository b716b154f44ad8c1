"""Read a CSV file's bytes as the importer does, without a directory: rows, issues, counts, or the refusal."""

from __future__ import annotations

import io
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from muster.directory.v1 import imports_pb2

from services.importer.csv_file import CsvFile, read_csv_file
from services.importer.errors import FileRefusedError
from services.importer.issues import REJECTED as REJECTED_SEVERITY
from services.importer.row_block import Row
from services.importer.row_layout import REJECTED, SKIPPED, RowSettings
from services.importer.rows import RowReader
from services.importer.staging import ReadFile

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


@dataclass(frozen=True)
class Reading:
    """What became of a file; `refusal` is the word for which it was refused, or empty."""

    refusal: str
    file: CsvFile | None
    rows: list[Row]
    issues: list[imports_pb2.ImportIssue]
    counted: int
    skipped: int
    rejected: int
    newest: datetime | None

    @property
    def csv_file(self) -> CsvFile:
        """The file, if its header could be used."""
        assert self.file is not None
        return self.file

    @property
    def row(self) -> Row:
        """The only row."""
        assert len(self.rows) == 1
        return self.rows[0]

    @property
    def codes(self) -> list[str]:
        """The words of all issues."""
        return [issue.code for issue in self.issues]

    @property
    def rejections(self) -> list[tuple[int, str, str]]:
        """Line, word and column of each rejected row."""
        return [(issue.line, issue.code, issue.column) for issue in self.issues if issue.severity == REJECTED_SEVERITY]


def read(
    data: bytes,
    *,
    strict_encoding: bool = False,
    ends_with_eof: bool = False,
    now: datetime = NOW,
    **settings: Any,
) -> Reading:
    """Read a file's bytes; `settings` are those of RowSettings."""
    try:
        csv_file = read_csv_file(lambda: io.BytesIO(data), strict_encoding=strict_encoding, ends_with_eof=ends_with_eof)
    except FileRefusedError as error:
        return Reading(error.code, None, [], [], 0, 0, 0, None)
    row_settings = RowSettings(**settings)
    reader = RowReader(csv_file, row_settings)
    blocks = list(ReadFile(csv_file, row_settings, now).blocks(reader))
    return Reading(
        refusal=csv_file.refusal.code if csv_file.refusal else "",
        file=csv_file,
        rows=[row for block in blocks for row in block.rows],
        issues=[issue for block in blocks for issue in block.issues],
        counted=sum(len(block.rows) for block in blocks),
        skipped=sum(block.count(SKIPPED) for block in blocks),
        rejected=sum(block.count(REJECTED) for block in blocks),
        newest=reader.newest_timestamp.value,
    )
