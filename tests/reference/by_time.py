"""What comes due by itself, and what becomes of a tenant whose source is detached (S7, S12)."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from tests.reference.register import RESTORABLE_FOR, State, Tenant, WayOut
from tests.reference.values import MANUAL


def purge(tenant: Tenant, now: datetime) -> None:
    """Dormant for 90 days is deleted, deleted for 90 days is erased, and who slept a day in a group sleeps no more."""
    for user in _left_long_ago(tenant, State.DORMANT, now):
        tenant.leave(user, WayOut.DELETED, now)
    for user in _left_long_ago(tenant, State.DELETED, now):
        tenant.forget_person(user)
    tenant.sleeping = {entry: until for entry, until in tenant.sleeping.items() if until is None or until > now}


def detach(tenant: Tenant, source: str, now: datetime, *, keep_users: bool) -> None:
    """S12: its users become manual or are deleted; whom nothing can wake any more is deleted either way.

    Its memberships become hand-made or end, its groups manual with their Group IDs; it knows nobody afterwards.
    """
    for user, person in list(tenant.users.items()):
        if person.owner != source:
            continue
        if person.state is State.DORMANT or (person.state is State.ACTIVE and not keep_users):
            tenant.leave(user, WayOut.DELETED, now)
        tenant.change(user, owner=MANUAL)
    theirs = {entry for entry in tenant.memberships if entry.origin == source}
    tenant.memberships -= theirs
    if keep_users:
        tenant.memberships |= {replace(entry, origin=MANUAL) for entry in theirs}
    tenant.sleeping = {entry: until for entry, until in tenant.sleeping.items() if entry.origin != source}
    tenant.claims = {key: claim for key, claim in tenant.claims.items() if key[0] != source}
    tenant.former = {key: ended for key, ended in tenant.former.items() if key[0] != source}
    tenant.said = {key: said for key, said in tenant.said.items() if key[0] != source}
    for name, group in tenant.groups.items():
        if group.owner == source:
            tenant.groups[name] = replace(group, owner=MANUAL)
    tenant.sources[source] = replace(tenant.sources[source], applied_runs=0, last_timestamp=None)


def _left_long_ago(tenant: Tenant, state: State, now: datetime) -> list[str]:
    return [
        name
        for name, user in tenant.users.items()
        if user.state is state and user.left is not None and not user.is_erased and now - user.left >= RESTORABLE_FOR
    ]
