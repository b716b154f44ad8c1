"""Change who is in a connection's group, at a cost that follows the change and not the group (S9, S10, S14)."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from sqlmodel import col, select

from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.departures import let_go
from services.directory.operations.provisioning.guard import bring_in
from services.directory.operations.provisioning.reads import MANAGED_MEMBERS
from services.directory.operations.provisioning.users import take_over_as_is
from services.directory.operations.refusals import Refused
from services.directory.operations.returning import returns_by
from services.directory.rules.errors import UnknownMembers
from services.directory.rules.leaving import Return, WayOut
from services.directory.rules.names import short_name
from services.directory.rules.ownership import Party, Verdict, over_user
from services.directory.store.events import Change
from services.directory.store.provisioning_tables import USER
from services.directory.store.tables import MANUAL, User, UserState

_TAKES_MANUAL_USERS: Final = over_user(Party.MANUAL, Party.SCIM) is Verdict.TAKEOVER


class GroupRow(NamedTuple):
    """A group that a call changes, as it found it."""

    id: int
    account_id: int
    display_name: str
    external_id: str | None
    revision: int


@dataclass
class Moved:
    """People who came in and people who went out, each by the groups they came into or went out of."""

    added: dict[int, list[int]] = field(default_factory=dict)
    removed: dict[int, list[int]] = field(default_factory=dict)
    slept: int = 0
    """Memberships of dormant users that changed: nobody is told, but the group is another one."""

    @property
    def is_any(self) -> bool:
        """Whether anything changed."""
        return bool(self.added or self.removed or self.slept)

    def events(self) -> list[Change]:
        """One event a person and direction, those who went out first."""
        return [*_changes("membership.removed", self.removed), *_changes("membership.added", self.added)]


@dataclass(frozen=True)
class _Seen:
    """People whom the connection adds, by what becomes of them."""

    awake: list[int]
    """Active, or back from today on (S7)."""
    returning: list[int]
    """Those of them whom this brings back."""
    asleep: list[int]
    """Dormant and to stay so: their membership sleeps with them."""


def change_members(
    call: Call, group: GroupRow, *, add: Collection[int], remove: Collection[int], replace: bool
) -> Moved:
    """Remove, then add, and tell of it; with `replace` whoever is not added and whom the connection may manage goes.

    Who thereby leaves the last SCIM group leaves altogether, and who waited for one comes back (S7).
    Errors: UnknownMembers, UserNameTaken (a manual user whose mail is another's userName), EmailTaken,
    LicenseLimitReached, GuardTripped.
    """
    moved = Moved()
    leaving = set(_others(call, group.id, add)) if replace else set(remove) - set(add)
    seen = _seen(call, add, leaving)
    if leaving:
        _remove(call, group, leaving, moved)
        call.tell(_changes("membership.removed", moved.removed))
        let_go(call, moved.removed)
    if seen.returning:
        bring_in(call, seen.returning)
        _forget_refusals(call, seen.returning)
    if seen.awake:
        _add(call, group, seen.awake, moved)
        call.tell(_changes("membership.added", moved.added))
    if seen.asleep:
        slept = call.run(
            "INSERT INTO sleeping_memberships (tenant_id, group_id, user_id, origin_source_id) "
            "SELECT :t, :g, i.id, :s FROM {each} WHERE true ORDER BY i.id ON CONFLICT DO NOTHING RETURNING user_id",
            g=group.id,
            ids=call.ids(seen.asleep),
        )
        moved.slept += len(slept.all())
    return moved


def waiting(call: Call, user_ids: Collection[int]) -> list[Refused]:
    """Name those of these people whom an add to a group would bring back, the first 1,000 of them."""
    rows = call.run(
        f"""
        SELECT p.document, p.external_id FROM users u JOIN {{each}} ON i.id = u.id
        JOIN provisioned_resources p
          ON p.tenant_id = :t AND p.source_id = :s AND p.kind = {USER} AND p.resource_id = u.id AND p.is_active
        WHERE u.tenant_id = :t AND u.state = {UserState.DORMANT} AND u.way_out = {WayOut.LAST_GROUP_GONE}
        ORDER BY u.id LIMIT 1000
        """,
        ids=call.ids(user_ids),
    )
    return [Refused(json.loads(document)["userName"], external_id) for document, external_id in rows]


def _forget_refusals(call: Call, user_ids: Collection[int]) -> None:
    """Whoever was refused a seat before has one now (S5)."""
    call.run(
        "DELETE FROM license_refusals WHERE tenant_id = :t AND source_id = :s AND name_key IN ("
        f"SELECT p.name_key FROM provisioned_resources p JOIN {{each}} ON i.id = p.resource_id"
        f" WHERE p.tenant_id = :t AND p.source_id = :s AND p.kind = {USER})",
        ids=call.ids(user_ids),
    )


def remove_everyone(call: Call, group: GroupRow) -> Moved:
    """Empty a group that is to be deleted: every member, by whomever put in. Nobody is told yet, and nobody let go."""
    moved = Moved()
    everyone = call.run(
        "SELECT u.id FROM users u WHERE u.tenant_id = :t AND u.id IN ("
        "SELECT user_id FROM memberships WHERE tenant_id = :t AND group_id = :g) ORDER BY u.id{for_update_of_u}",
        g=group.id,
    )
    user_ids = list(everyone.scalars())
    call.run("DELETE FROM sleeping_memberships WHERE tenant_id = :t AND group_id = :g", g=group.id)
    call.run("DELETE FROM memberships WHERE tenant_id = :t AND group_id = :g", g=group.id)
    _note(moved.removed, user_ids, group.id)
    _leave_account(call, group, user_ids, moved)
    return moved


def _seen(call: Call, user_ids: Collection[int], leaving: Collection[int]) -> _Seen:
    """Find who is awake and who is dormant; manual users are taken over (S14). Errors: UnknownMembers.

    All whom the call touches are held to the end, in one order: of two calls that take somebody out of the last two
    groups at once, the second must see that the first has.
    """
    if not user_ids and not leaving:
        return _Seen([], [], [])
    rows = call.run(
        f"""
        SELECT u.id, u.state, u.owner_source_id, u.way_out, (
            SELECT p.is_active FROM provisioned_resources p
            WHERE p.tenant_id = :t AND p.source_id = :s AND p.kind = {USER} AND p.resource_id = u.id) AS is_active
        FROM users u JOIN {{each}} ON i.id = u.id
        WHERE u.tenant_id = :t AND (u.state = 1 OR (u.state = 3 AND u.owner_source_id = :s))
        ORDER BY u.id{{for_update_of_u}}
        """,
        ids=call.ids({*user_ids, *leaving}),
    ).all()
    wanted = set(user_ids)
    found = {row.id: row for row in rows if row.id in wanted}
    missing = [user_id for user_id in user_ids if user_id not in found]
    if missing:
        raise UnknownMembers([short_name("usr", user_id) for user_id in missing[:20]])
    to_take = [row.id for row in found.values() if row.owner_source_id == MANUAL and _TAKES_MANUAL_USERS]
    if to_take:
        query = select(User).where(col(User.tenant_id) == call.tenant_id, col(User.id).in_(to_take))
        users = list(call.session.exec(query.order_by(col(User.id)).with_for_update()))
        for user in users:
            call.session.expunge(user)
        take_over_as_is(call, users)
    dormant = [row for row in found.values() if row.state == UserState.DORMANT]
    returning = [row.id for row in dormant if row.is_active and returns_by(row.way_out, Return.SCIM_GROUP)]
    asleep = [row.id for row in dormant if row.id not in returning]
    return _Seen([user_id for user_id in found if user_id not in asleep], returning, asleep)


def _others(call: Call, group_id: int, kept: Collection[int]) -> Iterable[int]:
    """Members whom the connection may manage and who are not among `kept`."""
    statement = MANAGED_MEMBERS.format(what="m.user_id", condition="AND m.user_id NOT IN (SELECT i.id FROM {each})")
    return list(call.run(statement, g=group_id, ids=call.ids(kept)).scalars())


def _add(call: Call, group: GroupRow, user_ids: Collection[int], moved: Moved) -> None:
    joined = call.run(
        "INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id) "
        "SELECT :t, p.id, i.id, :s FROM {each} CROSS JOIN {each_place} WHERE true ORDER BY i.id, p.id "
        "ON CONFLICT DO NOTHING RETURNING user_id, group_id",
        ids=call.ids(user_ids),
        places=call.ids(filter(None, (group.id, call.main_group_of(group.account_id)))),
    )
    for user_id, group_id in joined:
        _note(moved.added, [user_id], group_id)


def _remove(call: Call, group: GroupRow, user_ids: Collection[int], moved: Moved) -> None:
    """Take out whom the connection added, and its own users by whomever they were put in (S10, S14)."""
    bound: dict[str, Any] = {"g": group.id, "ids": call.ids(user_ids)}
    which = (
        "WHERE tenant_id = :t AND group_id = :g AND user_id IN (SELECT i.id FROM {each}) AND (origin_source_id = :s OR"
        " EXISTS (SELECT 1 FROM users u WHERE u.tenant_id = :t AND u.id = user_id AND u.owner_source_id = :s))"
        " RETURNING user_id"
    )
    left = set(call.run(f"DELETE FROM memberships {which}", **bound).scalars())
    moved.slept += len(set(call.run(f"DELETE FROM sleeping_memberships {which}", **bound).scalars()))
    _note(moved.removed, left, group.id)
    _leave_account(call, group, left, moved)


def _leave_account(call: Call, group: GroupRow, user_ids: Collection[int], moved: Moved) -> None:
    """Who leaves the connection's last group of another account leaves that account, unless kept by hand (R39).

    A hand that put somebody into a group there holds the account, too, by a membership of its own: so the connection's
    hold ends whatever else the person is in.
    """
    if not user_ids or group.account_id == call.source.account_id:
        return
    main_group_id = call.main_group_of(group.account_id)
    if not main_group_id:
        return
    left = call.run(
        """
        DELETE FROM memberships WHERE tenant_id = :t AND group_id = :g AND origin_source_id = :s
          AND user_id IN (SELECT i.id FROM {each})
          AND NOT EXISTS (
              SELECT 1 FROM memberships m JOIN groups o ON o.tenant_id = m.tenant_id AND o.id = m.group_id
              WHERE m.tenant_id = :t AND m.user_id = memberships.user_id AND m.origin_source_id = :s
                AND o.account_id = :account AND NOT o.is_main)
        RETURNING user_id
        """,
        g=main_group_id,
        account=group.account_id,
        ids=call.ids(user_ids),
    )
    _note(moved.removed, left.scalars(), main_group_id)


def _note(moved: dict[int, list[int]], user_ids: Iterable[int], group_id: int) -> None:
    for user_id in user_ids:
        groups = moved.setdefault(user_id, [])
        if group_id not in groups:
            groups.append(group_id)


def _changes(kind: str, moved: dict[int, list[int]]) -> list[Change]:
    side = "before" if kind == "membership.removed" else "after"
    return [
        Change(kind, ("usr", user_id), **{side: {"groups": sorted(groups)}})
        for user_id, groups in sorted(moved.items())
    ]
