"""Bring the directory what it keeps of rows that cannot be used: as they stand in the file, and what is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import grpc
import structlog
from muster.directory.v1 import imports_pb2
from muster.runtime import errors as rpc_errors

from services.importer.csv_file import CsvFile
from services.importer.csv_form import find_form
from services.importer.directory import Directory
from services.importer.errors import TooLargeError
from services.importer.records import JoinedFields, Record, is_long
from services.importer.row_layout import MAX_FIELD_BYTES, REJECTED, SKIPPED
from services.importer.rows import RowReader
from services.importer.staging import Block, ReadFile

log = structlog.get_logger()

MAX_ROW_BYTES = 256 * 1024
_MAX_PAGE_ROWS = 500
_MAX_PAGE_BYTES = 1024 * 1024
_SPEAK_EVERY_S = 5.0


def describe(facts: imports_pb2.ImportFileFacts, csv_file: CsvFile) -> None:
    """Add to the facts what is needed to write rows in the file's own form."""
    form = find_form(csv_file)
    facts.header.extend(csv_file.header.names)
    facts.column_places.extend(csv_file.header.positions.values())
    facts.byte_order_mark = csv_file.decoding.bom_bytes > 0
    facts.line_end, facts.all_quoted = form.line_end, form.all_quoted
    facts.separator_line = csv_file.has_sep_line


def keep_rejected_rows(directory: Directory, run: str, csv_file: CsvFile, wait: Callable[[float], None]) -> None:
    """Bring the rows that a plan has rejected; both they and the file come line by line, so memory stays flat.

    Without them the run goes on: only the file to be mended lacks their cells.
    """
    try:
        lines = directory.rejected_lines(run)
        rows = _rows_on(csv_file, lines)
        for page in _pages(rows):
            wait(0)
            directory.keep_rejected_rows(run, page, is_last=False)
        directory.keep_rejected_rows(run, (), is_last=True)
    except grpc.RpcError as error:
        log.warning("import.rejected_rows_not_kept", run=run, reason=rpc_errors.failure_of(error).reason)


def tell_of_refused(
    directory: Directory, run: str, file: ReadFile, wait: Callable[[float], None]
) -> imports_pb2.ImportCounts:
    """Count what was readable of a refused file (R46), and bring its issues and rejected rows, however many."""
    counts = imports_pb2.ImportCounts(rows=file.csv_file.rows)
    if isinstance(file.csv_file.refusal, TooLargeError):
        return counts  # it must be split whatever its millions of rows hold, and judging them takes minutes
    told, spoken = 0, time.monotonic()
    for block, records in _blocks_with_records(file):
        wait(0)  # ends the run when the importer is to stop
        counts.skipped += block.count(SKIPPED)
        counts.rejected += block.count(REJECTED)
        if block.issues or time.monotonic() - spoken > _SPEAK_EVERY_S:
            directory.add_issues(run, told + 1, block.issues)
            told, spoken = told + len(block.issues), time.monotonic()
        rejected = {row.line for row in block.rows if row.disposition == REJECTED}
        if rejected:
            for page in _pages(_row(file.csv_file, record) for record in records if record[0] in rejected):
                directory.keep_rejected_rows(run, page, is_last=False)
    return counts


def _blocks_with_records(file: ReadFile) -> Iterator[tuple[Block, Sequence[Record]]]:
    """Read blocks with the records of their rejected rows."""
    reader = RowReader(file.csv_file, file.settings)
    records: list[Record] = []

    def note(record: Record) -> None:
        records.append(record)

    for block in file.blocks(reader, note_rejected=note):
        yield block, tuple(records)
        records.clear()


def _rows_on(csv_file: CsvFile, lines: Iterable[int]) -> Iterator[imports_pb2.RejectedRow]:
    """Find the records that start on these lines, which rise as the records do."""
    wanted = iter(lines)
    line = next(wanted, None)
    if line is None:
        return
    for record in csv_file.records():
        while line is not None and line < record[0]:
            line = next(wanted, None)
        if line is None:
            return
        if line == record[0]:
            yield _row(csv_file, record)


def _row(csv_file: CsvFile, record: Record) -> imports_pb2.RejectedRow:
    """Take known columns' cells alone (R12): of another width than the header's nobody can tell which those are."""
    line, fields, _ = record
    if isinstance(fields, JoinedFields):
        fields = fields.as_read
    header = csv_file.header
    is_whole = len(fields) == csv_file.fields
    if not is_whole and len(header.positions) < header.width:
        return imports_pb2.RejectedRow(line=line)
    kept = [fields[place] for place in header.positions.values()] if is_whole else fields
    cells = [cell.encode("utf-8", "surrogateescape") for cell in kept]
    if sum(map(len, cells)) > MAX_ROW_BYTES or (is_long(record) and max(map(len, cells)) > MAX_FIELD_BYTES):
        return imports_pb2.RejectedRow(line=line)
    return imports_pb2.RejectedRow(line=line, cells=cells)


def _pages(rows: Iterable[imports_pb2.RejectedRow]) -> Iterator[list[imports_pb2.RejectedRow]]:
    page: list[imports_pb2.RejectedRow] = []
    size = 0
    for row in rows:
        page.append(row)
        size += row.ByteSize()
        if len(page) == _MAX_PAGE_ROWS or size > _MAX_PAGE_BYTES:
            yield page
            page, size = [], 0
    if page:
        yield page
