"""Apply a plan of the reference model: the register as it is afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tests.reference.values import Action, Change, Claim, FormerClaim, Membership, Plan, Register, User


def apply_plan(register: Register, plan: Plan) -> Register:
    """Return the register after the plan, whatever held it; the register given stays as it is."""
    users, claims, memberships = dict(register.users), dict(register.claims), set(register.memberships)
    former_claims = dict(register.former_claims)
    for change in plan.changes:
        key = (plan.source, change.external_id)
        if change.action is Action.DELETE:
            users[change.user] = replace(users[change.user], active=False)
            memberships = {entry for entry in memberships if entry.user != change.user}
            claims.pop(key)
            former_claims[key] = FormerClaim(change.user)
            continue
        if change.action is Action.DROP_CLAIM:
            claims.pop(key)
            former_claims[key] = FormerClaim(change.user, with_user=False)
        else:
            former_claims = _without_claim(former_claims, key, change)
            claims = {its: claim for its, claim in claims.items() if claim.user != change.user or its[0] != plan.source}
            claims[key] = register.claims.get(key) or Claim(change.user)
        users[change.user] = _changed_user(users.get(change.user), change)
        memberships -= {Membership(change.user, group, plan.source) for group in change.leaves | change.stays_in}
        memberships |= {Membership(change.user, group, plan.source) for group in change.joins | change.was_in}
    for key, claim in claims.items():
        if key[0] == plan.source:
            claims[key] = _counted_claim(claim, plan)
    source = register.sources[plan.source]
    applied = replace(
        source,
        applied_runs=source.applied_runs + 1,
        last_timestamp=plan.file.newest_timestamp,
    )
    return replace(
        register,
        users=users,
        claims=claims,
        former_claims=former_claims,
        memberships=frozenset(memberships),
        groups={**register.groups, **plan.new_groups},
        sources={**register.sources, plan.source: applied},
    )


def _without_claim(
    former_claims: Mapping[tuple[str, str], FormerClaim], key: tuple[str, str], change: Change
) -> dict[tuple[str, str], FormerClaim]:
    """What is left of former claims when somebody is here under a key; who is back left them all a while ago (R34)."""
    return {
        its: replace(former, with_user=False) if former.user == change.user else former
        for its, former in former_claims.items()
        if its != key or former.user != change.user
    }


def _changed_user(before: User | None, change: Change) -> User:
    """The user with the fields' new values; a takeover ends the old password (R27)."""
    user = before or User(email="", display_name="")
    for field, (_, after) in change.fields.items():
        user = replace(user, **{field: after})  # type: ignore[arg-type]
    user = replace(user, owner=change.owner, active=True)
    return replace(user, password_reset_required=True) if change.action is Action.TAKE_OVER else user


def _counted_claim(claim: Claim, plan: Plan) -> Claim:
    """R32's grace and R8's deletions left out: who is in the file starts anew, who is held stays as he is."""
    if claim.user in plan.present:
        return Claim(claim.user)
    left_out = claim.deletion_left_out or claim.user in plan.left_out
    return replace(claim, missed_files=plan.missed.get(claim.user, claim.missed_files), deletion_left_out=left_out)
