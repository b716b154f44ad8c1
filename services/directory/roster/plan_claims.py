"""Follow people whose claims change: several files of the tenant know them (R41), or they have a new id (R28)."""

from __future__ import annotations

from sqlalchemy import text

from services.directory.roster.planner import Planner

OF_EARLIER_FILES = """
        LEFT JOIN (
            SELECT DISTINCT user_id FROM claims WHERE tenant_id = {t} AND source_id IN ({earlier_files})
        ) e ON e.user_id = c.user_id
"""
"""Joins a claim `c` with those of files whose attributes come before this one's."""

OF_NO_OTHER_FILE = """
          AND NOT EXISTS (
              SELECT 1 FROM claims o
              WHERE o.tenant_id = {t} AND o.user_id = c.user_id AND o.source_id IN ({other_files}))
"""
"""Of a claim `c`: it is the last one of its user."""

_SAME_IN_ANOTHER_FILE = """
    EXISTS (
        SELECT 1 FROM claims o
        WHERE o.tenant_id = {t} AND o.source_id IN ({other_files}) AND o.external_id = r.external_id
          AND o.user_id = k.holder_id)
"""


def find_joined(planner: Planner) -> None:
    """R41: the same UniqueID and mail in another file of the tenant is the same person; the row is a second claim."""
    planner.make(
        "joined",
        "SELECT k.line, k.holder_id AS user_id FROM {contested} k JOIN {rows} r ON r.line = k.line WHERE "
        + (
            f"k.state = 'new' AND {_SAME_IN_ANOTHER_FILE}"
            """
            AND NOT EXISTS (
                SELECT 1 FROM claims c WHERE c.tenant_id = {t} AND c.source_id = {s} AND c.user_id = k.holder_id)
            AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.user_id = k.holder_id)
            """
            if planner.given.other_files
            else "false"
        ),
    )
    _follow(planner, "joined", "claim")


def find_rekeyed(planner: Planner) -> None:
    """R28: an unknown id with the mail of a user of this file whose own id left it may be that user under a new id.

    It is when the names are equal but for case, or the ids but for case, spaces and leading zeros, or when another file
    of the tenant has the user under the new id already (R41).
    """
    planner.make(
        "rekeyed",
        """
        SELECT k.line, k.holder_id AS user_id, c.external_id AS old_external_id,
               r.display_name = u.display_name OR """
        + (_SAME_IN_ANOTHER_FILE if planner.given.other_files else "false")
        + """ AS is_sure
        FROM {contested} k JOIN {rows} r ON r.line = k.line
        JOIN {people} p ON p.line = k.line AND p.state = 'new'
        JOIN claims c ON c.tenant_id = {t} AND c.source_id = {s} AND c.user_id = k.holder_id
        JOIN users u ON u.tenant_id = {t} AND u.id = k.holder_id
        WHERE k.state = 'new'
          AND NOT EXISTS (SELECT 1 FROM {people} q WHERE q.user_id = k.holder_id)
          AND NOT EXISTS (SELECT 1 FROM {held} h WHERE h.user_id = k.holder_id)
        """,
    )
    if not planner.count("rekeyed"):
        return
    _leave_others_out(planner)
    _follow(planner, "rekeyed", "rekey")


def _leave_others_out(planner: Planner) -> None:
    """Compare names and ids as no database folds them; few are not equal at first sight."""
    found = planner.connection.execute(
        text(
            """
            SELECT k.line, k.old_external_id, r.external_id, u.display_name, r.display_name
            FROM {rekeyed} k JOIN {rows} r ON r.line = k.line JOIN users u ON u.tenant_id = {t} AND u.id = k.user_id
            WHERE NOT k.is_sure
            """.format(**planner.words)
        )
    )
    others = [
        {"line": line}
        for line, old_id, new_id, old_name, new_name in found
        if plain_id(old_id) != plain_id(new_id) and old_name.casefold() != new_name.casefold()
    ]
    if others:
        planner.connection.execute(text("DELETE FROM {rekeyed} WHERE line = :line".format(**planner.words)), others)


def plain_id(external_id: str) -> str:
    """Write a UniqueID without what spreadsheets and exports change in it: case, spaces, leading zeros (R28)."""
    return "".join(external_id.split()).casefold().lstrip("0")


def _follow(planner: Planner, table: str, state: str) -> None:
    planner.index(table, "line")
    if not planner.count(table):
        return
    planner.run(
        f"UPDATE {{people}} AS p SET state = '{state}', user_id = f.user_id FROM {{{table}}} f WHERE f.line = p.line"
    )
    if planner.given.earlier_files:
        planner.run(
            f"""
            UPDATE {{people}} SET leads = false WHERE state = '{state}' AND user_id IN (
                SELECT user_id FROM claims WHERE tenant_id = {{t}} AND source_id IN ({{earlier_files}}))
            """
        )


def find_dropped(planner: Planner) -> None:
    """Find users who left this file and stay, because another file has them: the first such file owns them (R41)."""
    files = planner.given.other_files
    ranks = " ".join(f"WHEN {source_id} THEN {rank}" for rank, source_id in enumerate(files))
    sources = " ".join(f"WHEN {rank} THEN {source_id}" for rank, source_id in enumerate(files))
    planner.make(
        "dropped",
        f"""
        SELECT c.user_id, c.external_id, CASE o.first_rank {sources} END AS heir_source_id
        FROM claims c JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
        JOIN (
            SELECT user_id, min(CASE source_id {ranks} END) AS first_rank FROM claims
            WHERE tenant_id = {{t}} AND source_id IN ({{other_files}}) GROUP BY user_id
        ) o ON o.user_id = c.user_id
        WHERE c.tenant_id = {{t}} AND c.source_id = {{s}} AND u.state = 1
          AND NOT EXISTS (SELECT 1 FROM {{people}} p WHERE p.user_id = c.user_id)
          AND NOT EXISTS (SELECT 1 FROM {{held}} h WHERE h.user_id = c.user_id)
          AND ({{grace}} = 0 OR c.missed_files + 1 > {{grace}})
        """
        if files
        else "SELECT user_id, external_id, source_id AS heir_source_id FROM claims WHERE false",
    )
    planner.index("dropped", "user_id")
