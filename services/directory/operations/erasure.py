"""Erase people: what the register and its history say of them; who they were, only their id still tells.

A person to be erased is deleted already. What stays: the row with its state and times, and the events with who did what
and when, without values.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import delete, or_, text
from sqlmodel import Session, col, select

from services.directory.operations.imports import Imports, end_run, is_at_rest
from services.directory.operations.leaving import leave
from services.directory.operations.personal_keys import NAMING, PersonalKeys, each_value, personal_keys
from services.directory.operations.rejected_rows import forget_people, is_waiting
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules.errors import NotFound, TenantBusy
from services.directory.rules.leaving import WayOut
from services.directory.rules.names import USER as USER_NAME
from services.directory.rules.names import short_name
from services.directory.store.events import GROUP_LISTS, Actor, Change, append_events
from services.directory.store.provisioning_tables import USER
from services.directory.store.seal import Seal
from services.directory.store.tables import ImportRun, RequestReplay, RunStatus, User

TOLD_STILL: Final = (*sorted(GROUP_LISTS), "owner", "attributes", "state")
"""Values of a person's events that stay: they say nothing of the person."""

_BLANKED: Final = (*NAMING, "display_name")
_REPLAYS_AT_ONCE: Final = 500
_MAY_NAME_PEOPLE: Final = ("User", "Invitation", "Password", "Member")
"""Words in the names of requests whose kept answers may hold a person."""


def erase_user(
    session: Session, imports: Imports, seal: Seal, tenant_id: int, user_id: int, *, actor: Actor, now: datetime
) -> list[int]:
    """Delete a person who is not deleted, then erase at once; again changes nothing. Answers runs whose stage goes.

    Errors: NotFound, TenantBusy (a run is under way, which may hold the person's row).
    """
    user = session.get(User, (tenant_id, user_id), with_for_update=True, populate_existing=True)
    if user is None:
        raise NotFound(resource=USER_NAME.format(tenant_id, user_id))
    if user.erase_time is not None:
        return []
    leave(session, tenant_id, [user_id], WayOut.BY_HAND, actor=actor, now=now)
    _forget_answers(session, seal, tenant_id, user_id)
    session.expire(user)
    return erase_people(session, imports, seal, tenant_id, [user_id], actor=actor, now=now)


def erase_people(
    session: Session,
    imports: Imports,
    seal: Seal,
    tenant_id: int,
    user_ids: Sequence[int],
    *,
    actor: Actor,
    now: datetime,
) -> list[int]:
    """Erase deleted people; the number of statements is the same however many. Answers runs whose stage goes.

    Errors: TenantBusy (a run is under way).
    """
    sql = TenantSql(session, tenant_id, now)
    keys = personal_keys(sql, user_ids)
    ended = _end_runs(session, imports, tenant_id, user_ids, keys, actor=actor)
    ids = sql.ids(user_ids)
    for statement in _of_person(sql):
        sql.run(statement, ids=ids)
    for statement in _of_names(keys):
        sql.run(statement, names=keys.bound)
    forget_people(session, seal, tenant_id, keys)
    erased = [Change("user.erased", ("usr", user_id)) for user_id in sorted(user_ids)]
    append_events(session, tenant_id, erased, actor=actor, now=now)
    return ended


def due_for_erasure(session: Session, tenant_id: int, *, deleted_before: datetime, limit: int) -> list[int]:
    """Read who was deleted before a time and is not erased yet, the longest deleted first."""
    query = select(User.id).where(
        col(User.tenant_id) == tenant_id,
        col(User.state) == 2,
        col(User.erase_time).is_(None),
        col(User.leave_time) <= deleted_before,
    )
    return list(session.exec(query.order_by(col(User.leave_time), col(User.id)).limit(limit)))


def _of_person(sql: TenantSql) -> Iterable[str]:
    """Write what is done to rows that name the person by id."""
    those = "(SELECT i.id FROM {each})"
    for table in ("claims", "former_claims", "sleeping_memberships", "credentials"):
        yield f"DELETE FROM {table} WHERE tenant_id = :t AND user_id IN {those}"
    yield f"DELETE FROM provisioned_resources WHERE tenant_id = :t AND kind = {USER} AND resource_id IN {those}"
    yield (
        "UPDATE users SET email = '', display_name = '', title = '', phone = '', secondary_phone = '',"
        " password_reset_required = false, erase_time = :now, update_time = :now, revision = revision + 1"
        f" WHERE tenant_id = :t AND id IN {those}"
    )
    for table in ("events", "archived_events"):
        blanked = ", ".join(
            f"{side} = {_blanked(side, f'j.key NOT IN ({_quoted(TOLD_STILL)})', is_sqlite=sql.is_sqlite)}"
            for side in ("before", "after")
        )
        yield (
            f"UPDATE {table} SET {blanked} WHERE tenant_id = :t AND resource_kind = 'usr' AND resource_id IN {those}"
            " AND kind NOT LIKE 'membership.%'"
        )


