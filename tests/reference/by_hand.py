"""What people do to users and seats by hand."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from tests.reference.register import RESTORABLE_FOR, Person, Refused, State, Tenant, WayOut
from tests.reference.values import MANUAL, Claim


def create_user(tenant: Tenant, account: str, email: str, display_name: str, groups: Collection[str] = ()) -> str:
    """Make a manual user in an account and in groups; a seat is taken. Gives its name."""
    main_group = tenant.require(tenant.accounts, account).main_group
    tenant.require_free_mail(email)
    tenant.require_seat()
    for group in groups:
        tenant.require(tenant.groups, group)
    user = tenant.newcomer()
    tenant.users[user] = Person(email, display_name)
    for group in {main_group, *groups}:
        tenant.join(user, group, MANUAL)
    return user


def update_user(tenant: Tenant, user: str, **values: str) -> None:
    """Change attributes; what a source says of its own users comes back with its next sync (S10)."""
    person = tenant.users[user]
    if person.state is State.DELETED:
        raise Refused("USER_STATE")
    if person.state is State.ACTIVE and "email" in values:
        tenant.require_free_mail(values["email"], user=user)
    tenant.change(user, **values)


def delete_user(tenant: Tenant, user: str, now: datetime) -> None:
    """Out at once, whatever the user was."""
    if tenant.users[user].state is State.DELETED:
        raise Refused("USER_STATE")
    tenant.leave(user, WayOut.DELETED, now)


def restore_user(tenant: Tenant, user: str, now: datetime) -> None:
    """Back within 90 days, with owner and keys where these are still free, in the account of its source; no groups."""
    person = tenant.users[user]
    is_late = person.left is not None and now - person.left >= RESTORABLE_FOR
    if person.state is not State.DELETED or person.is_erased or is_late:
        raise Refused("USER_STATE")
    left = person.left
    for source, external_id, its in list(tenant.former):
        is_last = its == user and tenant.former[source, external_id, its] == left
        if is_last and (source, external_id) not in tenant.claims:
            tenant.claims[source, external_id] = Claim(user)
            del tenant.former[source, external_id, user]
    if not _is_known_again(tenant, user):
        tenant.change(user, owner=MANUAL)
    tenant.wake(user, now)
    owner = tenant.users[user].owner
    account = tenant.main_account if owner == MANUAL else tenant.sources[owner].account
    if account is not None:
        tenant.join(user, tenant.accounts[account].main_group, owner)


def erase_user(tenant: Tenant, user: str, now: datetime) -> None:
    """Delete who is not deleted, and forget who it was; the user stays listed, with empty values."""
    if tenant.users[user].is_erased:
        return
    if tenant.users[user].state is not State.DELETED:
        tenant.leave(user, WayOut.DELETED, now)
    tenant.forget_person(user)


def set_seats(tenant: Tenant, seats: int) -> None:
    """Change the license; nobody loses a seat by it."""
    tenant.seats_total = seats


def _is_known_again(tenant: Tenant, user: str) -> bool:
    """Whether the owner takes a restored user back: nobody else has its key, or its userName or externalId, by now."""
    owner = tenant.users[user].owner
    if owner == MANUAL or not tenant.sources[owner].is_scim:
        return any(source == owner and claim.user == user for (source, _), claim in tenant.claims.items())
    said = tenant.said[owner, user]
    for (source, other), its in tenant.said.items():
        same_name = its.user_name.lower() == said.user_name.lower()
        same_id = bool(said.external_id) and its.external_id == said.external_id
        if source == owner and other != user and not its.gone and (same_name or same_id):
            return False
    tenant.said[owner, user] = replace(said, gone=False, active=True)
    return True
