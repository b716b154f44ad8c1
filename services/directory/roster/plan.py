"""Compare a run's staged rows with the register: who is created, changed, taken over, deleted, and why not.

A plan is a handful of tables beside the stage, each made by one statement from those before it, so that it can be read,
hashed, shown, made again and applied without a row ever passing through Python:

    settled            rows that are as they were when they last took full effect (settled_rows.py)
    merged, verdicts   rows that are not imported: surplus ones (R17), rejected ones
    people             the rows that are, each with its user
    held, gone         users who stay as they are; users who left the file (R32)
    contested, blocked mails that somebody has today (R26, R27, R29, R31)
    listed, wanted     groups named by rows, memberships they mean (plan_groups.py)
    unwanted, moves,   memberships of this source that no row means, memberships to add and to remove, and the same
    moved              by person
    changes            one row a changed person: what apply writes and what people are shown
    effective          people whose row takes full effect with this plan, and its hash (settled_rows.py)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from services.directory.roster import plan_changes, plan_findings, plan_groups, restore, settled_rows
from services.directory.roster.dialect import Dialect
from services.directory.roster.owners import owned_by_sql
from services.directory.roster.settled_rows import LastApply
from services.directory.roster.space import PLAN_TABLES, StageSpace
from services.directory.rules.ownership import Party, Verdict, users_with
from services.directory.store.tables import UtcDateTime

ReserveIds = Callable[[str, int], list[int]]


@dataclass(frozen=True)
class PlanInput:
    """What a plan depends on besides the rows: the source's settings and the tenant's state, read by the caller."""

    tenant_id: int
    source_id: int
    linked_account_id: int
    linked_group_id: int
    """The linked account's main group; 0 without a linked account (R40)."""
    create_unknown_groups: bool
    keep_primary_phone: bool
    keep_secondary_phone: bool
    has_secondary_phone_column: bool
    skip_means_freeze: bool
    grace_nights: int
    seats_total: int
    seats_used: int
    leave_deletions_out: bool
    """True: whoever would be deleted is held instead (R8)."""
    restorable_since: datetime
    """Who was deleted later than this comes back with the id (R34)."""
    last_apply: LastApply | None = None
    """The source's last applied run; without one no row is settled."""


@dataclass(frozen=True)
class Plan:
    """The outcome: counts (R46), a hash of the changes, and the figures the limits look at."""

    counts: dict[str, int]
    hash: str
    mail_changes: int
    users_owned: int
    deletions_left_out_before: int
    administrators_taken_over: int
    membership_removals: list[tuple[int, int, int]]
    """Per group with removals: its id, how many, and how many people were in it."""


class Planner:
    """Makes one plan; holds what every step needs: the connection, the names, the input."""

    def __init__(self, space: StageSpace, connection: Connection, given: PlanInput, reserve_ids: ReserveIds) -> None:
        self.space = space
        self.connection = connection
        self.given = given
        self.reserve_ids = reserve_ids
        self.dialect = Dialect(space.store.is_sqlite)
        self.words: dict[str, object] = {
            **space.names,
            "t": given.tenant_id,
            "s": given.source_id,
            "linked_group": given.linked_group_id,
            "keep_primary": _sql(given.keep_primary_phone),
            "clear_secondary": _sql(not given.has_secondary_phone_column and not given.keep_secondary_phone),
            "keep_secondary": _sql(given.keep_secondary_phone),
            "freeze": _sql(given.skip_means_freeze),
            "grace": given.grace_nights,
            "split_groups": self.dialect.split_groups,
            "each_group": self.dialect.each_group,
            "no_groups": self.dialect.no_groups,
            "fresh_user": self.dialect.fresh_id("user"),
            "is_taken_over": owned_by_sql(
                users_with(Verdict.TAKEOVER, Party.FILE), "k.holder_owner", tenant_id=given.tenant_id
            ),
            "is_refused": owned_by_sql(
                users_with(Verdict.REFUSED, Party.FILE), "k.holder_owner", tenant_id=given.tenant_id
            ),
        }

    def make(self, table: str, query: str) -> int:
        """Make a stage table from a query, in which names in braces are filled in; answers its row count."""
        sql = f"{self.dialect.create_table} {self.space.name(table)} AS {query.format(**self.words)}"
        made = self.connection.execute(text(sql)).rowcount
        if self.space.store.is_sqlite:
            return self.count(table)
        self.connection.execute(text(f"ANALYZE {self.space.name(table)}"))
        return made

    def index(self, table: str, columns: str) -> None:
        """Index a stage table where SQLite would otherwise search it row by row; PostgreSQL hashes."""
        if self.space.store.is_sqlite:
            name = f"stage.{table}_{columns.replace(', ', '_')}"
            self.connection.execute(text(f"CREATE INDEX {name} ON {table} ({columns})"))

    def run(self, statement: str) -> int:
        """Execute a statement; answers how many rows it touched. `:restorable_since` is the input's."""
        clause = text(statement.format(**self.words))
        if ":restorable_since" in statement:
            clause = clause.bindparams(bindparam("restorable_since", self.given.restorable_since, type_=UtcDateTime))
        return self.connection.execute(clause).rowcount

    def run_count(self, query: str) -> int:
        """Execute a query that answers one number."""
        return int(self.connection.execute(text(query.format(**self.words))).scalar_one())

    def count(self, table: str, condition: str = "true") -> int:
        """Count rows of a stage table."""
        sql = f"SELECT count(*) FROM {self.space.name(table)} WHERE {condition}"
        return int(self.connection.execute(text(sql)).scalar_one())