def _of_names(keys: PersonalKeys) -> Iterable[str]:
    """Write what is done to rows that name the person by a mail, a key or a userName."""
    for table in ("events", "archived_events"):
        named = " OR ".join(
            f"EXISTS (SELECT 1 FROM {each_value(side, is_sqlite=keys.is_sqlite)}"
            f" WHERE j.key IN ({_quoted(NAMING)}) AND {keys.has('j.value')})"
            for side in ("before", "after")
        )
        blanked = ", ".join(
            f"{side} = {_blanked(side, f'j.key IN ({_quoted(_BLANKED)})', is_sqlite=keys.is_sqlite)}"
            for side in ("before", "after")
        )
        yield f"UPDATE {table} SET {blanked} WHERE tenant_id = :t AND resource_kind IN ('lic', 'inv') AND ({named})"
    yield (
        "UPDATE import_issues SET row_key = '', masked_value = '', message = ''"
        f" WHERE tenant_id = :t AND {keys.has('row_key')}"
    )
    place = "instr" if keys.is_sqlite else "strpos"
    yield (
        f"UPDATE import_runs SET message = '{_NAMES_PEOPLE}.' WHERE tenant_id = :t AND message LIKE '{_NAMES_PEOPLE}%'"
        f" AND EXISTS (SELECT 1 FROM {keys.relation} WHERE {place}(message, n.name) > 0)"
    )
    columns = ("name_key", "user_name", "external_id")
    yield f"DELETE FROM license_refusals WHERE tenant_id = :t AND ({' OR '.join(map(keys.has, columns))})"


_NAMES_PEOPLE: Final = "Not shown when it was approved, so look at it again"
"""How the one message of a run begins that names people by their keys (import_applies)."""


def _blanked(side: str, condition: str, *, is_sqlite: bool) -> str:
    """Write a document with the values of some members emptied; its keys stay, and so does what changed."""
    if is_sqlite:
        value = f"json(CASE WHEN {condition} THEN '\"\"' ELSE {side} -> j.fullkey END)"
        return (
            f"CASE WHEN {side} IS NOT NULL THEN (SELECT json_group_object(j.key, {value}) FROM json_each({side}) j) END"
        )
    value = f"CASE WHEN {condition} THEN CAST('\"\"' AS json) ELSE j.value END"
    return f"(SELECT json_object_agg(j.key, {value}) FROM json_each({side}) AS j(key, value))"


def _quoted(words: Iterable[str]) -> str:
    return ", ".join(f"'{word}'" for word in words)


def _end_runs(
    session: Session, imports: Imports, tenant_id: int, user_ids: Sequence[int], keys: PersonalKeys, *, actor: Actor
) -> list[int]:
    """End runs that wait with the person in their stage: a stage without the row would read as the person's absence."""
    waiting = (RunStatus.STAGING, RunStatus.PLANNED, RunStatus.HELD, RunStatus.APPLYING)
    query = select(ImportRun).where(
        col(ImportRun.tenant_id) == tenant_id,
        or_(col(ImportRun.status).in_(waiting), col(ImportRun.rejected_rows_until).is_not(None)),
    )
    ended = []
    for run in session.exec(query.order_by(col(ImportRun.id)).with_for_update()).all():
        if not is_at_rest(run) or is_waiting(run, now=imports.clock()):
            raise TenantBusy
        if run.status not in waiting:
            continue
        if not _is_staged(imports, run.id, user_ids, keys):
            continue
        message = "A person in it was erased; import the file again."
        end_run(imports, session, run, RunStatus.EXPIRED, reason=run.reason, message=message, actor=actor)
        ended.append(run.id)
    session.flush()
    return ended


def _is_staged(imports: Imports, run_id: int, user_ids: Sequence[int], keys: PersonalKeys) -> bool:
    """Look into a run's stage, by a connection of its own, for the people and for what they are called."""
    space = imports.space(run_id)
    bound: dict[str, Any] = {"names": keys.bound}
    with imports.store.engine.connect() as connection, space.attached(connection):
        tables = space.names
        looks = ["false"]
        if space.exists(connection):
            looks += [
                f"EXISTS (SELECT 1 FROM {tables['rows']} WHERE {keys.has('external_id')} OR {keys.has('email')})",
                f"EXISTS (SELECT 1 FROM {tables['issues']} WHERE {keys.has('row_key')})",
            ]
        if space.has_plan(connection):
            those = ", ".join(str(int(user_id)) for user_id in user_ids)
            looks.append(f"EXISTS (SELECT 1 FROM {tables['changes']} WHERE user_id IN ({those}))")
        found = connection.execute(text(f"SELECT {' OR '.join(looks)}"), bound).scalar_one()
        connection.rollback()
        return bool(found)


def _forget_answers(session: Session, seal: Seal, tenant_id: int, user_id: int) -> None:
    """Forget answers kept for a request_id that hold the person; they are sealed, so each is opened to be looked at."""
    name = short_name("usr", user_id).encode()
    may_name = or_(*(col(RequestReplay.method).contains(word, autoescape=True) for word in _MAY_NAME_PEOPLE))
    query = select(RequestReplay.request_id, RequestReplay.answer).where(
        col(RequestReplay.tenant_id) == tenant_id, may_name
    )
    answers = session.exec(query.execution_options(yield_per=_REPLAYS_AT_ONCE))
    naming = [
        request_id
        for request_id, answer in answers
        if name in seal.open(answer, belongs_to=f"request_replays/{tenant_id}/{request_id}")
    ]
    for first in range(0, len(naming), _REPLAYS_AT_ONCE):
        some = naming[first : first + _REPLAYS_AT_ONCE]
        session.connection().execute(
            delete(RequestReplay).where(
                col(RequestReplay.tenant_id) == tenant_id, col(RequestReplay.request_id).in_(some)
            )
        )
