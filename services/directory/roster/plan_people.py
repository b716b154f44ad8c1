"""Say who every row is, whom a row that cannot be used holds, and who left the file (R24, R26, R32)."""

from __future__ import annotations

from services.directory.roster import plan_changes, plan_claims, settled_rows
from services.directory.roster.planner import Planner, sql_truth


def find_people(planner: Planner, *, settled: int) -> None:
    """Give every accepted row its user (R26): the one it claims, or a fresh id; and say whether its values differ.

    The cast gives the column its type on SQLite, which else compares without the index.
    state: `same`, `update`, `mail` (the mail changes, and maybe more), `new`, `settled`; later also `take_over`,
    `claim` (R41), `restore`, `rekey`, `deferred`. leads: no file before this one in position order has the user, so
    that the row's attributes count (R41).
    """
    has_earlier = bool(planner.given.earlier_files)
    planner.make(
        "people",
        """
        SELECT r.line, CAST(CASE WHEN u.id IS NULL THEN {fresh_user} ELSE u.id END AS bigint) AS user_id,
               CASE
                   WHEN u.id IS NULL THEN 'new'
                   """
        + ("WHEN e.user_id IS NOT NULL THEN 'same'" if has_earlier else "")
        + """
                   WHEN u.email <> r.email THEN 'mail'
                   WHEN u.display_name <> r.display_name OR coalesce(r.title, u.title) <> u.title
                     OR """
        + plan_changes.PHONE
        + """ <> u.phone OR """
        + plan_changes.SECONDARY_PHONE
        + """ <> u.secondary_phone
                     OR u.owner_source_id <> {s} THEN 'update'
                   ELSE 'same'
               END AS state,
               r.groups, r.groups IS NOT NULL AS has_groups, """
        + ("e.user_id IS NULL" if has_earlier else "true")
        + """ AS leads
        FROM {rows} r
        LEFT JOIN claims c ON c.tenant_id = {t} AND c.source_id = {s} AND c.external_id = r.external_id
        LEFT JOIN users u ON u.tenant_id = {t} AND u.id = c.user_id AND u.state = 1
        """
        + (plan_claims.OF_EARLIER_FILES if has_earlier else "")
        + """
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
    if count == planner.count("people"):  # a first night: no need to look for them
        planner.run(f"UPDATE {{people}} SET user_id = rowid + {first - 1}")
        return
    planner.run(
        f"UPDATE {{people}} AS p SET user_id = n.place + {first - 1} FROM ("
        "SELECT line, row_number() OVER (ORDER BY line) AS place FROM {people} WHERE state = 'new'"
        ") n WHERE n.line = p.line"
    )


def hold(planner: Planner) -> None:
    """Find who has whose mail, and who is held by a row that cannot be used (R24)."""
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


def find_who_left(planner: Planner) -> None:
    """Find who left the file (R32): deleted, unless another file has the person, too (R41)."""
    plan_claims.find_dropped(planner)
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
        """
        + (plan_claims.OF_NO_OTHER_FILE if planner.given.other_files else ""),
    )
    planner.make("left_out", "SELECT user_id FROM {gone} WHERE " + sql_truth(planner.given.leave_deletions_out))
    if planner.given.leave_deletions_out:
        planner.run("INSERT INTO {held} (user_id) SELECT user_id FROM {left_out}")
        planner.run("DELETE FROM {gone}")
    planner.index("gone", "user_id")