def _sql(value: bool) -> str:  # noqa: FBT001 - a value, not a switch
    return "true" if value else "false"


def make_plan(planner: Planner) -> Plan:
    """Make the plan's tables anew from the stage and the register as this transaction sees it.

    The register is only read. Errors: RowsWantedError, when a row that was sent as settled is not, or not any more.
    """
    _clear(planner)
    planner.dialect.tune(planner.connection)
    settled = settled_rows.find_settled(planner)
    merged = _merge_repeated_ids(planner)
    _reject_shared_mails(planner, settled=settled)
    _find_people(planner, settled=settled)
    _hold_and_miss(planner)
    _settle_mails(planner)
    restore.find_returning(planner)
    deferred = _give_seats(planner)
    plan_groups.compare_memberships(planner, merged=merged)
    counts = plan_changes.write_changes(planner, deferred=deferred, merged=merged)
    plan_findings.write_findings(planner, deferred=deferred, merged=merged)
    settled_rows.find_effective(planner)
    planner.dialect.untune(planner.connection)
    return Plan(
        counts=counts,
        hash=plan_changes.hash_changes(planner),
        mail_changes=planner.count("changes", "action = 2 AND email <> old_email"),
        users_owned=_users_owned(planner),
        deletions_left_out_before=planner.count("gone", "deletion_left_out"),
        administrators_taken_over=_administrators_taken_over(planner),
        membership_removals=plan_groups.removals_per_group(planner),
    )


def _clear(planner: Planner) -> None:
    for table in PLAN_TABLES:
        planner.connection.execute(text(f"DROP TABLE IF EXISTS {planner.space.name(table)}"))
    planner.run(
        f"{planner.dialect.create_table.replace('TABLE', 'TABLE IF NOT EXISTS')} "
        "{new_groups} (external_id text NOT NULL PRIMARY KEY, id bigint NOT NULL)"
    )


def _merge_repeated_ids(planner: Planner) -> int:
    """R17: rows of one id that are alike become one; rows that differ are all rejected."""
    repeated = planner.make(
        "repeated", "SELECT external_id FROM {rows} WHERE external_id <> '' GROUP BY external_id HAVING count(*) > 1"
    )
    planner.make(
        "twins",
        """
        SELECT r.line, r.external_id, coalesce(r.groups, '-') AS groups, f.first_line, f.alike
        FROM {rows} r JOIN (
            SELECT external_id, min(line) AS first_line,
                   count(DISTINCT digest) = 1 AND count(DISTINCT email) = 1
                   AND count(DISTINCT display_name) = 1 AND count(DISTINCT disposition) = 1 AS alike
            FROM {rows} WHERE external_id IN (SELECT external_id FROM {repeated})
            GROUP BY external_id
        ) f ON f.external_id = r.external_id
        """
        if repeated
        else "SELECT line, external_id, groups, line AS first_line, true AS alike FROM {rows} WHERE false",
    )
    planner.index("twins", "external_id")
    merged = planner.make(
        "merged",
        """
        SELECT t.line, t.first_line AS into_line, t.external_id,
               CASE WHEN EXISTS (
                   SELECT 1 FROM {twins} e
                   WHERE e.external_id = t.external_id AND e.line < t.line AND e.groups = t.groups
               ) THEN 'duplicate_identical' ELSE 'duplicate_merged' END AS code
        FROM {twins} t WHERE t.alike AND t.line <> t.first_line
        """,
    )
    planner.index("merged", "line")
    planner.make(
        "verdicts",
        """
        SELECT line, 'duplicate_id' AS code FROM {twins} WHERE NOT alike
        UNION ALL
        SELECT r.line, 'staged' FROM {rows} r
        WHERE r.disposition = 3
          AND NOT EXISTS (SELECT 1 FROM {twins} t WHERE t.line = r.line AND NOT t.alike)
          AND NOT EXISTS (SELECT 1 FROM {merged} m WHERE m.line = r.line)
        """,
    )
    planner.index("verdicts", "line")
    return merged


