"""What people do to accounts, groups and who is in them by hand: R42, R43, S8."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tests.reference.register import Account, Refused, Tenant
from tests.reference.values import MANUAL, Group, Membership


def create_account(tenant: Tenant, name: str, parent: str) -> None:
    """Make a sub-account with its main group."""
    tenant.require(tenant.accounts, parent)
    tenant.accounts[name] = Account(main_group=name, parent=parent)
    tenant.groups[name] = Group(name, is_main=True)


def create_group(tenant: Tenant, name: str, account: str, group_id: str = "") -> None:
    """Make a group; with a Group ID, which must be free, it is a synced one."""
    tenant.require(tenant.accounts, account)
    if group_id:
        _require_free_group_id(tenant, group_id)
    tenant.groups[name] = Group(account, group_id or None)


def modify_members(tenant: Tenant, group: str, add: Collection[str], remove: Collection[str]) -> None:
    """Put active users into a group and its account, and take memberships by hand away; sources' stay theirs (R38)."""
    kept = tenant.require(tenant.groups, group)
    for user in add:
        tenant.require(tenant.users, user)
    for user in add:
        if user not in tenant.active():
            raise Refused("USER_STATE")
    left = {name for name, other in tenant.groups.items() if other.account == kept.account} if kept.is_main else {group}
    tenant.memberships -= {Membership(user, name, MANUAL) for user in remove for name in left}
    for user in add:
        tenant.join(user, group, MANUAL)


def update_group(tenant: Tenant, group: str, group_id: str) -> None:
    """Give a group another Group ID, or with "" none: then the group and its members are manual (R42)."""
    kept = _require_changeable(tenant, group)
    if group_id == (kept.group_external_id or "") and (group_id or kept.owner == MANUAL):
        return
    if not group_id:
        _make_manual(tenant, group)
        return
    if kept.owner != MANUAL and tenant.sources[kept.owner].is_scim:
        raise Refused("FAILED_PRECONDITION")
    _require_free_group_id(tenant, group_id)
    tenant.groups[group] = replace(kept, group_external_id=group_id)


def delete_group(tenant: Tenant, group: str) -> None:
    """S8: people stay in the account, nobody is put out, and the Group ID stays taken."""
    kept = _require_changeable(tenant, group)
    if kept.group_external_id is not None or kept.owner != MANUAL:
        _keep_in_account(tenant, group, is_moved=False)
    if kept.group_external_id is not None:
        tenant.reserved.add(kept.group_external_id)
    _end_memberships(tenant, group)
    del tenant.groups[group]


def move_group(tenant: Tenant, group: str, account: str, *, with_members: bool) -> None:
    """R43: the people join the new account or leave the group; the old account keeps them either way."""
    kept = _require_changeable(tenant, group)
    target = tenant.require(tenant.accounts, account)
    if kept.account == account:
        raise Refused("FAILED_PRECONDITION")
    _keep_in_account(tenant, group, is_moved=True)
    if with_members:
        main_group = target.main_group
        tenant.memberships |= {replace(e, group=main_group) for e in tenant.memberships if e.group == group}
        for entry, until in list(tenant.sleeping.items()):
            if entry.group == group:
                tenant.sleeping.setdefault(replace(entry, group=main_group), until)
    else:
        _end_memberships(tenant, group)
    tenant.groups[group] = replace(kept, account=account)


def release_group_id(tenant: Tenant, group_id: str) -> None:
    """The Group ID of a deleted group is free again (S8)."""
    if group_id not in tenant.reserved:
        raise Refused("NOT_FOUND")
    tenant.reserved.remove(group_id)


def move_account(tenant: Tenant, account: str, parent: str) -> None:
    """Put an account under another one, never under itself or what is below it; the main account stays on top."""
    kept = tenant.require(tenant.accounts, account)
    if not kept.parent:
        raise Refused("FAILED_PRECONDITION")
    above = parent
    while above:
        if above == account:
            raise Refused("FAILED_PRECONDITION")
        above = tenant.accounts[above].parent
    tenant.accounts[account] = replace(kept, parent=parent)


def delete_account(tenant: Tenant, account: str) -> None:
    """Only an account with nothing in it but people is deleted; they leave it."""
    kept = tenant.require(tenant.accounts, account)
    has_accounts = any(other.parent == account for other in tenant.accounts.values())
    has_groups = any(group.account == account and not group.is_main for group in tenant.groups.values())
    has_sources = any(source.account == account for source in tenant.sources.values())
    if not kept.parent or has_accounts or has_groups or has_sources:
        raise Refused("FAILED_PRECONDITION")
    _end_memberships(tenant, kept.main_group)
    del tenant.groups[kept.main_group], tenant.accounts[account]


def _require_changeable(tenant: Tenant, group: str) -> Group:
    """A main group lives with its account."""
    kept = tenant.require(tenant.groups, group)
    if kept.is_main:
        raise Refused("FAILED_PRECONDITION")
    return kept


def _require_free_group_id(tenant: Tenant, group_id: str) -> None:
    if tenant.with_group_id(group_id) is not None:
        raise Refused("GROUP_ID_TAKEN")
    if group_id in tenant.reserved:
        raise Refused("GROUP_ID_RESERVED")


def _make_manual(tenant: Tenant, group: str) -> None:
    """Whoever is in it is in it by hand from now on; what slept by a source's doing does not wake any more."""
    _keep_in_account(tenant, group, is_moved=False)
    members = {entry.user for entry in tenant.memberships if entry.group == group}
    tenant.memberships = {entry for entry in tenant.memberships if entry.group != group}
    tenant.memberships |= {Membership(user, group, MANUAL) for user in members}
    tenant.sleeping = {e: until for e, until in tenant.sleeping.items() if e.group != group or e.origin == MANUAL}
    tenant.groups[group] = replace(tenant.groups[group], group_external_id=None, owner=MANUAL)


def _end_memberships(tenant: Tenant, group: str) -> None:
    tenant.memberships = {entry for entry in tenant.memberships if entry.group != group}
    tenant.sleeping = {entry: until for entry, until in tenant.sleeping.items() if entry.group != group}


def _keep_in_account(tenant: Tenant, group: str, *, is_moved: bool) -> None:
    """R39, R43, S8: the account keeps the group's people until they are taken out by hand, which must then be possible.

    So a source's own hold on the account ends where nothing of that source is left to renew it.
    """
    account = tenant.groups[group].account
    main_group = tenant.accounts[account].main_group
    for entry in [entry for entry in tenant.memberships if entry.group == group]:
        tenant.memberships.add(Membership(entry.user, main_group, MANUAL))
        if entry.origin != MANUAL and not _renews(tenant, entry, account, is_moved=is_moved):
            tenant.memberships.discard(replace(entry, group=main_group))


def _renews(tenant: Tenant, entry: Membership, account: str, *, is_moved: bool) -> bool:
    """Whether a source keeps its user in an account without this membership.

    It does by another group there. A connection keeps all its users in its linked account; a file does so only with
    whoever has no group at all, and it still lists a group that was moved.
    """
    source = tenant.sources[entry.origin]
    others = [
        tenant.groups[other.group]
        for other in tenant.memberships
        if (other.user, other.origin) == (entry.user, entry.origin) and other.group != entry.group
    ]
    own_groups = [other for other in others if not other.is_main]
    if any(other.account == account for other in own_groups):
        return True
    is_linked = source.account == account
    return is_linked and (source.is_scim or (not is_moved and not own_groups))
