"""Bring people back who had left: wake the dormant, restore the deleted; a seat for each, or nobody (S5, S6, S7)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from services.directory.operations.licenses import take_seats
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules.errors import EmailTaken, NotFound, UserStateError
from services.directory.rules.etags import require_etag
from services.directory.rules.leaving import LEAVING, RESTORABLE_FOR, Return, WayOut
from services.directory.rules.names import USER as USER_NAME
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.provisioning_tables import USER
from services.directory.store.session import violates
from services.directory.store.tables import MANUAL, Source, SourceKind, User, UserState

_NOTHING: Final[Mapping[int, Mapping[str, Any]]] = MappingProxyType({})


def returns_by(way_out: int, what: Return) -> bool:
    """Say whether this brings back who left that way; of whom it was not kept, everything but a group does."""
    return what in LEAVING[WayOut(way_out)].returns if way_out else what is not Return.SCIM_GROUP


def bring_back(
    session: Session,
    tenant_id: int,
    user_ids: Iterable[int],
    *,
    actor: Actor,
    now: datetime,
    told: Mapping[int, Mapping[str, Any]] = _NOTHING,
) -> None:
    """Make people active who are not: with a seat each, the memberships that slept and have not ended, and an account.

    That is the account of their source, and the main account for manual users. `told` is what a user's event says
    besides. Errors: EmailTaken, LicenseLimitReached; then nobody comes back.
    """
    sql = TenantSql(session, tenant_id, now)
    people = _lock(sql, user_ids)
    if not people:
        return
    those = sql.ids(people)
    _activate(sql, those)
    woken = _wake_memberships(sql, those)
    entered = _enter_accounts(sql, those)
    take_seats(session, tenant_id, len(people), actor=actor, now=now)
    restored = [
        Change("user.restored", ("usr", user_id), after={"groups": woken.get(user_id, []), **told.get(user_id, {})})
        for user_id in people
    ]
    joined = [
        Change("membership.added", ("usr", user_id), after={"groups": groups})
        for user_id, groups in sorted(entered.items())
    ]
    append_events(session, tenant_id, [*restored, *joined], actor=actor, now=now)


def restore_user(
    session: Session, tenant_id: int, user_id: int, *, etag: str = "", actor: Actor, now: datetime
) -> None:
    """Bring a deleted user back by hand, within 90 days: with its owner and keys where these are still free.

    Whose owner is gone, or whose key somebody else has, becomes a manual user. Groups do not come back.
    Errors: NotFound, StaleEtag, UserStateError, EmailTaken, LicenseLimitReached.
    """
    sql = TenantSql(session, tenant_id, now)
    user = session.get(User, (tenant_id, user_id), with_for_update=True, populate_existing=True)
    resource = USER_NAME.format(tenant_id, user_id)
    if user is None:
        raise NotFound(resource=resource)
    require_etag(etag, resource=resource, revision=user.revision)
    _require_restorable(user, now)
    told: dict[str, Any] = {}
    if user.owner_source_id != MANUAL and not _give_keys_back(sql, user):
        sql.run("UPDATE users SET owner_source_id = 0 WHERE tenant_id = :t AND id = :u", u=user_id)
        told["owner"] = "manual"
    session.expire(user)
    bring_back(session, tenant_id, [user_id], actor=actor, now=now, told={user_id: told})


def _require_restorable(user: User, now: datetime) -> None:
    if user.state != UserState.DELETED or not returns_by(user.way_out, Return.BY_HAND):
        raise UserStateError(state=UserState(user.state).name.lower(), needed="deleted")
    is_late = user.leave_time is not None and user.leave_time + RESTORABLE_FOR <= now
    if user.erase_time is not None or is_late:
        raise UserStateError(state="erased", needed="deleted")


def _give_keys_back(sql: TenantSql, user: User) -> bool:
    """Let the sources know the user again; says whether its owner does."""
    sql.run(
        f"""
        INSERT INTO claims (tenant_id, source_id, external_id, user_id, missed_files, deletion_left_out)
        SELECT f.tenant_id, f.source_id, f.external_id, f.user_id, 0, false FROM former_claims f
        JOIN sources s ON s.tenant_id = f.tenant_id AND s.id = f.source_id
        JOIN users u ON u.tenant_id = f.tenant_id AND u.id = f.user_id
        WHERE f.tenant_id = :t AND f.user_id = :u AND f.end_time >= u.leave_time
          AND s.delete_time IS NULL AND s.kind = {SourceKind.SFTP}
        ON CONFLICT (tenant_id, source_id, external_id) DO NOTHING
        """,
        u=user.id,
    )
    sql.run(
        "DELETE FROM former_claims WHERE tenant_id = :t AND user_id = :u AND (source_id, external_id) IN ("
        "SELECT source_id, external_id FROM claims WHERE tenant_id = :t AND user_id = :u)",
        u=user.id,
    )
    owner = sql.session.get(Source, (sql.tenant_id, user.owner_source_id))
    if owner is None or owner.delete_time is not None:
        return False
    bound = {"u": user.id, "s": owner.id}
    if owner.kind == SourceKind.SFTP:
        known = "SELECT EXISTS (SELECT 1 FROM claims WHERE tenant_id = :t AND user_id = :u AND source_id = :s)"
        return bool(sql.run(known, **bound).scalar_one())
    known = f"""
        UPDATE provisioned_resources SET is_gone = false, is_active = true
        WHERE tenant_id = :t AND source_id = :s AND kind = {USER} AND resource_id = :u AND NOT EXISTS (
            SELECT 1 FROM provisioned_resources o
            WHERE o.tenant_id = :t AND o.source_id = :s AND o.kind = {USER} AND NOT o.is_gone
              AND (o.name_key = provisioned_resources.name_key
                   OR (o.external_id <> '' AND o.external_id = provisioned_resources.external_id)))
    """
    return bool(sql.run(known, **bound).rowcount)


def _lock(sql: TenantSql, user_ids: Iterable[int]) -> list[int]:
    statement = (
        "SELECT u.id FROM users u JOIN {each} ON i.id = u.id"
        f" WHERE u.tenant_id = :t AND u.state <> {UserState.ACTIVE} ORDER BY u.id{{for_update_of_u}}"
    )
    return list(sql.run(statement, ids=sql.ids(user_ids)).scalars())


def _activate(sql: TenantSql, those: Any) -> None:
    try:
        sql.run(
            f"UPDATE users SET state = {UserState.ACTIVE}, way_out = 0, leave_time = NULL, update_time = :now,"
            " revision = revision + 1 WHERE tenant_id = :t AND id IN (SELECT i.id FROM {each})",
            ids=those,
        )
    except IntegrityError as error:
        if violates(error, "users_by_email", "users.email"):
            raise EmailTaken from None
        raise


def _wake_memberships(sql: TenantSql, those: Any) -> dict[int, list[int]]:
    woken = sql.run(
        """
        INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
        SELECT s.tenant_id, s.group_id, s.user_id, s.origin_source_id
        FROM {each} JOIN sleeping_memberships s{index:sleeping_memberships_by_user} ON i.id = s.user_id
        WHERE s.tenant_id = :t AND (s.until IS NULL OR s.until > :now) ORDER BY s.group_id, s.user_id
        ON CONFLICT DO NOTHING RETURNING user_id, group_id
        """,
        ids=those,
    )
    groups = _by_user(woken)
    sql.run("DELETE FROM sleeping_memberships WHERE tenant_id = :t AND user_id IN (SELECT i.id FROM {each})", ids=those)
    return groups


def _enter_accounts(sql: TenantSql, those: Any) -> dict[int, list[int]]:
    entered = sql.run(
        f"""
        INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
        SELECT u.tenant_id, a.main_group_id, u.id, u.owner_source_id
        FROM users u JOIN {{each}} ON i.id = u.id JOIN tenants t ON t.id = u.tenant_id
        LEFT JOIN sources s ON s.tenant_id = u.tenant_id AND s.id = u.owner_source_id
        JOIN accounts a ON a.tenant_id = u.tenant_id
         AND a.id = CASE WHEN u.owner_source_id = {MANUAL} THEN t.main_account_id ELSE s.account_id END
        WHERE u.tenant_id = :t ORDER BY a.main_group_id, u.id
        ON CONFLICT DO NOTHING RETURNING user_id, group_id
        """,
        ids=those,
    )
    return _by_user(entered)


def _by_user(rows: Iterable[Any]) -> dict[int, list[int]]:
    groups: defaultdict[int, set[int]] = defaultdict(set)
    for user_id, group_id in rows:
        groups[user_id].add(group_id)
    return {user_id: sorted(their) for user_id, their in groups.items()}
