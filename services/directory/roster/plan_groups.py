"""Compare memberships: what a file's Groups mean (R37 to R40) against what this source put there before."""

from __future__ import annotations

from rapidfuzz import fuzz, process
from sqlalchemy import text

from services.directory.roster.owners import sources_sql
from services.directory.roster.planner import Planner
from services.directory.rules.ownership import Party, Verdict, groups_with
from services.directory.rules.text import MOST_CHARACTERS


def compare_memberships(planner: Planner, *, merged: int) -> None:
    """Make `listed`, `wanted` and `moves`; ask for groups that are to be created."""
    _find_scope(planner)
    if merged:
        planner.run(
            """
            UPDATE {people} SET has_groups = true WHERE NOT has_groups AND line IN (
                SELECT m.into_line FROM {merged} m JOIN {rows} r ON r.line = m.line WHERE r.groups IS NOT NULL)
            """
        )
    _list_groups(planner, merged=merged)
    _find_unknown(planner)
    _want(planner)
    _move(planner)


def _find_scope(planner: Planner) -> None:
    """Make `scope`: the accounts whose groups the file may touch, its linked one and those below (R41); else all."""
    planner.make(
        "scope",
        """
        WITH RECURSIVE below(id) AS (
            SELECT id FROM accounts WHERE tenant_id = {t} AND id = {linked_account}
            UNION
            SELECT a.id FROM accounts a JOIN below b ON b.id = a.parent_id WHERE a.tenant_id = {t}
        )
        SELECT id FROM below
        """
        if planner.given.linked_account_id
        else "SELECT id FROM accounts WHERE tenant_id = {t}",
    )
    planner.index("scope", "id")


_CONNECTIONS = sources_sql(groups_with(Verdict.UNSEEN, Party.FILE), tenant_id="{t}")
_NAMED = """
    SELECT r.line, r.user_id, r.state, {each_group} AS group_external_id
    FROM {people} r {split_groups} WHERE r.groups <> {no_groups}
"""
_NAMED_BY_MERGED = """
    UNION
    SELECT p.line, p.user_id, p.state, {each_group}
    FROM {merged} m JOIN {people} p ON p.line = m.into_line JOIN {rows} r ON r.line = m.line {split_groups}
    WHERE r.groups <> {no_groups}
"""


def _list_groups(planner: Planner, *, merged: int) -> None:
    """Every Group ID an accepted row lists, with the group and its account's main group; else as text.

    A group that a SCIM connection syncs is unknown to a file: one syncing source a group. One outside the linked
    account and those below it is not for this file (R41).
    """
    named = _NAMED + (_NAMED_BY_MERGED if merged else "")
    planner.make(
        "listed",
        f"""
        SELECT q.line, q.user_id, q.state, CASE WHEN g.is_in_scope THEN g.id END AS group_id, g.main_group_id,
               CASE WHEN g.id IS NULL THEN q.group_external_id END AS unknown_id,
               CASE WHEN NOT g.is_in_scope THEN q.group_external_id END AS outside_id
        FROM ({named}) q
        LEFT JOIN (
            SELECT e.external_id, e.id, a.main_group_id, s.id IS NOT NULL AS is_in_scope FROM groups e
            JOIN accounts a ON a.tenant_id = e.tenant_id AND a.id = e.account_id
            LEFT JOIN {{scope}} s ON s.id = a.id
            WHERE e.tenant_id = {{t}} AND e.external_id IS NOT NULL AND e.owner_source_id NOT IN ({_CONNECTIONS})
        ) g ON g.external_id = q.group_external_id
        """,
    )
    planner.index("listed", "user_id")


def _find_unknown(planner: Planner) -> None:
    """Find Group IDs that no group has; with R37's `create`, give ids to the groups that accepted people need.

    One that waits to be released (S8) is not made anew, nor one that is longer than a Group ID may be.
    """
    planner.make(
        "unknown_groups",
        """
        SELECT l.unknown_id AS group_external_id, min(s.display_name) AS synced_by,
               min(e.external_id) IS NOT NULL AS is_reserved, length(l.unknown_id) > {longest} AS is_too_long,
               length(l.unknown_id) <= {longest} AND min(CASE WHEN l.state = 'deferred' THEN 1 ELSE 0 END) = 0
                   AND min(s.id) IS NULL AND min(e.external_id) IS NULL AS is_needed
        FROM {listed} l
        LEFT JOIN reserved_group_ids e ON e.tenant_id = {t} AND e.external_id = l.unknown_id
        LEFT JOIN groups g ON g.tenant_id = {t} AND g.external_id = l.unknown_id
        LEFT JOIN sources s ON s.tenant_id = {t} AND s.id = g.owner_source_id
        WHERE l.unknown_id IS NOT NULL GROUP BY l.unknown_id
        """.replace("{longest}", str(MOST_CHARACTERS)),
    )
    planner.make(
        "suggestions", "SELECT group_external_id, group_external_id AS suggestion FROM {unknown_groups} WHERE false"
    )
    # Ids of an earlier plan are kept, so that the same change looks the same; groups made meanwhile are no longer new.
    planner.run(
        """
        DELETE FROM {new_groups} WHERE external_id NOT IN (
            SELECT group_external_id FROM {unknown_groups} WHERE is_needed)
        """
    )
    if not planner.count("unknown_groups"):
        return
    if planner.given.create_unknown_groups and planner.given.linked_group_id:
        _number_new_groups(planner)
        planner.run(
            """
            UPDATE {listed} AS l SET main_group_id = {linked_group},
                group_id = (SELECT n.id FROM {new_groups} n WHERE n.external_id = l.unknown_id)
            WHERE l.unknown_id IS NOT NULL AND l.state <> 'deferred'
            """
        )
    else:
        _suggest(planner)


