"""What a night of a file source does to the register: the import's reference model, given this register's values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from tests.reference.applying import apply_plan
from tests.reference.planning import plan_import
from tests.reference.register import Person, State, Tenant, WayOut
from tests.reference.values import Action, Change, Deletions, FileFacts, FormerClaim, Plan, Register, StagedRow, User


def plan_night(
    tenant: Tenant, source: str, rows: Sequence[StagedRow], now: datetime, *, deletions: Deletions = Deletions.APPLY
) -> Plan:
    """What the file would do."""
    return plan_import(as_import_sees_it(tenant, now), source, rows, FileFacts(), deletions=deletions)


def apply_night(tenant: Tenant, plan: Plan, now: datetime) -> None:
    """Do it; the register's own part is what leaving does."""
    deleted = [change.user for change in plan.changes if change.action is Action.DELETE]
    for user in deleted:
        tenant.leave(user, WayOut.LEFT_FILE, now)
    after = apply_plan(as_import_sees_it(tenant, now), replace(plan, changes=_without_deletions(plan)))
    for name, person in after.users.items():
        if person.active:
            tenant.users[name] = _person(person)
    for change in plan.changes:
        if change.action not in {Action.DELETE, Action.DROP_CLAIM}:
            tenant.former.pop((plan.source, change.external_id, change.user), None)
        elif change.action is Action.DROP_CLAIM:
            tenant.former[plan.source, change.external_id, change.user] = now
    tenant.claims = dict(after.claims)
    tenant.groups = dict(after.groups)
    tenant.memberships = set(after.memberships)
    tenant.sources = dict(after.sources)
    for name in plan.new_groups:
        _name_for_good(tenant, name)


def _name_for_good(tenant: Tenant, group: str) -> None:
    """Give a new group a name that nothing has had: a plan calls it by its Group ID, which may become another's."""
    tenant.groups_by_file += 1
    name = f"{group} {tenant.groups_by_file}"
    tenant.groups[name] = tenant.groups.pop(group)
    tenant.memberships = {replace(e, group=name) if e.group == group else e for e in tenant.memberships}


def as_import_sees_it(tenant: Tenant, now: datetime) -> Register:
    """The register in the words of the import's model."""
    return Register(
        users={
            name: User(
                person.email,
                person.display_name,
                person.title,
                person.phone,
                person.secondary_phone,
                person.owner,
                active=person.state is State.ACTIVE,
                dormant=person.state is State.DORMANT,
                password_reset_required=person.password_reset_required,
            )
            for name, person in tenant.users.items()
        },
        claims=dict(tenant.claims),
        former_claims=_former_claims(tenant, now),
        accounts={name: account.main_group for name, account in tenant.accounts.items()},
        parents={name: account.parent for name, account in tenant.accounts.items() if account.parent},
        groups=dict(tenant.groups),
        memberships=frozenset(tenant.memberships),
        reserved_group_ids=frozenset(tenant.reserved),
        sources=dict(tenant.sources),
        seats_total=tenant.seats_total,
    )


def _former_claims(tenant: Tenant, now: datetime) -> dict[tuple[str, str], FormerClaim]:
    """Whom a source called so last: a claim that ended when its user was deleted for the last time (R34)."""
    found = {}
    for (source, external_id, name), ended in sorted(tenant.former.items(), key=lambda item: item[1]):
        user = tenant.users[name]
        if user.state is State.DELETED and user.left == ended and not user.is_erased:
            found[source, external_id] = FormerClaim(name, days_ago=(now - ended).days)
    return found


def _without_deletions(plan: Plan) -> tuple[Change, ...]:
    return tuple(change for change in plan.changes if change.action is not Action.DELETE)


def _person(user: User) -> Person:
    return Person(
        user.email,
        user.display_name,
        user.title,
        user.phone,
        user.secondary_phone,
        user.owner,
        password_reset_required=user.password_reset_required,
    )
