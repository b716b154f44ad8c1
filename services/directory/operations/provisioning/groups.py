"""Create, adopt, change and delete groups as a connection says (S3, S8)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import delete, insert, update
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from services.directory.operations.groups import require_unreserved
from services.directory.operations.parties import party_of
from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.departures import let_go
from services.directory.operations.provisioning.group_retries import made_before
from services.directory.operations.provisioning.members import GroupRow, Moved, change_members, remove_everyone
from services.directory.operations.provisioning.reads import GroupView, get_group
from services.directory.rules.errors import GroupIdTaken, GroupSyncedElsewhere, GroupUnknown, NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import ACCOUNT, short_name
from services.directory.rules.names import GROUP as GROUP_NAME
from services.directory.rules.ownership import Party, Verdict, over_group
from services.directory.rules.provisioned import GroupFacts, ProvisionedGroup, check_group
from services.directory.store import ids
from services.directory.store.events import Change, tell_apart
from services.directory.store.provisioning_tables import GROUP, ProvisionedResource
from services.directory.store.session import violates
from services.directory.store.tables import MANUAL, Group


@dataclass(frozen=True)
class MemberChange:
    """Who comes in and who goes out; `replace`: whoever does not come in goes out."""

    add: Collection[int] = ()
    remove: Collection[int] = ()
    replace: bool = False


@dataclass(frozen=True)
class ChangedGroup:
    """A group after a change, and how many people came and went."""

    group: GroupView
    added: int
    removed: int


def create_group(call: Call, facts: GroupFacts, members: Sequence[int]) -> GroupView:
    """Make a group in the connection's account, or adopt the administrator-made one with this Group ID (S3).

    Said again word for word it is a retry, and answers with the group that is there (S13): with an externalId at any
    time, without one within RETRIED_WITHIN and while nothing has been done to that group.
    Errors: InvalidArgument, GroupIdTaken, GroupSyncedElsewhere, GroupUnknown, UnknownMembers, LicenseLimitReached.
    """
    wanted = check_group(facts)
    made = made_before(call, wanted, members)
    if made is not None:
        return get_group(call, made)
    group = _with_group_id(call, wanted.external_id)
    if group is not None:
        _adopt(call, group, wanted)
    elif call.source.create_unknown_groups:
        group = _insert(call, wanted)
    else:
        raise GroupUnknown(group_external_id=facts.external_id)
    change_members(call, group, add=members, remove=(), replace=False)
    return get_group(call, group.id)


def update_group(
    call: Call, group_id: int, facts: GroupFacts | None, change: MemberChange, *, etag: str
) -> ChangedGroup:
    """Change a group's head, its members, or both.

    Errors: InvalidArgument, NotFound, StaleEtag, GroupIdTaken, GroupSyncedElsewhere, UnknownMembers,
    LicenseLimitReached, GuardTripped.
    """
    group = _require_own(call, group_id, etag)
    is_renamed = facts is not None and _rewrite(call, group, check_group(facts))
    moved = Moved()
    if change.add or change.remove or change.replace:
        moved = change_members(call, group, add=change.add, remove=change.remove, replace=change.replace)
    if is_renamed or moved.is_any:
        _touch(call, group_id)  # last: everybody who changes this group waits for its row
    view = get_group(call, group_id)
    return ChangedGroup(view, _count(group_id, moved.added), _count(group_id, moved.removed))


def move_members(call: Call, group_id: int, changes: Sequence[MemberChange]) -> list[ChangedGroup]:
    """Make several changes of a group's members as one; no person is in two of them, and none replaces.

    What is told of their people counts as a call's of its own (`told_kinds`). Errors: as `update_group`; then nothing
    is changed.
    """
    tell_apart(
        call.session,
        {("usr", each): place for place, change in enumerate(changes) for each in (*change.add, *change.remove)},
    )
    group = _require_own(call, group_id, "")
    added = [each for change in changes for each in change.add]
    removed = [each for change in changes for each in change.remove]
    moved = change_members(call, group, add=added, remove=removed, replace=False)
    if moved.is_any:
        _touch(call, group_id)
    view = get_group(call, group_id)
    return [
        ChangedGroup(
            view,
            added=_count(group_id, {each: moved.added.get(each, []) for each in change.add}),
            removed=_count(group_id, {each: moved.removed.get(each, []) for each in change.remove}),
        )
        for change in changes
    ]


def _count(group_id: int, moved: Mapping[int, Sequence[int]]) -> int:
    """How many people have come into a group, or gone out of it."""
    return sum(group_id in groups for groups in moved.values())


def delete_group(call: Call, group_id: int, *, etag: str) -> None:
    """Delete a group of the connection; whoever had no other SCIM group leaves (S8).

    Errors: NotFound, StaleEtag, GuardTripped.
    """
    group = _require_own(call, group_id, etag)
    call.run("SELECT 1 FROM groups WHERE tenant_id = :t AND id = :g{for_update}", g=group_id)
    moved = remove_everyone(call, group)
    connection = call.session.connection()
    connection.execute(delete(ProvisionedResource).where(*_key_of(call, group_id)))
    connection.execute(delete(Group).where(col(Group.tenant_id) == call.tenant_id, col(Group.id) == group_id))
    before = {"display_name": group.display_name, "group_external_id": group.external_id}
    deleted = Change(
        "group.deleted", ("grp", group_id), before={name: value for name, value in before.items() if value}
    )
    call.tell([*moved.events(), deleted])
    let_go(call, moved.removed)


def _with_group_id(call: Call, external_id: str | None) -> GroupRow | None:
    """Find the group that has this Group ID, which must be free.

    Errors: GroupIdTaken, GroupIdReserved, GroupSyncedElsewhere.
    """
    if external_id is None:
        return None
    query = select(Group).where(col(Group.tenant_id) == call.tenant_id, col(Group.external_id) == external_id)
    group = call.session.exec(query.with_for_update()).first()
    if group is None:
        require_unreserved(call.session, call.tenant_id, external_id)  # after the wait for whoever deletes it
        return None
    call.session.expunge(group)
    owner = party_of(call.session, call.tenant_id, group.owner_source_id)
    if owner is Party.MANUAL and _is_fed(call, group.id):
        owner = Party.FILE
    verdict = over_group(owner, Party.SCIM, is_own=group.owner_source_id == call.source_id)
    if verdict is Verdict.FREE:
        raise GroupIdTaken(group_external_id=external_id)
    if verdict is Verdict.REFUSED:
        raise GroupSyncedElsewhere(group_external_id=external_id)
    return GroupRow(group.id, group.account_id, group.display_name, group.external_id, group.revision)


def _is_fed(call: Call, group_id: int) -> bool:
    """Whether another source puts people into the group: one syncing source a group."""
    query = (
        "SELECT EXISTS (SELECT 1 FROM memberships WHERE tenant_id = :t AND group_id = :g"
        f" AND origin_source_id NOT IN ({MANUAL}, :s))"
    )
    return bool(call.run(query, g=group_id).scalar_one())


def _adopt(call: Call, group: GroupRow, wanted: ProvisionedGroup) -> None:
    """The connection syncs the group from now on; who is in it by hand stays."""
    values = {"owner_source_id": call.source_id, "display_name": wanted.display_name}
    _write(call, group.id, values | {"revision": group.revision + 1, "update_time": call.now})
    _keep(call, group.id, wanted, is_new=True)
    before = {} if group.display_name == wanted.display_name else {"display_name": group.display_name}
    after = dict.fromkeys(before, wanted.display_name) | {"owner": call.source.display_name}
    call.tell([Change("group.updated", ("grp", group.id), before=before, after=after)])


def _insert(call: Call, wanted: ProvisionedGroup) -> GroupRow:
    group_id = ids.next_id(call.session, "group")
    row: dict[str, Any] = {
        "tenant_id": call.tenant_id,
        "id": group_id,
        "account_id": call.source.account_id,
        "display_name": wanted.display_name,
        "external_id": wanted.external_id,
        "owner_source_id": call.source_id,
        "create_time": call.now,
        "update_time": call.now,
    }
    _guarded(lambda: call.session.connection().execute(insert(Group), [row]), wanted)
    _keep(call, group_id, wanted, is_new=True)
    after = {
        "display_name": wanted.display_name,
        "group_external_id": wanted.external_id,
        "account": ACCOUNT.format(call.tenant_id, call.source.account_id),
    }
    call.tell(
        [Change("group.created", ("grp", group_id), after={name: value for name, value in after.items() if value})]
    )
    return GroupRow(group_id, call.source.account_id, wanted.display_name, wanted.external_id, revision=1)


def _rewrite(call: Call, group: GroupRow, wanted: ProvisionedGroup) -> bool:
    """Write what differs; a new Group ID must be free."""
    if wanted.external_id != group.external_id:
        other = _with_group_id(call, wanted.external_id)
        if other is not None:
            raise GroupIdTaken(group_external_id=wanted.external_id or "")
    values = {"display_name": wanted.display_name, "external_id": wanted.external_id}
    changed = {name: value for name, value in values.items() if getattr(group, name) != value}
    if changed:
        _guarded(lambda: _write(call, group.id, changed), wanted)
    is_kept = _keep(call, group.id, wanted, is_new=False)
    if changed:
        words = {"external_id": "group_external_id"}
        before = {words.get(name, name): getattr(group, name) for name in changed}
        after = {words.get(name, name): value for name, value in changed.items()}
        call.tell([Change("group.updated", ("grp", group.id), before=before, after=after)])
    return bool(changed) or is_kept


def _keep(call: Call, group_id: int, wanted: ProvisionedGroup, *, is_new: bool) -> bool:
    """Keep what the connection said; says whether it is another than before."""
    row = {
        "name_key": wanted.name_key,
        "external_id": wanted.external_id or "",
        "is_active": True,
        "document": wanted.document,
        "folded": wanted.folded | {"id": short_name("grp", group_id)},
    }
    connection = call.session.connection()
    if is_new:
        key = {"tenant_id": call.tenant_id, "source_id": call.source_id, "kind": GROUP, "resource_id": group_id}
        connection.execute(insert(ProvisionedResource), [key | row])
        return True
    is_other = col(ProvisionedResource.document) != wanted.document
    statement = update(ProvisionedResource).where(*_key_of(call, group_id), is_other).values(**row)
    return connection.execute(statement).rowcount > 0


def _require_own(call: Call, group_id: int, etag: str) -> GroupRow:
    """Read a group of the connection, which stays there to the end; with an etag also as it is.

    Errors: NotFound, StaleEtag.
    """
    row = call.run(_GROUP_TO_CHANGE if etag else _GROUP_TO_STAY, g=group_id).first()
    resource = GROUP_NAME.format(call.tenant_id, group_id)
    if row is None or row.owner_source_id != call.source_id or row.is_main:
        raise NotFound(resource=resource)
    require_etag(etag, resource=resource, revision=row.revision)
    return GroupRow(group_id, row.account_id, row.display_name, row.external_id, row.revision)


_GROUP: Final = (
    "SELECT account_id, display_name, external_id, is_main, owner_source_id, revision FROM groups"
    " WHERE tenant_id = :t AND id = :g"
)
_GROUP_TO_CHANGE: Final = _GROUP + "{for_update}"
_GROUP_TO_STAY: Final = _GROUP + "{for_key_share}"


def _touch(call: Call, group_id: int) -> None:
    call.run(
        "UPDATE groups SET revision = revision + 1, update_time = :now WHERE tenant_id = :t AND id = :g", g=group_id
    )


def _write(call: Call, group_id: int, values: dict[str, Any]) -> None:
    statement = update(Group).where(col(Group.tenant_id) == call.tenant_id, col(Group.id) == group_id).values(**values)
    call.session.connection().execute(statement)


def _guarded(write: Any, wanted: ProvisionedGroup) -> None:
    try:
        write()
    except IntegrityError as error:
        if violates(error, "groups_by_external_id", "groups.external_id"):
            raise GroupIdTaken(group_external_id=wanted.external_id or "") from None
        raise


def _key_of(call: Call, group_id: int) -> tuple[Any, ...]:
    return (
        col(ProvisionedResource.tenant_id) == call.tenant_id,
        col(ProvisionedResource.source_id) == call.source_id,
        col(ProvisionedResource.kind) == GROUP,
        col(ProvisionedResource.resource_id) == group_id,
    )
