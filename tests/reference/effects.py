"""Say what one row does to one person: field changes (R20 to R23) and the source's own memberships (R37 to R40)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.reference.values import MANUAL, FileFacts, Group, Membership, Register, Source, StagedRow, User

_FIELDS = ("email", "display_name", "title", "phone", "secondary_phone")


def field_changes(row: StagedRow, user: User | None, file: FileFacts, source: Source) -> dict[str, tuple[str, str]]:
    """Return field → values before and after. None leaves a value, an empty cell clears it unless the source keeps it.

    A column SecondaryTelephoneNumber that the file does not have is as good as an empty one (R22).
    """
    after: dict[str, str | None] = {field: getattr(row, field) for field in _FIELDS}
    if not file.has_secondary_phone_column:
        after["secondary_phone"] = ""
    if source.keep_primary_phone:
        after["phone"] = after["phone"] or None
    if source.keep_secondary_phone:
        after["secondary_phone"] = after["secondary_phone"] or None
    found = {}
    for field, value in after.items():
        before = getattr(user, field) if user else ""
        if value is not None and value != before:
            found[field] = (before, value)
    return found


def differing_columns(row: StagedRow, user: User, source: Source) -> list[str]:
    """Return the columns in which a row differs from a user whose attributes are another file's (R41).

    A column that the file does not have does not differ.
    """
    compared = {
        "Mail": (row.email, user.email),
        "Name": (row.display_name, user.display_name),
        "Title": (row.title, user.title),
        "TelephoneNumber": (row.phone or (None if source.keep_primary_phone else row.phone), user.phone),
        "SecondaryTelephoneNumber": (
            row.secondary_phone or (None if source.keep_secondary_phone else row.secondary_phone),
            user.secondary_phone,
        ),
    }
    return [column for column, (theirs, ours) in compared.items() if theirs is not None and theirs != ours]


@dataclass(frozen=True)
class MembershipChanges:
    """Groups that one person joins and leaves by this source's doing, and whether that leaves no account.

    In `was_in` and `stays_in` the source's membership begins or ends, and somebody else's keeps the person there.
    """

    joins: frozenset[str] = frozenset()
    leaves: frozenset[str] = frozenset()
    was_in: frozenset[str] = frozenset()
    stays_in: frozenset[str] = frozenset()
    has_no_account: bool = False


def membership_changes(
    register: Register, source: str, row: StagedRow, user: str | None, *, new_groups: Mapping[str, Group]
) -> MembershipChanges:
    """Compare the row's groups with the memberships that the source has made; nobody else's are touched (R38)."""
    groups = {**register.groups, **new_groups}
    all_of_user = [entry for entry in register.memberships if entry.user == user]
    own = {entry.group for entry in all_of_user if entry.origin == source}
    desired = _desired_groups(register, source, row, groups)
    if row.groups is None:
        return _without_groups_column(source, groups, all_of_user, desired)
    ended = {name for name in own - desired if not _stays(name, groups, all_of_user)}
    return _told(desired - own, ended, all_of_user, source, has_no_account=not desired)


def memberships_dropped(register: Register, source: str, user: str) -> MembershipChanges:
    """The groups that somebody leaves whose claim by this source ends (R41), as with a row that lists none."""
    all_of_user = [entry for entry in register.memberships if entry.user == user]
    own = {entry.group for entry in all_of_user if entry.origin == source}
    ended = {name for name in own if not _stays(name, register.groups, all_of_user)}
    return _told(set(), ended, all_of_user, source)


def _told(
    begun: set[str], ended: set[str], all_of_user: Sequence[Membership], source: str, *, has_no_account: bool = False
) -> MembershipChanges:
    """Tell apart where something changes for the person, and where another's membership makes it all the same."""
    elsewhere = {entry.group for entry in all_of_user if entry.origin != source}
    return MembershipChanges(
        joins=frozenset(begun - elsewhere),
        leaves=frozenset(ended - elsewhere),
        was_in=frozenset(begun & elsewhere),
        stays_in=frozenset(ended & elsewhere),
        has_no_account=has_no_account,
    )


def _without_groups_column(
    source: str, groups: Mapping[str, Group], all_of_user: Sequence[Membership], desired: set[str]
) -> MembershipChanges:
    """R23 leaves memberships alone, but R40 wants everybody in the linked account who is in none by this source."""
    own = {entry.group for entry in all_of_user if entry.origin == source}
    if any(groups[name].is_main for name in own):
        return MembershipChanges()
    is_in_an_account = any(groups[entry.group].is_main for entry in all_of_user)
    return _told(desired - own, set(), all_of_user, source, has_no_account=not desired and not is_in_an_account)


def _desired_groups(register: Register, source: str, row: StagedRow, groups: Mapping[str, Group]) -> set[str]:
    """The listed groups and their accounts' main groups, or else the linked account's main group (R40)."""
    linked_account = register.sources[source].account
    listed = {
        name
        for name, group in groups.items()
        if group.group_external_id in (row.groups or ())
        and not is_synced_elsewhere(register, group)
        and _is_below(register, group.account, linked_account)
    }
    accounts = {groups[name].account for name in listed}
    if not listed and linked_account is not None:
        accounts = {linked_account}
    return listed | {register.accounts[account] for account in accounts}


def groups_outside(register: Register, source: str, row: StagedRow) -> list[str]:
    """Group IDs of the row, of groups for files that are not in the source's linked account or below (R41)."""
    linked_account = register.sources[source].account
    outside = {
        group.group_external_id
        for group in register.groups.values()
        if not is_synced_elsewhere(register, group) and not _is_below(register, group.account, linked_account)
    }
    return [group_external_id for group_external_id in dict.fromkeys(row.groups or ()) if group_external_id in outside]


def _is_below(register: Register, account: str, top: str | None) -> bool:
    """Say whether an account is another one or below it; the main account is above all others."""
    main_account = next(iter(register.accounts))
    while account not in {top, main_account}:
        account = register.parents.get(account, main_account)
    return top is None or account == top


def is_synced_elsewhere(register: Register, group: Group) -> bool:
    """Say whether a SCIM connection syncs the group, which no file may touch."""
    return group.owner != MANUAL and register.sources[group.owner].is_scim


def _stays(name: str, groups: Mapping[str, Group], all_of_user: Sequence[Membership]) -> bool:
    """R39, R40: a group no sync sees stays, and an account in which a hand-made membership keeps the user."""
    group = groups[name]
    if not group.is_main:
        return group.group_external_id is None
    by_hand = [groups[entry.group] for entry in all_of_user if entry.origin == MANUAL]
    return any(other.account == group.account and not other.is_main for other in by_hand)
