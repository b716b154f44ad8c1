"""Share due sources among importers: a source is claimed under a lease, by one at a time (docs/adr/0017)."""

from __future__ import annotations

import enum
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from muster.directory.v1 import sources_pb2
from sqlalchemy import ColumnElement, and_, bindparam, not_, or_, text
from sqlalchemy.orm import aliased
from sqlmodel import Session, col, exists, select

from services.directory.operations.import_openings import open_run
from services.directory.operations.imports import Imports, end_run
from services.directory.operations.replay import Attempt, write_once
from services.directory.operations.schedule import drop_claim, end_night, put_back
from services.directory.operations.sources import locked_source
from services.directory.rules import schedule
from services.directory.rules.errors import ClaimLost
from services.directory.rules.names import SOURCE
from services.directory.store.events import Actor
from services.directory.store.seal import Seal
from services.directory.store.session import Lock
from services.directory.store.tables import (
    ImportRun,
    RequestReplay,
    RunStatus,
    Source,
    SourceKind,
    SourceState,
    Tenant,
    UtcDateTime,
)

log = structlog.get_logger()

_FORM = re.compile(r"[0-9a-f]{32}")
_GIVEN_UP = "The importer stopped in the middle each time; nothing was changed. The next night tries again."


class Release(enum.IntEnum):
    """Why a claim is given back without a run; the numbers are those of the contract."""

    SERVER_AWAY = 1
    TENANT_BUSY = 2
    WORKER_ENDS = 3


@dataclass(frozen=True)
class Claimer:
    """Who claims, and for how long it counts as alive without another word."""

    worker: str
    lease: timedelta


class _NothingDueError(Exception):
    """There is nothing to claim; nothing is written."""


class _WornOutError(Exception):
    """The source that is due has been tried too often tonight."""

    def __init__(self, source: Source) -> None:
        self.tenant_id, self.source_id = source.tenant_id, source.id
        super().__init__()


def claim_due_source(
    imports: Imports,
    seal: Seal,
    claimer: Claimer,
    *,
    attempt: Attempt,
    answer: Callable[[Source], sources_pb2.ClaimDueSourceResponse],
) -> sources_pb2.ClaimDueSourceResponse:
    """Claim the source that has been due the longest, of all tenants; an empty answer when none is due.

    A tenant's sources are claimed one after the other, and none while a run of the tenant is under way (R44). Of those
    who ask at once each gets another one. Nothing is written when nothing is due.
    """

    def work(session: Session) -> sources_pb2.ClaimDueSourceResponse:
        now = imports.clock()
        source = _next_due(session, now, for_update=True)
        if source is None:
            raise _NothingDueError  # somebody was quicker
        if source.night_attempts >= schedule.MOST_TRIES:
            raise _WornOutError(source)
        source.claim_id, source.claimed_by = uuid.uuid4().hex, claimer.worker
        source.claim_time, source.claimed_until = now, now + claimer.lease
        source.night_attempts += 1
        session.add(source)
        session.flush()
        log.info("source.claimed", source=_name(source), worker=claimer.worker, attempt=source.night_attempts)
        return answer(source)

    while _is_worth_a_look(imports, attempt):
        try:
            return write_once(
                imports.store, seal, None, attempt, sources_pb2.ClaimDueSourceResponse, work, now=imports.clock()
            )
        except _NothingDueError:
            break
        except _WornOutError as error:
            _give_night_up(imports, error.tenant_id, error.source_id)
    return sources_pb2.ClaimDueSourceResponse()


def renew_claim(imports: Imports, tenant_id: int, source_id: int, claim_id: str, *, lease: timedelta) -> datetime:
    """Say that the worker is still there; answers until when it counts as such. Errors: ClaimLost."""
    until = imports.clock() + lease
    sql = "UPDATE sources SET claimed_until = :until WHERE tenant_id = :t AND id = :s AND claim_id = :claim"
    statement = text(sql).bindparams(bindparam("until", until, type_=UtcDateTime))
    with imports.store.write(tenant_id, lock=Lock.NONE) as session:
        values = {"t": tenant_id, "s": source_id, "claim": claim_id}
        if not _FORM.fullmatch(claim_id) or not session.connection().execute(statement, values).rowcount:
            raise ClaimLost
    return until


