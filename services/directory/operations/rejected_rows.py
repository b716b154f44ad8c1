"""Keep rejected rows as they stand in the file, sealed, give them back to be mended, and forget them in time."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Any, Final

from muster.directory.v1 import imports_pb2
from sqlalchemy import insert
from sqlmodel import Session, col, delete, select

from services.directory.operations.imports import (
    LEASE_S,
    Imports,
    is_at_rest,
    locked_run_of,
    require_status,
    run_of,
    status_word,
)
from services.directory.operations.personal_keys import PersonalKeys
from services.directory.rules.errors import InvalidArgument, RunState
from services.directory.rules.names import IMPORT_RUN
from services.directory.rules.rejected_csv import FileForm, RowToMend, rejected_csv
from services.directory.store.import_tables import RejectedRowsPage
from services.directory.store.seal import Seal
from services.directory.store.tables import ImportIssue, ImportRun, RunStatus

KEPT_FOR: Final = timedelta(days=30)
"""How long rows can be downloaded."""

MOST_ROWS: Final = 1_000
MOST_ISSUES: Final = 10_000
_ISSUES: Final[Any] = ImportIssue.__table__  # type: ignore[attr-defined]  # the model is a table
_WAIT_S: Final = 0.1
_ISSUES_AT_ONCE: Final = 1_000
_PAGES_AT_ONCE: Final = 20
_CHUNK_BYTES: Final = 64 * 1024
_REJECTED: Final = 1
_EDGES: Final = re.compile(r"^[\W_]+|[\W_]+$")
"""What does not make another name of it: spaces, quotes, invisible characters."""


def add_issues(
    imports: Imports, tenant_id: int, run_id: int, first_number: int, issues: Sequence[Mapping[str, object]]
) -> None:
    """Keep issues of a run whose file cannot be used, in the place of those with the same numbers; renews its lease.

    They are rows of import_issues, but for tenant, run and number. Errors: RunState, InvalidArgument.
    """
    if len(issues) > MOST_ISSUES or first_number < 1:
        raise InvalidArgument([("issues", f"at most {MOST_ISSUES}, numbered from 1 on")])
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        require_status(run, RunStatus.STAGING)
        run.active_until = imports.clock() + timedelta(seconds=LEASE_S)
        session.add(run)
        if issues:
            _delete_issues(session, run, first_number, first_number + len(issues) - 1)
            whose = {"tenant_id": tenant_id, "run_id": run_id}
            rows = [{**issue, **whose, "number": number} for number, issue in enumerate(issues, start=first_number)]
            session.connection().execute(insert(_ISSUES), rows)


def _delete_issues(session: Session, run: ImportRun, first: int, last: int) -> None:
    statement = delete(ImportIssue).where(
        col(ImportIssue.tenant_id) == run.tenant_id,
        col(ImportIssue.run_id) == run.id,
        col(ImportIssue.number).between(first, last),
    )
    session.connection().execute(statement)


def expect_rows(run: ImportRun, *, now: datetime) -> None:
    """Say in the caller's transaction that the importer is about to bring the run's rejected rows."""
    run.rejected_rows_until = now + timedelta(seconds=LEASE_S)


def is_waiting(run: ImportRun, *, now: datetime) -> bool:
    """Whether rejected rows of the run are on their way."""
    return run.rejected_rows_until is not None and run.rejected_rows_until > now


def keep_rows(
    imports: Imports, seal: Seal, tenant_id: int, run_id: int, rows: imports_pb2.RejectedRows, *, is_last: bool
) -> None:
    """Keep some rows in one transaction. Errors: RunState, InvalidArgument."""
    lines = [row.line for row in rows.rows]
    if len(lines) > MOST_ROWS or any(later <= line for line, later in pairwise(lines)):
        raise InvalidArgument([("rejected_rows", f"at most {MOST_ROWS}, by line")])
    now = imports.clock()
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        if is_at_rest(run) and not is_waiting(run, now=now):
            raise RunState(status=f"{status_word(run)}, and no rejected rows of it are waited for")
        if lines:
            _replace(session, seal, run, rows, now=now)
        if run.rejected_rows_until is not None:
            run.rejected_rows_until = None if is_last else now + timedelta(seconds=LEASE_S)
        if not is_at_rest(run):
            run.active_until = now + timedelta(seconds=LEASE_S)
        session.add(run)


def _replace(session: Session, seal: Seal, run: ImportRun, rows: imports_pb2.RejectedRows, *, now: datetime) -> None:
    first, last = rows.rows[0].line, rows.rows[-1].line
    statement = delete(RejectedRowsPage).where(
        col(RejectedRowsPage.tenant_id) == run.tenant_id,
        col(RejectedRowsPage.run_id) == run.id,
        col(RejectedRowsPage.first_line) >= first,
    )
    session.connection().execute(statement)  # what comes behind is sent once more as well
    session.add(
        RejectedRowsPage(
            tenant_id=run.tenant_id,
            run_id=run.id,
            first_line=first,
            last_line=last,
            sealed=seal.close_up(rows.SerializeToString(), belongs_to=_belongs_to(run.tenant_id, run.id, first)),
            create_time=now,
        )
    )


def _belongs_to(tenant_id: int, run_id: int, first_line: int) -> str:
    return f"{IMPORT_RUN.format(tenant_id, run_id)}/rejectedRows/{first_line}"


def _opened(seal: Seal, page: RejectedRowsPage) -> imports_pb2.RejectedRows:
    belongs_to = _belongs_to(page.tenant_id, page.run_id, page.first_line)
    return imports_pb2.RejectedRows.FromString(seal.open(page.sealed, belongs_to=belongs_to))


def download(
    imports: Imports, seal: Seal, tenant_id: int, run_id: int, *, is_wanted: Callable[[], bool] = lambda: True
) -> Iterator[bytes]:
    """Yield the CSV of the run's rejected rows in chunks, once all of them are there. Errors: NotFound, RunState."""
    form = _form_when_ready(imports, tenant_id, run_id, is_wanted)
    chunk = bytearray()
    for piece in rejected_csv(form, _rows_to_mend(imports, seal, tenant_id, run_id)):
        chunk += piece
        if len(chunk) >= _CHUNK_BYTES:
            yield bytes(chunk)
            chunk.clear()
    yield bytes(chunk)


