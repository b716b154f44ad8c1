"""Enable, disable, pause and resume sources, and delete those that own nothing."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from sqlalchemy import text
from sqlmodel import Session

from services.directory.operations.detaching import DetachedUsers, part
from services.directory.operations.imports import Imports
from services.directory.operations.schedule import reschedule
from services.directory.operations.source_order import close_up, take_order
from services.directory.operations.sources import locked_source, set_state
from services.directory.rules.errors import FailedPrecondition, SourceStateError
from services.directory.rules.etags import require_etag
from services.directory.rules.names import SOURCE
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.tables import Source, SourceKind, SourceState


class Step(Protocol):
    """What brings a source into another state."""

    def __call__(self, session: Session, tenant_id: int, source_id: int, *, actor: Actor, now: datetime) -> Source:
        """Bring it there; again changes nothing."""


def enable_source(session: Session, tenant_id: int, source_id: int, *, actor: Actor, now: datetime) -> Source:
    """Give the go-ahead; again changes nothing. Errors: NotFound, FailedPrecondition (detached)."""
    return set_state(session, tenant_id, source_id, SourceState.ENABLED, actor=actor, now=now)


def disable_source(session: Session, tenant_id: int, source_id: int, *, actor: Actor, now: datetime) -> Source:
    """Stop a source; again changes nothing. Errors: NotFound."""
    return set_state(session, tenant_id, source_id, SourceState.DISABLED, actor=actor, now=now)


def pause_source(session: Session, tenant_id: int, source_id: int, *, actor: Actor, now: datetime) -> Source:
    """Stop an enabled source until it is resumed; again changes nothing. Errors: NotFound, SourceStateError."""
    _require_running(locked_source(session, tenant_id, source_id), "only an enabled source can be paused")
    return set_state(session, tenant_id, source_id, SourceState.PAUSED, actor=actor, now=now)


def resume_source(session: Session, tenant_id: int, source_id: int, *, actor: Actor, now: datetime) -> Source:
    """Enable a paused source; nothing happens when it is enabled. Errors: NotFound, SourceStateError."""
    source = locked_source(session, tenant_id, source_id)
    _require_running(source, "only a paused source can be resumed: enable this one")
    return set_state(session, tenant_id, source_id, SourceState.ENABLED, event="resumed", actor=actor, now=now)


def delete_source(
    session: Session, imports: Imports, tenant_id: int, source_id: int, etag: str, *, actor: Actor, now: datetime
) -> None:
    """Take a source away that owns nothing; its row stays for its runs.

    Errors: FailedPrecondition, NotFound, StaleEtag.
    """
    take_order(session, tenant_id)
    source = locked_source(session, tenant_id, source_id)
    require_etag(etag, resource=SOURCE.format(tenant_id, source_id), revision=source.revision)
    if _owns_something(session, tenant_id, source_id):
        raise FailedPrecondition(
            "the source owns users or groups: detach it first, which keeps or deletes them", why="source_owns"
        )
    source = part(session, imports, source, DetachedUsers.KEEP_AS_MANUAL, actor=actor, now=now).source
    moved = close_up(session, tenant_id, source)
    source.state, source.delete_time = SourceState.DISABLED, now
    reschedule(source, after=now)
    source.drop_password_sha256 = source.sealed_credentials = None
    source.revision += 1
    session.flush()
    before = {"display_name": source.display_name, "kind": SourceKind(source.kind).name.lower()}
    deleted = Change("source.deleted", ("src", source_id), before=before)
    append_events(session, tenant_id, [deleted, *moved], actor=actor, now=now)


def _require_running(source: Source, message: str) -> None:
    if source.state not in {SourceState.ENABLED, SourceState.PAUSED}:
        raise SourceStateError(message, state=SourceState(source.state).name.lower())


def _owns_something(session: Session, tenant_id: int, source_id: int) -> bool:
    """Whether anybody or anything would miss it; who was deleted does not."""
    sql = """
        SELECT EXISTS (SELECT 1 FROM users WHERE tenant_id = :t AND owner_source_id = :s AND state <> 2)
            OR EXISTS (SELECT 1 FROM groups WHERE tenant_id = :t AND owner_source_id = :s)
            OR EXISTS (SELECT 1 FROM claims WHERE tenant_id = :t AND source_id = :s)
            OR EXISTS (SELECT 1 FROM memberships WHERE tenant_id = :t AND origin_source_id = :s)
    """
    return bool(session.connection().execute(text(sql), {"t": tenant_id, "s": source_id}).scalar_one())
