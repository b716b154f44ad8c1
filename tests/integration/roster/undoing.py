"""Undo what the SQL engine applied last, and change people by hand before."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

from sqlalchemy import insert, text
from sqlmodel import col, select

from services.directory.operations.user_updates import update_user
from services.directory.roster.undo import Undo, UndoInput, plan_undo
from services.directory.roster.undo_apply import UndoOrder, apply_undo
from services.directory.store import ids
from services.directory.store.events import Actor
from services.directory.store.people_tables import Credential, Invitation, InvitationState
from services.directory.store.session import Lock
from services.directory.store.tables import User, UserState
from tests.integration.directory.undoing import snapshot
from tests.integration.roster.engine import NOW, SqlEngine

SOMEBODY = Actor("somebody")
_UNDO_RUN = 1_000_000_000


@dataclass(frozen=True)
class Outcome:
    """Whom the run had touched, and who of them was put back."""

    touched: frozenset[int]
    put_back: frozenset[int]


def register_of(engine: SqlEngine):
    """Read the whole register of the tenant of the newest plan."""
    return snapshot(SimpleNamespace(store=engine.store, tenant_id=engine.planned_run.given.tenant_id))


def give_passwords_and_invitations(engine: SqlEngine):
    """Let everybody who is active have a password, and an invitation that waits."""
    tenant_id = engine.planned_run.given.tenant_id
    with engine.store.write(tenant_id) as session:
        people = session.exec(
            select(User.id).where(col(User.tenant_id) == tenant_id, col(User.state) == UserState.ACTIVE)
        ).all()
        if not people:
            return
        numbers = ids.reserve_ids(session.connection(), "invitation", len(people))
        passwords = [
            {"tenant_id": tenant_id, "user_id": each, "password_hash": f"hash of {each}", "set_time": NOW}
            for each in people
        ]
        invitations = [
            {
                "tenant_id": tenant_id,
                "id": number,
                "user_id": each,
                "state": InvitationState.SENT,
                "create_time": NOW,
                "expire_time": NOW,
            }
            for number, each in zip(numbers, people, strict=True)
        ]
        session.connection().execute(insert(Credential), passwords)
        session.connection().execute(insert(Invitation), invitations)


def rename(engine: SqlEngine, user_id: int):
    """Change somebody by hand."""
    tenant_id = engine.planned_run.given.tenant_id
    with engine.store.write(tenant_id) as session:
        changes = {"display_name": "Somebody Else"}
        update_user(session, tenant_id, user_id, changes, etag="", actor=SOMEBODY, now=NOW)


def undo(engine: SqlEngine) -> Outcome:
    """Undo the run that was applied last."""
    assert engine.applied is not None
    run, events, since = engine.applied
    space = replace(run.space, run_id=_UNDO_RUN)
    given = UndoInput(run.given.tenant_id, run.given.source_id, run.space.run_id, events, since)
    writing = engine.store.writing(run.given.tenant_id, lock=Lock.EXCLUSIVE)
    with writing.connect() as connection, space.attached(connection):
        work = Undo(space, connection, given)
        counts = plan_undo(work)
        order = UndoOrder(
            _UNDO_RUN, SOMEBODY, NOW, counts, lambda name, count: ids.reserve_ids(connection, name, count)
        )
        apply_undo(work, order)
        touched, put_back = (
            frozenset(connection.execute(text(f"SELECT user_id FROM {space.name(table)}")).scalars())
            for table in ("turned", "turning")
        )
        connection.commit()
    space.drop()
    return Outcome(touched, put_back)