def _reject_shared_mails(planner: Planner, *, settled: int) -> None:
    """R19: of rows with the same mail, only the one whose user has it today keeps it; skipped rows do not count."""
    shared = planner.make(
        "shared_mails",
        """
        SELECT r.email FROM {rows} r
        WHERE r.disposition <> 2 AND r.email <> '' AND NOT EXISTS (SELECT 1 FROM {merged} m WHERE m.line = r.line)
        GROUP BY r.email HAVING count(*) > 1
        """
        + (settled_rows.SHARED_MAILS if settled else ""),
    )
    if not shared:
        return
    planner.run(
        """
        INSERT INTO {verdicts} (line, code)
        SELECT r.line, 'duplicate_mail' FROM {rows} r
        WHERE r.disposition = 1 AND r.email IN (SELECT email FROM {shared_mails})
          AND NOT EXISTS (SELECT 1 FROM {merged} m WHERE m.line = r.line)
          AND NOT EXISTS (SELECT 1 FROM {verdicts} v WHERE v.line = r.line)
          AND NOT EXISTS (
              SELECT 1 FROM claims c JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
              WHERE c.tenant_id = {t} AND c.source_id = {s} AND c.external_id = r.external_id
                AND u.state = 1 AND u.email = r.email
          )
        """
    )


def _find_people(planner: Planner, *, settled: int) -> None:
    """Give every accepted row its user (R26): the one it claims, or a fresh id; and say whether its values differ.

    The cast gives the column its type on SQLite, which else compares without the index.
    state: `same`, `update`, `mail` (the mail changes, and maybe more), `new`, `settled`; later also `take_over`,
    `restore`, `deferred`.
    """
    planner.make(
        "people",
        """
        SELECT r.line, CAST(CASE WHEN u.id IS NULL THEN {fresh_user} ELSE u.id END AS bigint) AS user_id,
               CASE
                   WHEN u.id IS NULL THEN 'new'
                   WHEN u.email <> r.email THEN 'mail'
                   WHEN u.display_name <> r.display_name OR coalesce(r.title, u.title) <> u.title
                     OR """
        + plan_changes.PHONE
        + """ <> u.phone OR """
        + plan_changes.SECONDARY_PHONE
        + """ <> u.secondary_phone THEN 'update'
                   ELSE 'same'
               END AS state,
               r.groups, r.groups IS NOT NULL AS has_groups
        FROM {rows} r
        LEFT JOIN claims c ON c.tenant_id = {t} AND c.source_id = {s} AND c.external_id = r.external_id
        LEFT JOIN users u ON u.tenant_id = {t} AND u.id = c.user_id AND u.state = 1
        WHERE r.disposition = 1
          AND NOT EXISTS (SELECT 1 FROM {verdicts} v WHERE v.line = r.line)
          AND NOT EXISTS (SELECT 1 FROM {merged} m WHERE m.line = r.line)
        """,
    )
    if planner.space.store.is_sqlite:
        _number_new_people(planner)
    if settled:
        settled_rows.add_to_people(planner)
    planner.index("people", "line")
    planner.index("people", "user_id")


def _number_new_people(planner: Planner) -> None:
    """SQLite's way to fresh ids: one block from the counter."""
    count = planner.count("people", "state = 'new'")
    if not count:
        return
    first = planner.reserve_ids("user", count)[0]
    planner.run(
        f"UPDATE {{people}} AS p SET user_id = n.place + {first - 1} FROM ("
        "SELECT line, row_number() OVER (ORDER BY line) AS place FROM {people} WHERE state = 'new'"
        ") n WHERE n.line = p.line"
    )