def _number_new_groups(planner: Planner) -> None:
    sql = """
        SELECT group_external_id FROM {unknown_groups}
        WHERE is_needed AND group_external_id NOT IN (SELECT external_id FROM {new_groups})
        ORDER BY group_external_id
    """
    wanted = list(planner.connection.execute(text(sql.format(**planner.words))).scalars())
    numbers = planner.reserve_ids("group", len(wanted)) if wanted else []
    if wanted:
        planner.connection.execute(
            text("INSERT INTO {new_groups} (external_id, id) VALUES (:external_id, :id)".format(**planner.words)),
            [{"external_id": name, "id": number} for name, number in zip(wanted, numbers, strict=True)],
        )


def _suggest(planner: Planner) -> None:
    """Name the nearest known Group ID beside an unknown one: most are misspelt."""
    unknown = list(
        planner.connection.execute(
            text(
                "SELECT group_external_id FROM {unknown_groups} WHERE synced_by IS NULL AND NOT is_reserved"
                " AND NOT is_too_long".format(**planner.words)
            )
        ).scalars()
    )
    if not unknown:
        return
    known = list(
        planner.connection.execute(
            text(
                "SELECT external_id FROM groups WHERE tenant_id = {t} AND external_id IS NOT NULL "
                f"AND owner_source_id NOT IN ({_CONNECTIONS}) ORDER BY external_id".format(**planner.words)
            )
        ).scalars()
    )
    suggestions = []
    for group_external_id in unknown:
        found = process.extractOne(group_external_id, known, scorer=fuzz.ratio, processor=str.casefold, score_cutoff=60)
        if found is not None:
            suggestions.append({"group_external_id": group_external_id, "suggestion": found[0]})
    if suggestions:
        planner.connection.execute(
            text(
                "INSERT INTO {suggestions} (group_external_id, suggestion) "
                "VALUES (:group_external_id, :suggestion)".format(**planner.words)
            ),
            suggestions,
        )


def _want(planner: Planner) -> None:
    """The memberships a row means: its groups and their accounts' main groups; without any, the linked account (R40).

    A row whose Groups column is absent leaves memberships alone (R23); but somebody whom this source has put into no
    account goes into the linked one, or a file without Groups would put nobody anywhere.
    """
    planner.make(
        "wanted",
        """
        SELECT user_id, group_id FROM {listed} WHERE group_id IS NOT NULL AND state <> 'deferred'
        UNION ALL
        SELECT DISTINCT user_id, main_group_id FROM {listed} WHERE group_id IS NOT NULL AND state <> 'deferred'
        UNION ALL
        SELECT p.user_id, {linked_group} FROM {people} p
        WHERE {linked_group} <> 0 AND p.state <> 'deferred' AND p.has_groups
          AND (coalesce(p.groups, {no_groups}) = {no_groups}
               OR p.user_id IN (SELECT u.user_id FROM {listed} u WHERE u.group_id IS NULL))
          AND NOT EXISTS (SELECT 1 FROM {listed} l WHERE l.user_id = p.user_id AND l.group_id IS NOT NULL)
        UNION ALL
        SELECT p.user_id, {linked_group} FROM {people} p
        WHERE {linked_group} <> 0 AND p.state NOT IN ('deferred', 'settled') AND NOT p.has_groups
          AND NOT EXISTS (
              SELECT 1 FROM memberships m JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
              WHERE m.tenant_id = {t} AND m.user_id = p.user_id AND m.origin_source_id = {s} AND g.is_main)
        """,
    )
    planner.index("wanted", "user_id, group_id")


_OF_DROPPED = """
        UNION ALL
        SELECT m.user_id, m.group_id FROM memberships m JOIN {dropped} d ON d.user_id = m.user_id
        WHERE m.tenant_id = {t} AND m.origin_source_id = {s}
"""


