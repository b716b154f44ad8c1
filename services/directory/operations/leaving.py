"""Let people leave, any number at once, as the table of rules/leaving.py says."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

from sqlmodel import Session, col, select

from services.directory.operations.licenses import free_seats
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules.leaving import DORMANT_FOR, LEAVING, SLEEP_OF_A_DAY, Fate, Leaving, WayOut
from services.directory.rules.ownership import Party
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.people_tables import OPEN_INVITATIONS, InvitationState
from services.directory.store.provisioning_tables import USER
from services.directory.store.tables import MANUAL, SourceKind, User, UserState

HOUSEKEEPING: Final = Actor("services/directory")
"""Who deletes the long dormant: the directory itself."""

_MADE_BY: Final = {
    Party.MANUAL: f"m.origin_source_id = {MANUAL}",
    Party.FILE: f"s.kind = {SourceKind.SFTP}",
    Party.SCIM: f"s.kind = {SourceKind.SCIM}",
}


def leave(
    session: Session, tenant_id: int, user_ids: Iterable[int], way: WayOut, *, actor: Actor, now: datetime
) -> list[int]:
    """Take people out at once: access, groups, seats, keys and live invitations, and one event each.

    Whoever is already so, or deleted, is left alone. The number of statements does not grow. Answers who left.
    """
    sql, leaving = TenantSql(session, tenant_id, now), LEAVING[way]
    people = _lock(sql, user_ids, leaving)
    if not people:
        return []
    those = sql.ids(person.id for person in people)
    groups = _leave_groups(sql, those, leaving)
    if leaving.is_deletion:
        _end_keys(sql, those)
    _revoke_invitations(sql, those)
    sql.run(
        "UPDATE users SET state = :state, way_out = :way, leave_time = :now, update_time = :now,"
        " revision = revision + 1 WHERE tenant_id = :t AND id IN (SELECT i.id FROM {each})",
        ids=those,
        state=int(leaving.state),
        way=int(way),
    )
    seats = sum(person.state == UserState.ACTIVE for person in people)
    if seats:
        free_seats(session, tenant_id, seats)
    changes = [_told(person, groups.get(person.id, []), leaving) for person in people]
    append_events(session, tenant_id, changes, actor=actor, now=now)
    return [person.id for person in people]


def delete_long_dormant(session: Session, tenant_id: int, *, now: datetime, limit: int) -> int:
    """S7: dormant becomes deleted after 90 days; at most `limit` people, the longest asleep first. Answers how many."""
    query = (
        select(User.id)
        .where(
            col(User.tenant_id) == tenant_id,
            col(User.state) == UserState.DORMANT,
            col(User.leave_time) <= now - DORMANT_FOR,
        )
        .order_by(col(User.leave_time), col(User.id))
        .limit(limit)
    )
    return len(leave(session, tenant_id, session.exec(query).all(), WayOut.LONG_DORMANT, actor=HOUSEKEEPING, now=now))


def _lock(sql: TenantSql, user_ids: Iterable[int], leaving: Leaving) -> Sequence[Any]:
    """Read who is to leave and hold their rows to the end, in one order for all writers."""
    states = [UserState.ACTIVE, UserState.DORMANT] if leaving.is_deletion else [UserState.ACTIVE]
    return list(
        sql.run(
            "SELECT u.id, u.state, u.display_name, u.email, u.title, u.phone, u.secondary_phone"
            " FROM users u JOIN {each} ON i.id = u.id"
            f" WHERE u.tenant_id = :t AND u.state IN ({', '.join(str(int(state)) for state in states)})"
            " ORDER BY u.id{for_update_of_u}",
            ids=sql.ids(user_ids),
        )
    )


def _leave_groups(sql: TenantSql, those: Any, leaving: Leaving) -> dict[int, list[int]]:
    """End memberships, or let them sleep; answers each person's groups."""
    if leaving.is_deletion:
        sql.run(
            "DELETE FROM sleeping_memberships WHERE tenant_id = :t AND user_id IN (SELECT i.id FROM {each})", ids=those
        )
    else:
        _let_sleep(sql, those, leaving)
    left = sql.run(
        "DELETE FROM memberships WHERE tenant_id = :t AND user_id IN (SELECT i.id FROM {each})"
        " RETURNING user_id, group_id",
        ids=those,
    )
    groups: defaultdict[int, set[int]] = defaultdict(set)
    for user_id, group_id in left:
        groups[user_id].add(group_id)
    return {user_id: sorted(their) for user_id, their in groups.items()}


def _let_sleep(sql: TenantSql, those: Any, leaving: Leaving) -> None:
    sleeping = {fate: [_MADE_BY[party] for party, its in leaving.fates.items() if its is fate] for fate in Fate}
    for_a_day, for_long = sleeping[Fate.SLEEP_A_DAY], sleeping[Fate.SLEEP]
    sql.run(
        f"""
        INSERT INTO sleeping_memberships (tenant_id, group_id, user_id, origin_source_id, until)
        SELECT m.tenant_id, m.group_id, m.user_id, m.origin_source_id,
               CASE WHEN {" OR ".join(for_a_day) or "1 = 0"} THEN :until END
        FROM memberships m JOIN {{each}} ON i.id = m.user_id
        LEFT JOIN sources s ON s.tenant_id = m.tenant_id AND s.id = m.origin_source_id
        WHERE m.tenant_id = :t AND ({" OR ".join([*for_a_day, *for_long])})
        ORDER BY m.group_id, m.user_id
        ON CONFLICT (tenant_id, group_id, user_id, origin_source_id) DO UPDATE SET until = excluded.until
        """,
        ids=those,
        until=sql.now + SLEEP_OF_A_DAY,
    )


def _end_keys(sql: TenantSql, those: Any) -> None:
    """End what sources call the people by; a key that comes back finds its person again (R34, S6)."""
    sql.run(
        """
        INSERT INTO former_claims (tenant_id, source_id, external_id, user_id, end_time)
        SELECT c.tenant_id, c.source_id, c.external_id, c.user_id, :now FROM claims c JOIN {each} ON i.id = c.user_id
        WHERE c.tenant_id = :t
        ON CONFLICT (tenant_id, source_id, external_id, user_id) DO UPDATE SET end_time = excluded.end_time
        """,
        ids=those,
    )
    sql.run("DELETE FROM claims WHERE tenant_id = :t AND user_id IN (SELECT i.id FROM {each})", ids=those)
    sql.run(
        f"UPDATE provisioned_resources SET is_gone = true WHERE tenant_id = :t AND kind = {USER}"
        " AND (source_id, resource_id) IN ("
        "SELECT u.owner_source_id, u.id FROM users u JOIN {each} ON i.id = u.id WHERE u.tenant_id = :t)",
        ids=those,
    )


def _revoke_invitations(sql: TenantSql, those: Any) -> None:
    sql.run(
        f"UPDATE invitations{{index:invitations_by_user}} SET state = {InvitationState.REVOKED}, end_time = :now,"
        " revision = revision + 1"
        f" WHERE tenant_id = :t AND state IN {OPEN_INVITATIONS}"
        " AND user_id IN (SELECT i.id FROM {each})",
        ids=those,
    )


def _told(person: Any, groups: list[int], leaving: Leaving) -> Change:
    if not leaving.is_deletion:
        return Change("user.dormant", ("usr", person.id), before={"groups": groups})
    columns = ("display_name", "email", "title", "phone", "secondary_phone")
    before = {column: value for column in columns if (value := getattr(person, column))}
    return Change("user.deleted", ("usr", person.id), before=before | {"groups": groups})