def release_claim(
    session: Session, tenant_id: int, source_id: int, claim_id: str, why: Release, *, now: datetime
) -> Source:
    """Give a claim back without a run; `why` says when the source is due again. Errors: ClaimLost, NotFound."""
    source = locked_source(session, tenant_id, source_id)
    if not claim_id or source.claim_id != claim_id:
        raise ClaimLost
    if why is Release.SERVER_AWAY:
        put_back(source, now=now)
    else:  # neither was a try: the server was not asked to the end
        source.night_attempts -= 1
        if why is Release.TENANT_BUSY:
            source.due_at = now + schedule.BUSY_FOR
        drop_claim(source)
    session.add(source)
    session.flush()
    log.info("source.released", source=_name(source), why=why.name.lower(), attempt=source.night_attempts)
    return source


def _is_worth_a_look(imports: Imports, attempt: Attempt) -> bool:
    """Whether a source is due, or was claimed by this very attempt before; most calls end here, and write nothing."""
    with imports.store.read(None) as session:
        if _next_due(session, imports.clock()) is not None:
            return True
        return bool(attempt.request_id) and session.get(RequestReplay, (0, attempt.request_id)) is not None


def _next_due(session: Session, now: datetime, *, for_update: bool = False) -> Source | None:
    """Find the source that has been due the longest and that nobody has; others' claims under way are passed over."""
    query = select(Source).where(
        col(Source.due_at) <= now,
        col(Source.kind) == SourceKind.SFTP,
        col(Source.state).in_([SourceState.TRIAL, SourceState.ENABLED]),
        col(Source.delete_time).is_(None),
        # Of the row itself: PostgreSQL looks at it again when it has the lock, and at others as they were before.
        or_(col(Source.claimed_until).is_(None), col(Source.claimed_until) <= now),
        not_(_is_tenant_claimed(now)),
        not_(_is_tenant_running()),
        exists().where(col(Tenant.id) == col(Source.tenant_id), col(Tenant.delete_time).is_(None)),
    )
    query = query.order_by(col(Source.due_at), col(Source.tenant_id), col(Source.id)).limit(1)
    if for_update:
        query = query.with_for_update(skip_locked=True, of=Source)
    return session.exec(query).first()


def _is_tenant_claimed(now: datetime) -> Any:
    other = aliased(Source)
    return exists().where(other.tenant_id == col(Source.tenant_id), other.claimed_until > now)  # type: ignore[arg-type,operator]


def _is_tenant_running() -> Any:
    """Whether a run has the tenant's turn; one whose importer is gone is ended by the directory's worker meanwhile."""
    is_to_be_applied: ColumnElement[bool] = and_(
        col(ImportRun.status) == RunStatus.PLANNED, not_(col(ImportRun.plan_only))
    )
    return exists().where(
        col(ImportRun.tenant_id) == col(Source.tenant_id),
        or_(col(ImportRun.status).in_([RunStatus.STAGING, RunStatus.APPLYING]), is_to_be_applied),
    )


def _give_night_up(imports: Imports, tenant_id: int, source_id: int) -> None:
    """End a night that killed its importers one after the other, with a run that says so: it is reported like any."""
    with imports.store.write(tenant_id) as session:
        source = locked_source(session, tenant_id, source_id)
        if source.night_attempts < schedule.MOST_TRIES:
            return
        actor = Actor(source_id=source_id)
        run = open_run(imports, session, source, dry_run=False, actor=actor)
        end_run(imports, session, run, RunStatus.FAILED, reason="interrupted", message=_GIVEN_UP, actor=actor)
        end_night(source, now=imports.clock())
        session.add(source)
    log.warning("source.night_given_up", source=SOURCE.format(tenant_id, source_id))


def _name(source: Source) -> str:
    return SOURCE.format(source.tenant_id, source.id)
