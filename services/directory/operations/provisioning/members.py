"""Change who is in a connection's group, at a cost that follows the change and not the group (S9, S10, S14)."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, select

from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.reads import MANAGED_MEMBERS
from services.directory.operations.provisioning.users import take_over_as_is
from services.directory.rules.errors import UnknownMembers
from services.directory.rules.names import short_name
from services.directory.store.events import Change
from services.directory.store.tables import MANUAL, Account, Group, User, UserState


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
        """One event a person and direction."""
        kinds = (("membership.removed", "before", self.removed), ("membership.added", "after", self.added))
        return [
            Change(kind, ("usr", user_id), **{side: {"groups": sorted(groups)}})
            for kind, side, moved in kinds
            for user_id, groups in sorted(moved.items())
        ]


def change_members(call: Call, group: Group, *, add: Collection[int], remove: Collection[int], replace: bool) -> Moved:
    """Remove, then add; with `replace` whoever is not added and whom the connection may manage is removed.

    Errors: UnknownMembers, UserNameTaken (a manual user whose mail is another's userName).
    """
    moved = Moved()
    awake, dormant = _seen(call, add)
    leaving = set(_others(call, group.id, add)) if replace else set(remove) - set(add)
    if leaving:
        _remove(call, group, leaving, moved)
    if awake:
        _add(call, group, awake, moved)
    if dormant:
        slept = call.run(
            "INSERT INTO sleeping_memberships (tenant_id, group_id, user_id, origin_source_id) "
            "SELECT :t, :g, i.id, :s FROM {each} WHERE true ORDER BY i.id ON CONFLICT DO NOTHING RETURNING user_id",
            g=group.id,
            ids=call.ids(dormant),
        )
        moved.slept += len(slept.all())
    return moved


def remove_everyone(call: Call, group: Group) -> Moved:
    """Empty a group that is to be deleted: every member, by whomever put in."""
    moved = Moved()
    everyone = call.run("SELECT DISTINCT user_id FROM memberships WHERE tenant_id = :t AND group_id = :g", g=group.id)
    user_ids = list(everyone.scalars())
    call.run("DELETE FROM sleeping_memberships WHERE tenant_id = :t AND group_id = :g", g=group.id)
    call.run("DELETE FROM memberships WHERE tenant_id = :t AND group_id = :g", g=group.id)
    _note(moved.removed, user_ids, group.id)
    _leave_account(call, group, user_ids, moved)
    return moved


def _seen(call: Call, user_ids: Collection[int]) -> tuple[list[int], list[int]]:
    """Find who is awake and who is dormant; manual users are taken over (S14). Errors: UnknownMembers."""
    if not user_ids:
        return [], []
    rows = call.run(
        """
        SELECT u.id, u.state, u.owner_source_id FROM users u JOIN {each} ON i.id = u.id
        WHERE u.tenant_id = :t AND (u.state = 1 OR (u.state = 3 AND u.owner_source_id = :s))
        ORDER BY u.id{for_share_of_u}
        """,
        ids=call.ids(user_ids),
    ).all()
    found = {user_id for user_id, _, _ in rows}
    missing = [user_id for user_id in user_ids if user_id not in found]
    if missing:
        raise UnknownMembers([short_name("usr", user_id) for user_id in missing[:20]])
    manual = [user_id for user_id, _, owner in rows if owner == MANUAL]
    if manual:
        query = select(User).where(col(User.tenant_id) == call.tenant_id, col(User.id).in_(manual))
        users = list(call.session.exec(query.order_by(col(User.id)).with_for_update()))
        for user in users:
            call.session.expunge(user)
        take_over_as_is(call, users)
    awake = [user_id for user_id, state, _ in rows if state == UserState.ACTIVE]
    return awake, [user_id for user_id, state, _ in rows if state == UserState.DORMANT]


def _others(call: Call, group_id: int, kept: Collection[int]) -> Iterable[int]:
    """Members whom the connection may manage and who are not among `kept`."""
    statement = MANAGED_MEMBERS.format(what="m.user_id", condition="AND m.user_id NOT IN (SELECT i.id FROM {each})")
    return list(call.run(statement, g=group_id, ids=call.ids(kept)).scalars())


def _add(call: Call, group: Group, user_ids: Collection[int], moved: Moved) -> None:
    account = call.session.get(Account, (call.tenant_id, group.account_id))
    for group_id in (group.id, account.main_group_id if account else 0):
        if group_id:
            joined = call.run(
                "INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id) "
                "SELECT :t, :g, i.id, :s FROM {each} WHERE true ORDER BY i.id ON CONFLICT DO NOTHING RETURNING user_id",
                g=group_id,
                ids=call.ids(user_ids),
            )
            _note(moved.added, joined.scalars(), group_id)


def _remove(call: Call, group: Group, user_ids: Collection[int], moved: Moved) -> None:
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


def _leave_account(call: Call, group: Group, user_ids: Collection[int], moved: Moved) -> None:
    """Who leaves the connection's last group of another account leaves that account, unless put there by hand."""
    if not user_ids or group.account_id == call.source.account_id:
        return
    account = call.session.get(Account, (call.tenant_id, group.account_id))
    if account is None:
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
        g=account.main_group_id,
        account=account.id,
        ids=call.ids(user_ids),
    )
    _note(moved.removed, left.scalars(), account.main_group_id)


def _note(moved: dict[int, list[int]], user_ids: Iterable[int], group_id: int) -> None:
    for user_id in user_ids:
        groups = moved.setdefault(user_id, [])
        if group_id not in groups:
            groups.append(group_id)