def _move(planner: Planner) -> None:
    """What to add and what to remove; only this source's memberships are removed (R38, R39)."""
    planner.make(
        "unwanted",
        """
        SELECT m.user_id, m.group_id FROM memberships m
        JOIN {people} p ON p.user_id = m.user_id AND p.has_groups AND p.state <> 'deferred'
        WHERE m.tenant_id = {t} AND m.origin_source_id = {s}
          AND NOT EXISTS (SELECT 1 FROM {wanted} w WHERE w.user_id = m.user_id AND w.group_id = m.group_id)
        """
        + (_OF_DROPPED if planner.given.other_files else ""),
    )
    planner.make(
        "moves",
        """
        SELECT w.user_id, w.group_id, true AS is_added FROM {wanted} w
        WHERE NOT EXISTS (
            SELECT 1 FROM memberships m WHERE m.tenant_id = {t} AND m.group_id = w.group_id
              AND m.user_id = w.user_id AND m.origin_source_id = {s})
        UNION ALL
        SELECT m.user_id, m.group_id, false FROM {unwanted} m
        JOIN groups g ON g.tenant_id = {t} AND g.id = m.group_id
        WHERE (g.is_main OR g.external_id IS NOT NULL)
          AND NOT (g.is_main AND EXISTS (
              SELECT 1 FROM memberships h JOIN groups o ON o.tenant_id = h.tenant_id AND o.id = h.group_id
              WHERE h.tenant_id = {t} AND h.user_id = m.user_id AND h.origin_source_id = 0
                AND o.account_id = g.account_id AND NOT o.is_main))
        """,
    )
    _move_by_person(planner, has_shared=_find_shared(planner))


def _find_shared(planner: Planner) -> bool:
    """Find `shared`: moves in groups in which the person is by another origin, too, before as after.

    Such a move begins or ends this source's own membership and changes nothing about who is in the group. Where all are
    new, as on a first night, nobody is in any.
    """
    is_here = "(SELECT 1 FROM {people} WHERE state NOT IN ('new', 'deferred', 'restore', 'settled') LIMIT 1)"
    is_worth_a_look = planner.given.other_files or planner.look(f"SELECT count(*) FROM {is_here} q")
    shared = planner.make(
        "shared",
        """
        SELECT v.user_id, v.group_id FROM {moves} v WHERE EXISTS (
            SELECT 1 FROM memberships o WHERE o.tenant_id = {t} AND o.group_id = v.group_id AND o.user_id = v.user_id
              AND o.origin_source_id <> {s})
        """
        if is_worth_a_look
        else "SELECT user_id, group_id FROM {moves} WHERE false",
    )
    planner.index("shared", "user_id, group_id")
    return bool(shared)


def _move_by_person(planner: Planner, *, has_shared: bool) -> None:
    """Make `moved`: what this source adds and removes, and, of that, in which groups the person was or stays anyway."""
    is_shared = "q.is_shared" if has_shared else "false"
    lists = {
        "added": "q.is_added",
        "removed": "NOT q.is_added",
        "was_in": f"q.is_added AND {is_shared}",
        "stays_in": f"NOT q.is_added AND {is_shared}",
    }
    listed = ", ".join(
        f"'[' || {_joined(planner, condition)} || ']' AS {name}"
        if has_shared or name in {"added", "removed"}
        else f"'[]' AS {name}"
        for name, condition in lists.items()
    )
    moves = (
        """
        SELECT v.user_id, v.group_id, v.is_added, s.user_id IS NOT NULL AS is_shared
        FROM {moves} v LEFT JOIN {shared} s ON s.user_id = v.user_id AND s.group_id = v.group_id
        ORDER BY v.user_id, v.group_id
        """
        if has_shared
        else "SELECT user_id, group_id, is_added FROM {moves} ORDER BY user_id, group_id"
    )
    planner.make("moved", f"SELECT q.user_id, {listed} FROM ({moves}) q GROUP BY q.user_id")
    planner.index("moved", "user_id")


def _joined(planner: Planner, condition: str) -> str:
    """The group ids under a condition, in order, joined by commas; '' when there are none."""
    if planner.dialect.is_sqlite:
        return f"coalesce(group_concat(CASE WHEN {condition} THEN q.group_id END, ','), '')"
    return f"coalesce(string_agg(CASE WHEN {condition} THEN q.group_id::text END, ',' ORDER BY q.group_id), '')"


def removals_per_group(planner: Planner) -> list[tuple[str, int, int]]:
    """For R8's membership_limit: each group that people leave by name, how many, and how many are in it today."""
    sql = """
        SELECT g.display_name, q.removed, (
            SELECT count(DISTINCT m.user_id) FROM memberships m WHERE m.tenant_id = {t} AND m.group_id = q.group_id)
        FROM (
            SELECT v.group_id, count(*) AS removed FROM {moves} v WHERE NOT v.is_added
              AND NOT EXISTS (SELECT 1 FROM {shared} s WHERE s.user_id = v.user_id AND s.group_id = v.group_id)
            GROUP BY v.group_id
        ) q
        JOIN groups g ON g.tenant_id = {t} AND g.id = q.group_id
        ORDER BY q.group_id
    """
    return [
        (str(group), int(removed), int(size))
        for group, removed, size in planner.connection.execute(text(sql.format(**planner.words)))
    ]
