"""Compare a run's staged rows with the register: who is created, changed, taken over, deleted, and why not.

A plan is a handful of tables beside the stage, each made by one statement from those before it, so that it can be read,
hashed, shown, made again and applied without a row ever passing through Python:

    settled            rows that are as they were when they last took full effect (settled_rows.py)
    merged, verdicts   rows that are not imported: surplus ones (R17), rejected ones
    people             the rows that are, each with its user
    held, gone         users who stay as they are; users who left the file (R32)
    contested, blocked mails that somebody has today (R26, R27, R29, R31)
    joined, rekeyed    rows of an unknown id whose user is somebody who is here (R41, R28)
    dropped            users whom only other files have from now on (R41)
    listed, wanted     groups named by rows, memberships they mean (plan_groups.py)
    unwanted, moves,   memberships of this source that no row means, memberships to add and to remove, and the same
    moved              by person
    shared             moves that leave the person in the group, by another origin
    changes            one row a changed person: what apply writes and what people are shown
    effective          people whose row takes full effect with this plan, and its hash (settled_rows.py)
"""

from __future__ import annotations

from services.directory.roster import (
    plan_changes,
    plan_claims,
    plan_findings,
    plan_groups,
    plan_mails,
    plan_people,
    plan_rows,
    reach,
    restore,
    settled_rows,
    shape,
)
from services.directory.roster.planner import Plan, Planner
from services.directory.roster.space import PLAN_TABLES

_MANY = 10
"""So many times as many settled rows as others: what is left to compare is looked up instead of hashed as a whole."""


def make_plan(planner: Planner) -> Plan:
    """Make the plan's tables anew from the stage and the register as this transaction sees it.

    The register is only read. Errors: RowsWantedError, when a row that was sent as settled is not, or not any more.
    """
    planner.clear(PLAN_TABLES)
    planner.dialect.tune(planner.connection)
    settled = settled_rows.find_settled(planner)
    if settled > _MANY * planner.count("rows"):
        planner.dialect.tune_for_few(planner.connection)
    merged = plan_rows.merge_repeated_ids(planner)
    plan_rows.reject_shared_mails(planner, settled=settled)
    plan_people.find_people(planner, settled=settled)
    plan_people.hold(planner)
    plan_claims.find_joined(planner)
    restore.find_returning(planner)
    plan_claims.find_rekeyed(planner)
    plan_people.find_who_left(planner)
    plan_mails.settle_mails(planner)
    deferred = _give_seats(planner)
    plan_groups.compare_memberships(planner, merged=merged)
    counts = plan_changes.write_changes(planner, deferred=deferred, merged=merged)
    plan_findings.write_findings(planner, deferred=deferred, merged=merged)
    settled_rows.find_effective(planner)
    planner.dialect.untune(planner.connection)
    departures = reach.find_departures(planner, counts)
    shapes = shape.measure(planner, planner.given.shape_limit, departures=departures)
    return Plan(
        counts=counts,
        hash=plan_changes.hash_changes(planner),
        mail_changes=planner.count("changes", "action = 2 AND email <> old_email"),
        users_owned=shapes.before.people,
        deletions_left_out_before=planner.count("gone", "deletion_left_out"),
        administrators_taken_over=_administrators_taken_over(planner),
        membership_removals=plan_groups.removals_per_group(planner),
        reach=reach.measure(planner, counts),
        shapes=shapes,
    )


_TAKES_SEAT = "state IN ('new', 'restore')"


def _give_seats(planner: Planner) -> int:
    """R35: deletes free seats first, then creates and restores take them in file order; answers how many go without."""
    new = planner.count("people", _TAKES_SEAT)
    free = max(0, planner.given.seats_total - planner.given.seats_used + planner.count("gone"))
    if new <= free:
        return 0
    planner.run(
        """
        UPDATE {people} SET state = 'deferred' WHERE line IN (
            SELECT line FROM (
                SELECT line, row_number() OVER (ORDER BY line) AS place FROM {people} WHERE """
        + _TAKES_SEAT
        + f") q WHERE place > {free})"
    )
    return new - free


def _administrators_taken_over(planner: Planner) -> int:
    """R8: people taken over whose mail is that with which an administrator of the tenant signs in."""
    return planner.look(
        "SELECT count(*) FROM {changes} c JOIN administrators a ON a.email = c.email AND a.tenant_id = {t} "
        "WHERE c.action = 3"
    )