def _form_when_ready(imports: Imports, tenant_id: int, run_id: int, is_wanted: Callable[[], bool]) -> FileForm:
    while True:
        with imports.store.read(tenant_id) as session:
            run = run_of(session, tenant_id, run_id)
            if not is_waiting(run, now=imports.clock()):
                break
        if not is_wanted():
            break
        imports.wait(_WAIT_S)
    form = FileForm.of(run.file)
    with imports.store.read(tenant_id) as session:
        kept = select(RejectedRowsPage.first_line).where(
            col(RejectedRowsPage.tenant_id) == tenant_id, col(RejectedRowsPage.run_id) == run_id
        )
        has_rows = session.exec(kept.limit(1)).first() is not None
    if form is None or not has_rows:
        why = "its rejected rows are kept for 30 days and are gone" if run.counts["rejected"] else "no row was rejected"
        raise RunState(status=f"{status_word(run)}, and {why}")
    return form


def _rows_to_mend(imports: Imports, seal: Seal, tenant_id: int, run_id: int) -> Iterator[RowToMend]:
    """Read the rejected lines by their issues, a page at a time, each with its row if it was kept."""
    after = 0
    while True:
        with imports.store.read(tenant_id) as session:
            issues = _rejections(session, tenant_id, run_id, after)
            if not issues:
                return
            cells = _cells(session, seal, tenant_id, run_id, first=issues[0].line, last=issues[-1].line)
        after = issues[-1].number
        for line, same in groupby(issues, key=lambda issue: issue.line):
            yield RowToMend(line, cells.get(line, ()), "; ".join([_remark(issue) for issue in same]))


def _rejections(session: Session, tenant_id: int, run_id: int, after: int) -> list[ImportIssue]:
    query = select(ImportIssue).where(
        col(ImportIssue.tenant_id) == tenant_id,
        col(ImportIssue.run_id) == run_id,
        col(ImportIssue.number) > after,
        col(ImportIssue.severity) == _REJECTED,
    )
    return list(session.exec(query.order_by(col(ImportIssue.number)).limit(_ISSUES_AT_ONCE)))


def _cells(
    session: Session, seal: Seal, tenant_id: int, run_id: int, *, first: int, last: int
) -> dict[int, tuple[str, ...]]:
    pages = session.exec(
        select(RejectedRowsPage).where(
            col(RejectedRowsPage.tenant_id) == tenant_id,
            col(RejectedRowsPage.run_id) == run_id,
            col(RejectedRowsPage.first_line) <= last,
            col(RejectedRowsPage.last_line) >= first,
        )
    )
    return {
        row.line: tuple(cell.decode("utf-8", "surrogateescape") for cell in row.cells)
        for page in pages
        for row in _opened(seal, page).rows
        if first <= row.line <= last
    }


def _remark(issue: ImportIssue) -> str:
    where = f" ({issue.column_name})" if issue.column_name else ""
    return f"line {issue.line}: {issue.code}{where}. {issue.message}".rstrip()


def forget_people(session: Session, seal: Seal, tenant_id: int, keys: PersonalKeys) -> None:
    """Take rows in which one of these names stands out of all that is kept; each page is opened to be looked at."""
    for page, rows in _every_page(session, seal, tenant_id):
        left = [row for row in rows if not _names_one_of(row, keys.names)]
        if len(left) < len(rows):
            belongs_to = _belongs_to(page.tenant_id, page.run_id, page.first_line)
            page.sealed = seal.close_up(imports_pb2.RejectedRows(rows=left).SerializeToString(), belongs_to=belongs_to)
            session.add(page)


def rows_naming(
    session: Session, seal: Seal, tenant_id: int, keys: PersonalKeys
) -> Iterator[tuple[int, int, list[str]]]:
    """Yield run, line and cells of each kept row in which one of these names stands."""
    for page, rows in _every_page(session, seal, tenant_id):
        for row in rows:
            if _names_one_of(row, keys.names):
                yield page.run_id, row.line, [cell.decode("utf-8", "replace") for cell in row.cells]


def _every_page(
    session: Session, seal: Seal, tenant_id: int
) -> Iterator[tuple[RejectedRowsPage, Sequence[imports_pb2.RejectedRow]]]:
    """Open each page of a tenant: what is sealed cannot be searched."""
    query = select(RejectedRowsPage).where(col(RejectedRowsPage.tenant_id) == tenant_id)
    query = query.order_by(col(RejectedRowsPage.run_id), col(RejectedRowsPage.first_line))
    for page in session.exec(query.execution_options(yield_per=_PAGES_AT_ONCE)):
        yield page, _opened(seal, page).rows


def _names_one_of(row: imports_pb2.RejectedRow, names: frozenset[str]) -> bool:
    for cell in row.cells:
        whole = cell.decode("utf-8", "replace").strip()
        for text in (whole, _EDGES.sub("", whole)):
            if text and (text in names or text.lower() in names or _in_ascii(text) in names):
                return True
    return False


def _in_ascii(text: str) -> str:
    """Write a mail address's domain as the register does."""
    local, at, domain = text.lower().rpartition("@")
    if not at or domain.isascii():
        return text
    try:
        return f"{local}@{domain.encode('idna').decode()}"
    except UnicodeError:
        return text
