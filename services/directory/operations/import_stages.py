"""Remove stages that nobody needs any more: they hold people's data, and runs may end without time to tidy up."""

from __future__ import annotations

import re
from datetime import timedelta

import structlog
from sqlalchemy import text
from sqlmodel import col, select

from services.directory.operations.imports import Imports
from services.directory.store.tables import ImportRun, RunStatus, Source

log = structlog.get_logger()

PLANNED_KEPT_FOR = timedelta(days=7)
"""How long a dry run's or a trial's plan can be looked at, unless a newer run of the source comes first."""

_FILE = re.compile(r"run_(\d+)\.db")
_TABLE = re.compile(r"rows_(\d+)")


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
    return [int(match[1]) for name in names if (match := pattern.fullmatch(name))]


def _is_needed(imports: Imports, run_id: int) -> bool:
    with imports.store.read(None) as session:
        run = session.exec(select(ImportRun).where(ImportRun.id == run_id)).first()
        if run is None:
            return False
        if run.status in {RunStatus.STAGING, RunStatus.HELD, RunStatus.APPLYING}:
            return True
        if run.status != RunStatus.PLANNED:
            return False
        if not run.plan_only or run.end_time is None:
            return True
        source = session.exec(
            select(Source).where(col(Source.tenant_id) == run.tenant_id, col(Source.id) == run.source_id)
        ).one()
        return source.last_run_id == run.id and imports.clock() - run.end_time < PLANNED_KEPT_FOR