def _hold_and_miss(planner: Planner) -> None:
    """Find who is held by a row that cannot be used, who has whose mail, and who left the file (R24, R32)."""
    planner.make(
        "contested",
        """
        SELECT p.line, p.user_id, p.state, v.id AS holder_id, v.owner_source_id AS holder_owner
        FROM {people} p JOIN {rows} r ON r.line = p.line
        JOIN users v ON v.tenant_id = {t} AND v.email = r.email AND v.state = 1
        WHERE p.state IN ('new', 'mail')
        """,
    )
    planner.index("contested", "holder_id")
    planner.make(
        "held",
        """
        SELECT c.user_id FROM {verdicts} w JOIN {rows} r ON r.line = w.line
        JOIN claims c ON c.tenant_id = {t} AND c.source_id = {s} AND c.external_id = r.external_id
        UNION
        SELECT u.id FROM {verdicts} w JOIN {rows} r ON r.line = w.line
        JOIN users u ON u.tenant_id = {t} AND u.email = r.email AND u.state = 1
        WHERE r.email <> ''
          AND NOT EXISTS (SELECT 1 FROM claims c
                          WHERE c.tenant_id = {t} AND c.source_id = {s} AND c.external_id = r.external_id)
          AND NOT EXISTS (SELECT 1 FROM {people} p WHERE p.user_id = u.id)
        UNION
        SELECT c.user_id FROM {rows} r
        JOIN claims c ON c.tenant_id = {t} AND c.source_id = {s} AND c.external_id = r.external_id
        WHERE r.disposition = 2 AND {freeze}
        """,
    )
    planner.index("held", "user_id")
    planner.make(
        "gone",
        """
        SELECT c.user_id, c.external_id, c.deletion_left_out
        FROM claims c JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
        WHERE c.tenant_id = {t} AND c.source_id = {s} AND u.owner_source_id = {s} AND u.state = 1
          AND NOT EXISTS (SELECT 1 FROM {people} p WHERE p.user_id = c.user_id)
          AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.user_id = c.user_id)
          AND ({grace} = 0 OR c.missed_files + 1 > {grace}
               OR EXISTS (SELECT 1 FROM {contested} k WHERE k.holder_id = c.user_id AND k.state = 'new'))
        """,
    )
    planner.make("left_out", "SELECT user_id FROM {gone} WHERE " + _sql(planner.given.leave_deletions_out))
    if planner.given.leave_deletions_out:
        planner.run("INSERT INTO {held} (user_id) SELECT user_id FROM {left_out}")
        planner.run("DELETE FROM {gone}")
    planner.index("gone", "user_id")


def _settle_mails(planner: Planner) -> None:
    """Decide who may have a mail that somebody has today: R26, R27, R28's delete and create, R29, R31.

    A mover is a user of this file whose own row gives up the mail. Whoever waits for a blocked mover is blocked too;
    each row waits for at most one other, so a recursive query walks the chains, and swaps need nothing.
    """
    planner.make(
        "blocked",
        """
        WITH RECURSIVE settled AS (
            SELECT k.line, k.user_id,
                CASE
                    WHEN EXISTS (SELECT 1 FROM {gone} g WHERE g.user_id = k.holder_id) THEN 'free'
                    WHEN k.state = 'new' AND {is_taken_over}
                         AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.user_id = k.holder_id) THEN 'free'
                    WHEN k.state = 'new' AND k.holder_owner <> {s} AND {is_refused} THEN 'owned_by_other_source'
                    WHEN EXISTS (SELECT 1 FROM {people} p WHERE p.user_id = k.holder_id AND p.state = 'mail')
                         THEN 'free'
                    ELSE 'mail_taken'
                END AS code
            FROM {contested} k
        ), stuck(line, user_id, code) AS (
            SELECT line, user_id, code FROM settled WHERE code <> 'free'
            UNION
            SELECT k.line, k.user_id, 'mail_taken'
            FROM stuck b JOIN {contested} k ON k.holder_id = b.user_id
        )
        SELECT line, min(code) AS code FROM stuck GROUP BY line
        """,
    )
    planner.run("INSERT INTO {verdicts} (line, code) SELECT line, code FROM {blocked}")
    planner.run("INSERT INTO {held} (user_id) SELECT user_id FROM {people} WHERE line IN (SELECT line FROM {blocked})")
    planner.run("DELETE FROM {people} WHERE line IN (SELECT line FROM {blocked})")
    planner.run(
        """
        UPDATE {people} AS p SET state = 'take_over',
            user_id = (SELECT k.holder_id FROM {contested} k WHERE k.line = p.line)
        WHERE p.state = 'new' AND p.line IN (SELECT k.line FROM {contested} k WHERE {is_taken_over})
        """
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
    return planner.run_count(
        "SELECT count(*) FROM {changes} c JOIN administrators a ON a.email = c.email AND a.tenant_id = {t} "
        "WHERE c.action = 3"
    )


def _users_owned(planner: Planner) -> int:
    sql = "SELECT count(*) FROM users WHERE tenant_id = :t AND owner_source_id = :s AND state = 1"
    found = planner.connection.execute(text(sql), {"t": planner.given.tenant_id, "s": planner.given.source_id})
    return int(found.scalar_one())
