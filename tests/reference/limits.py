"""Say whether a plan may be applied: R6's and R8's limits hold it, R9's refuses it."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from tests.reference.values import Action, Change, Counts, FileFacts, Limit, Register


def verdict(
    register: Register, source: str, file: FileFacts, changes: Sequence[Change], counts: Counts
) -> tuple[str, str]:
    """Return status and reason: `refused`, or `held` by the first limit that is passed in R8's order, or `planned`."""
    settings = register.sources[source]
    limits, first_run = settings.limits, settings.applied_runs == 0
    if limits.reject.is_passed(counts.rejected, of=counts.rows):
        return "refused", "too_many_rejects"
    owned = sum(user.active and user.owner == source for user in register.users.values())
    newest, last = file.newest_timestamp, settings.last_timestamp
    mail_changes = [change for change in changes if change.action is Action.UPDATE and "email" in change.fields]
    passed = {
        "older_than_last": newest is not None and last is not None and newest < last,
        "delete_limit": limits.delete.is_passed(counts.deleted, of=owned) or _was_left_out(register, source, changes),
        "mail_change_limit": limits.mail_change.is_passed(len(mail_changes), of=owned),
        "rekey_limit": limits.rekey.is_passed(counts.rekeyed, of=owned),
        "takeover_limit": not first_run and limits.takeover.is_passed(counts.taken_over, of=counts.rows),
        "membership_limit": _empties_a_group(register, changes, limits.membership),
        "create_limit": not first_run and limits.create.is_passed(counts.created, of=owned),
        "admin_takeover": any(
            change.action is Action.TAKE_OVER and register.users[change.user].email in register.administrators
            for change in changes
        ),
    }
    reason = next((reason for reason, is_passed in passed.items() if is_passed), "")
    return ("held" if reason else "planned"), reason


def _was_left_out(register: Register, source: str, changes: Sequence[Change]) -> bool:
    """Tell whether someone is deleted whose deletion was left out before."""
    return any(
        change.action is Action.DELETE and register.claims[source, change.external_id].deletion_left_out
        for change in changes
    )


def _empties_a_group(register: Register, changes: Sequence[Change], limit: Limit) -> bool:
    """Tell whether too many leave one group otherwise than by being deleted."""
    leavers = Counter(group for change in changes for group in change.leaves)
    members: dict[str, set[str]] = defaultdict(set)
    for entry in register.memberships:
        members[entry.group].add(entry.user)
    return any(limit.is_passed(number, of=len(members[group])) for group, number in leavers.items())
