"""End a run at its beginning: the file is the last applied one, and nothing is to be done about it (R5)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from muster.directory.v1 import imports_pb2
from sqlalchemy import ColumnElement, and_, not_, or_, text
from sqlmodel import Session, col, select

from services.directory.operations.import_endings import expire_held
from services.directory.operations.import_inputs import last_apply_of
from services.directory.operations.import_openings import has_active_run, one_at_a_time, open_run, require_claim
from services.directory.operations.imports import NO_COUNTS, Imports, end_run, require_running, run_of, source_of
from services.directory.operations.replay import Attempt, write_once
from services.directory.operations.source_secrets import require_file
from services.directory.roster.settled_rows import is_untouched
from services.directory.store.events import Actor
from services.directory.store.seal import Seal
from services.directory.store.tables import ImportIssue, ImportRun, License, RunStatus, Source, SourceState

STALE_AFTER = timedelta(hours=48)
"""R6: an export older than this is warned about, so its file is read."""

Answer = imports_pb2.RecordUnchangedFileResponse


def record_unchanged_file(
    imports: Imports,
    seal: Seal,
    tenant_id: int,
    source_id: int,
    *,
    file: dict[str, Any],
    actor: Actor,
    attempt: Attempt,
    answer: Callable[[ImportRun], Answer],
    claim_id: str = "",
) -> Answer:
    """Open a run and end it `unchanged`, or do nothing and answer without one: then the file takes the normal path.

    With a claim it is the run of the source's night. Errors: ClaimLost, NotFound, SourceStateError (disabled,
    paused, or no file's source).
    """

    def work(session: Session) -> Answer:
        source = source_of(session, tenant_id, source_id)
        require_file(source)
        require_running(source)
        one_at_a_time(session, tenant_id)
        if has_active_run(imports, session, tenant_id):
            return Answer()
        last = _last_applied_of(imports, session, source, file)
        if last is None:
            return Answer()
        if claim_id:
            require_claim(session, source, claim_id)
        return answer(_record(imports, session, source, last, file=file, actor=actor, claim_id=claim_id))

    return write_once(imports.store, seal, tenant_id, attempt, Answer, work, now=imports.clock())


def _last_applied_of(imports: Imports, session: Session, source: Source, file: dict[str, Any]) -> ImportRun | None:
    """Read the run that applied this very file last, if the normal path would find nothing to do and to say."""
    if source.state != SourceState.ENABLED or not source.last_applied_run_id:
        return None
    last = run_of(session, source.tenant_id, source.last_applied_run_id)
    is_applied = last.status == RunStatus.APPLIED and not last.undoes_run_id
    if not is_applied or not _is_same(file, last.file) or _is_stale(last, imports.clock()):
        return None
    if _left_something(session, source, last):
        return None
    since = last_apply_of(session, source)
    is_still = since is not None and is_untouched(session.connection(), source.tenant_id, source.id, since)
    return last if is_still else None


def _is_same(file: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether both have the same bytes, read by the same rules."""
    return bool(file["reading"]) and all(file[key] == other.get(key) for key in ("sha256", "reading"))


def _is_stale(last: ImportRun, now: datetime) -> bool:
    return last.newest_timestamp is not None and now - last.newest_timestamp > STALE_AFTER


def _left_something(session: Session, source: Source, last: ImportRun) -> bool:
    """Whether the run rejected, deferred, warned about or left out anything: it is tried, and said, every night."""
    left_out = last.counts["rejected"] or last.counts["deferred"] or last.deletions_left_out
    return bool(left_out) or _has_issues(session, last) or _has_misses(session, source)


def _has_issues(session: Session, run: ImportRun) -> bool:
    """Whether there was anything to say of a row; what its columns are called is no reason to read a file again."""
    query = select(ImportIssue.number).where(
        col(ImportIssue.tenant_id) == run.tenant_id, col(ImportIssue.run_id) == run.id, not_(_is_of_the_file())
    )
    return session.exec(query.limit(1)).first() is not None


def _is_of_the_file() -> ColumnElement[bool]:
    """Say of an issue that it tells how the file as a whole was read, which the same bytes repeat."""
    code = col(ImportIssue.code)
    return and_(
        col(ImportIssue.row_key) == "",
        or_(code.in_(["encoding_guessed", "header_alias"]), code.startswith("unknown_column:")),
    )


def _has_misses(session: Session, source: Source) -> bool:
    """Whether somebody's deletion was left out (R8), or somebody's files without a row are being counted (R32)."""
    sql = """
        SELECT EXISTS (SELECT 1 FROM claims WHERE tenant_id = :t AND source_id = :s
                       AND (deletion_left_out OR missed_files > 0))
    """
    return bool(session.connection().execute(text(sql), {"t": source.tenant_id, "s": source.id}).scalar_one())


def _record(
    imports: Imports,
    session: Session,
    source: Source,
    last: ImportRun,
    *,
    file: dict[str, Any],
    actor: Actor,
    claim_id: str,
) -> ImportRun:
    run = open_run(imports, session, source, dry_run=False, actor=actor, claim_id=claim_id)
    expire_held(imports, session, source)
    source.nights_without_file = 0
    run.file = {**last.file, **{key: value for key, value in file.items() if value}}
    run.newest_timestamp = last.newest_timestamp
    before = last.counts
    run.counts = {
        **NO_COUNTS,
        **{key: before[key] for key in ("rows", "skipped", "merged")},
        "unchanged": before["rows"] - before["skipped"] - before["merged"],
    }
    license_ = session.get(License, source.tenant_id, populate_existing=True)
    assert license_ is not None
    run.seats_total, run.seats_used = license_.seats_total, license_.seats_used
    _say_again(session, last, run)
    end_run(imports, session, run, RunStatus.UNCHANGED, reason="", message="", actor=Actor(source_id=source.id))
    session.flush()
    return run


def _say_again(session: Session, last: ImportRun, run: ImportRun) -> None:
    """Copy what the last run said of the file: the normal path would say it, too (R10, R12)."""
    query = select(ImportIssue).where(
        col(ImportIssue.tenant_id) == last.tenant_id, col(ImportIssue.run_id) == last.id, _is_of_the_file()
    )
    session.flush()  # the run comes before its issues
    for issue in session.exec(query.order_by(col(ImportIssue.number))).all():
        session.add(ImportIssue(**issue.model_dump(exclude={"run_id"}), run_id=run.id))
