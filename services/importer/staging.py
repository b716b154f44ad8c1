"""Write a file's rows as the messages of the staging stream, and count what was read."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePosixPath

from muster.directory.v1 import imports_pb2

from services.importer.csv_file import CsvFile
from services.importer.issues import warning
from services.importer.records import Record
from services.importer.row_block import Row, SettledRow, import_block
from services.importer.row_layout import REJECTED, RowSettings
from services.importer.rows import RowReader
from services.importer.timestamps import is_stale

MAX_BLOCK_ROWS = 5_000
_MAX_BLOCK_CHARACTERS = 700_000  # keeps a block of mostly ASCII rows below 1 MiB, and any block far below 4 MiB
_ISSUE_CHARACTERS = 300
_READ_APART = 8
"""Rows are looked up one by one when fewer than one in so many is needed; else the file is read from end to end."""


@dataclass(frozen=True)
class Block:
    """Some rows with their issues."""

    rows: list[Row] = field(default_factory=list)
    settled: list[SettledRow] = field(default_factory=list)
    issues: list[imports_pb2.ImportIssue] = field(default_factory=list)

    def count(self, disposition: imports_pb2.RowDisposition.ValueType) -> int:
        """Count the rows that are this to the plan."""
        return sum(row.disposition == disposition for row in self.rows)


@dataclass(frozen=True)
class ReadFile:
    """A CSV file with what is needed to read its rows; `now` judges how old its export is (R6)."""

    csv_file: CsvFile
    settings: RowSettings
    now: datetime

    def blocks(
        self,
        reader: RowReader,
        settled: Container[bytes] = (),
        note_rejected: Callable[[Record], None] = lambda _: None,
    ) -> Iterator[Block]:
        """Read the rows in blocks, but for settled ones, of which the hash is enough.

        The file's own issues come with the first block, `stale_export` with the last. `note_rejected` gets the record
        of each row that is rejected, before its block comes.
        """
        block = Block(issues=self._file_issues())
        characters = 0
        for line, row_hash, record in self._rows(reader, settled):
            if record is None:
                block.settled.append((line, row_hash))
            else:
                row = reader.read(record, row_hash, block.issues)
                block.rows.append(row)
                if row.disposition == REJECTED:
                    note_rejected(record)
                characters += record[2]
            if (
                len(block.rows) + len(block.settled) >= MAX_BLOCK_ROWS
                or characters + _ISSUE_CHARACTERS * len(block.issues) > _MAX_BLOCK_CHARACTERS
            ):
                yield block
                block, characters = Block(), 0
        newest = reader.newest_timestamp.value
        if newest is not None and is_stale(newest, self.now):
            block.issues.append(self._file_issue("stale_export", "TimeStamp"))
        yield block

    def _rows(self, reader: RowReader, settled: Container[bytes]) -> Iterator[tuple[int, bytes, Record | None]]:
        """Answer line, hash and record of each row; a settled one is None.

        What the first reading of the file has hashed is not hashed again, nor read where little else is needed.
        """
        index = self.csv_file.index
        if index is None:
            for record in self.csv_file.records():
                row_hash = reader.hash_of(record)
                yield record[0], row_hash, None if row_hash in settled else record
            return
        reader.newest_timestamp = index.newest_timestamp
        others = index.places_of_others(settled)
        if len(others) * _READ_APART > len(index):
            for record, row_hash in zip(self.csv_file.records(), index.hashes(), strict=True):
                yield record[0], row_hash, None if row_hash in settled else record
            return
        file, done = self.csv_file, 0
        records = index.records(others, file.open_bytes, file.decoding, file.delimiter)
        for place, record in zip(others, records, strict=True):
            for line, row_hash in index.lines_and_hashes(done, place):
                yield line, row_hash, None
            yield record[0], index.hash_at(place), record
            done = place + 1
        for line, row_hash in index.lines_and_hashes(done, len(index)):
            yield line, row_hash, None

    def _file_issues(self) -> list[imports_pb2.ImportIssue]:
        issues = [self._file_issue("encoding_guessed")] if self.csv_file.decoding.guessed else []
        issues += [self._file_issue("header_alias", column) for column in self.csv_file.header.aliases]
        issues += [self._file_issue(f"unknown_column:{name}") for name in self.csv_file.header.unknown]
        return issues

    def _file_issue(self, code: str, column: str = "") -> imports_pb2.ImportIssue:
        return warning(self.csv_file.header_line, "", code, column=column)


def staging_messages(
    run: str,
    facts: imports_pb2.ImportFileFacts,
    file: ReadFile,
    sent: Callable[[int], None],
    settled: Container[bytes] = (),
) -> Iterator[imports_pb2.StageImportRowsRequest]:
    """Write the stream of StageImportRows: start, blocks, end. `sent` hears the rows of all blocks taken so far."""
    yield imports_pb2.StageImportRowsRequest(start=imports_pb2.StageImportStart(import_run=run, file=facts))
    reader = RowReader(file.csv_file, file.settings)
    rows = checksum = 0
    for block in file.blocks(reader, settled):
        message = import_block(block.rows, block.settled, block.issues)
        rows += len(block.rows) + len(block.settled)
        checksum = zlib.crc32("".join(f"{external_id}\n" for external_id in message.external_ids).encode(), checksum)
        checksum = zlib.crc32(message.settled_hashes, checksum)
        yield imports_pb2.StageImportRowsRequest(block=message)
        sent(rows)
    end = imports_pb2.ImportEnd(row_count=rows, checksum=checksum)
    newest = reader.newest_timestamp.value
    if newest is not None:
        end.newest_timestamp.FromDatetime(newest)
    yield imports_pb2.StageImportRowsRequest(end=end)


def file_name_of(path: str) -> str:
    """The name without folders."""
    return PurePosixPath(path.replace("\\", "/")).name
