"""Keep what was staged, and remove stages that nobody needs any more.

They hold people's data, and runs may end without time to tidy up.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import text
from sqlmodel import col, select

from services.directory.operations.import_endings import expire_held
from services.directory.operations.imports import (
    LEASE_S,
    Imports,
    is_at_rest,
    locked_run_of,
    require_status,
    source_of,
)
from services.directory.roster.stage import Staged
from services.directory.store.tables import ImportRun, RunStatus, Source

log = structlog.get_logger()

PLANNED_KEPT_FOR = timedelta(days=7)
"""How long a dry run's or a trial's plan can be looked at, unless a newer run of the source comes first."""

_FILE = re.compile(r"run_(\d+)\.db")
_TABLE = re.compile(r"(?:rows|changes)_(\d+)")


def finish_staging(
    imports: Imports,
    tenant_id: int,
    run_id: int,
    staged: Staged,
    *,
    file: dict[str, Any],
    newest_timestamp: datetime | None,
) -> None:
    """Keep what was staged; a newer file ends the source's held runs (R8)."""
    now = imports.clock()
    with imports.store.write(tenant_id) as session:
        run = locked_run_of(session, tenant_id, run_id)
        require_status(run, RunStatus.STAGING)
        run.staged_rows, run.staged_checksum = staged.row_count, staged.checksum
        run.file, run.newest_timestamp = file, newest_timestamp
        run.active_until = now + timedelta(seconds=LEASE_S)
        run.revision += 1
        session.add(run)
        source = source_of(session, tenant_id, run.source_id)
        source.nights_without_file = 0
        session.add(source)
        if not run.plan_only:
            expire_held(imports, session, source)


def sweep_stages(imports: Imports) -> int:
    """Drop the stage of every run that is neither under way nor to be decided nor the newest plan; answers how many."""
    dropped = 0
    for run_id in _staged_run_ids(imports):
        if not _is_needed(imports, run_id):
            imports.space(run_id).drop()
            dropped += 1
    if dropped:
        log.info("import.stages_swept", stages=dropped)
    return dropped


def _staged_run_ids(imports: Imports) -> list[int]:
    if imports.store.is_sqlite:
        names = [path.name for path in imports.stage_directory.glob("run_*.db")]
        pattern = _FILE
    else:
        with imports.store.engine.connect() as connection:
            found = connection.execute(text("SELECT tablename FROM pg_tables WHERE schemaname = 'stage'"))
            names = list(found.scalars())
        pattern = _TABLE
    return sorted({int(match[1]) for name in names if (match := pattern.fullmatch(name))})


def _is_needed(imports: Imports, run_id: int) -> bool:
    with imports.store.read(None) as session:
        run = session.exec(select(ImportRun).where(ImportRun.id == run_id)).first()
        if run is None:
            return False
        if run.status in {RunStatus.STAGING, RunStatus.HELD, RunStatus.APPLYING}:
            return True
        if run.status != RunStatus.PLANNED:
            return False
        if not is_at_rest(run) or run.end_time is None:
            return True
        if run.undoes_run_id:
            return imports.clock() - run.end_time < PLANNED_KEPT_FOR
        source = session.exec(
            select(Source).where(col(Source.tenant_id) == run.tenant_id, col(Source.id) == run.source_id)
        ).one()
        return source.last_run_id == run.id and imports.clock() - run.end_time < PLANNED_KEPT_FOR
