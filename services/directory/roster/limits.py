"""Look at a plan with the limits of R8 and R9: which one, if any, holds or refuses it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from services.directory.roster.planner import Plan
from services.directory.roster.shape import Shape, ShapeLimit, alarms

DEFAULTS: Mapping[str, tuple[int, float]] = {
    "delete": (3, 20.0),
    "mail_change": (3, 20.0),
    "rekey": (3, 20.0),
    "takeover": (3, 20.0),
    "membership": (10, 50.0),
    "create": (100, 50.0),
    "reject": (5, 50.0),
    "shape": (10, 50.0),
}
"""Floor and percentage of each limit; both must be exceeded."""


@dataclass(frozen=True)
class LimitInput:
    """What the limits need besides the plan."""

    limits: Mapping[str, Mapping[str, float]]
    """The source's own figures, `{"delete": {"floor": 3, "percent": 20}}`; an absent one has its default."""
    is_first_applied: bool
    newest_timestamp: datetime | None
    last_applied_timestamp: datetime | None
    recent_shapes: Sequence[Shape] = ()
    """Of the source's last applied runs, since somebody last approved one."""


@dataclass(frozen=True)
class Passed:
    """A limit that was passed: its word, and a sentence with the figures."""

    reason: str
    message: str


def too_many_rejects(plan: Plan, given: LimitInput) -> Passed | None:
    """R9: a file of which most rows cannot be used is refused."""
    rejected, rows = plan.counts["rejected"], plan.counts["rows"]
    if not _exceeds(given, "reject", rejected, rows):
        return None
    return Passed("too_many_rejects", f"{rejected} of {rows} rows cannot be used; the file was refused as a whole.")


def first_limit_passed(plan: Plan, given: LimitInput) -> Passed | None:
    """R8: the first limit in the rule's order that holds this plan; its message names them all."""
    passed = list(_passed(plan, given))
    if not passed:
        return None
    return replace(passed[0], message=" ".join(limit.message for limit in passed))


def _passed(plan: Plan, given: LimitInput) -> Iterator[Passed]:
    """Every limit that was passed, in the rule's order: R6's `older_than_last` first, the shape's alarm last."""
    yield from _older_than_last(given)
    yield from _people_passed(plan, given)
    for group, removed, size in plan.membership_removals:
        if _exceeds(given, "membership", removed, size):
            yield Passed("membership_limit", f'{removed} of {size} people would leave the group "{group}".')
    created, owned = plan.counts["created"], plan.users_owned
    if not given.is_first_applied and _exceeds(given, "create", created, owned):
        yield Passed("create_limit", f"{created} people would be added to {owned}.")
    if plan.administrators_taken_over:
        count = plan.administrators_taken_over
        administrators = "1 administrator" if count == 1 else f"{count} administrators"
        yield Passed("admin_takeover", f"{administrators} would be taken over.")
    if not given.is_first_applied:
        said = alarms(plan.shapes, given.recent_shapes, shape_limit(given.limits))
        yield from (Passed("shape_alarm", sentence) for sentence in said)


def _older_than_last(given: LimitInput) -> Iterator[Passed]:
    last, newest = given.last_applied_timestamp, given.newest_timestamp
    if last is not None and newest is not None and newest < last:
        yield Passed(
            "older_than_last",
            f"The file's newest TimeStamp, {newest:%Y-%m-%d %H:%M} UTC, is older than that of the last applied file.",
        )


def _people_passed(plan: Plan, given: LimitInput) -> Iterator[Passed]:
    """The limits on what happens to people who are here, in order."""
    counts, owned = plan.counts, plan.users_owned
    left_out = plan.deletions_left_out_before
    if left_out:
        yield Passed("delete_limit", f"{left_out} people whose deletion was left out before would be deleted.")
    if _exceeds(given, "delete", counts["deleted"], owned):
        yield Passed("delete_limit", f"{counts['deleted']} of {owned} people would be deleted.")
    if _exceeds(given, "mail_change", plan.mail_changes, owned):
        yield Passed("mail_change_limit", f"{plan.mail_changes} of {owned} people would get another mail address.")
    if _exceeds(given, "rekey", counts["rekeyed"], owned):
        yield Passed("rekey_limit", f"{counts['rekeyed']} of {owned} people would get another UniqueID.")
    if not given.is_first_applied and _exceeds(given, "takeover", counts["taken_over"], counts["rows"]):
        yield Passed("takeover_limit", f"{counts['taken_over']} people made by hand would be taken over.")


def shape_limit(limits: Mapping[str, Mapping[str, float]]) -> ShapeLimit:
    """Read the figures of the shape alarm out of a source's own."""
    floor, percent = DEFAULTS["shape"]
    own = limits.get("shape", {})
    return ShapeLimit(own.get("floor", floor), own.get("percent", percent))


def _exceeds(given: LimitInput, name: str, count: int, base: int) -> bool:
    """Whether a count is over the floor and over the percentage of what it is compared with."""
    floor, percent = DEFAULTS[name]
    own = given.limits.get(name, {})
    return count > own.get("floor", floor) and count * 100 > own.get("percent", percent) * base
