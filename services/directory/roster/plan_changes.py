"""Write a plan's list of changes, one row a changed person, count it (R46) and hash it (R8)."""

from __future__ import annotations

import hashlib

from sqlalchemy import text
from sqlalchemy.engine import Connection

from services.directory.roster.dialect import Dialect
from services.directory.roster.planner import Planner

CREATE, UPDATE, TAKE_OVER, DELETE, RESTORE, REKEY, DROP_CLAIM = 1, 2, 3, 4, 5, 6, 7
"""Actions; the numbers are those of the contract's ChangeAction."""

PHONE = """CASE WHEN r.phone IS NULL OR (r.phone = '' AND {keep_primary}) THEN u.phone ELSE r.phone END"""
"""The primary phone after the row: an empty cell clears it unless the source keeps it (R22)."""

SECONDARY_PHONE = """CASE
    WHEN r.secondary_phone IS NULL THEN CASE WHEN {clear_secondary} THEN '' ELSE u.secondary_phone END
    WHEN r.secondary_phone = '' AND {keep_secondary} THEN u.secondary_phone ELSE r.secondary_phone END"""
"""The secondary phone after the row: absent from the file, as cell or as column, it goes, unless kept (R22)."""

COMPARED = "email, display_name, title, phone, secondary_phone"


def write_changes(planner: Planner, *, deferred: int, merged: int) -> dict[str, int]:
    """Make `changes` and answer the plan's counts.

    `adds_claim`: the file claims the person from now on. Whom the file does not lead keeps the attributes (R41).
    """
    after = _ATTRIBUTES if not planner.given.earlier_files else _ATTRIBUTES_OF_LEADER
    planner.make(
        "changes",
        """
        SELECT 0 AS line, 4 AS action, u.id AS user_id, g.external_id, u.email, u.display_name, u.title, u.phone,
               u.secondary_phone, u.email AS old_email, u.display_name AS old_display_name, u.title AS old_title,
               u.phone AS old_phone, u.secondary_phone AS old_secondary_phone, '[]' AS added, '[]' AS removed,
               '[]' AS was_in, '[]' AS stays_in,
               u.owner_source_id, u.owner_source_id AS old_owner_source_id, g.external_id AS old_external_id,
               false AS adds_claim
        FROM {gone} g JOIN users u ON u.tenant_id = {t} AND u.id = g.user_id
        UNION ALL
        SELECT 0, 7, u.id, d.external_id, u.email, u.display_name, u.title, u.phone, u.secondary_phone,
               u.email, u.display_name, u.title, u.phone, u.secondary_phone, '[]', coalesce(m.removed, '[]'), '[]',
               coalesce(m.stays_in, '[]'),
               CASE WHEN u.owner_source_id = {s} THEN d.heir_source_id ELSE u.owner_source_id END, u.owner_source_id,
               d.external_id, false
        FROM {dropped} d JOIN users u ON u.tenant_id = {t} AND u.id = d.user_id
        LEFT JOIN {moved} m ON m.user_id = d.user_id
        UNION ALL
        SELECT p.line, CASE p.state WHEN 'new' THEN 1 WHEN 'take_over' THEN 3 WHEN 'restore' THEN 5
                   WHEN 'rekey' THEN 6 ELSE 2 END,
               p.user_id, r.external_id,
               """
        + after
        + """,
               coalesce(u.email, ''), coalesce(u.display_name, ''), coalesce(u.title, ''), coalesce(u.phone, ''),
               coalesce(u.secondary_phone, ''), coalesce(d.added, '[]'), coalesce(d.removed, '[]'),
               coalesce(d.was_in, '[]'), coalesce(d.stays_in, '[]'),
               CASE WHEN p.leads THEN {s} ELSE u.owner_source_id END, coalesce(u.owner_source_id, 0),
               coalesce(k.old_external_id, ''), p.state IN ('new', 'take_over', 'restore', 'claim')
        FROM (
            SELECT line, user_id, state, leads FROM {people}
            WHERE state IN ('new', 'update', 'mail', 'take_over', 'restore', 'rekey', 'claim')
            UNION ALL
            SELECT o.line, o.user_id, o.state, o.leads FROM {people} o JOIN {moved} m ON m.user_id = o.user_id
            WHERE o.state = 'same'
        ) p JOIN {rows} r ON r.line = p.line
        LEFT JOIN users u ON u.tenant_id = {t} AND u.id = p.user_id
        LEFT JOIN {moved} d ON d.user_id = p.user_id
        LEFT JOIN {rekeyed} k ON k.line = p.line
        """,
    )
    return _counts(planner, deferred=deferred, merged=merged)


_COLUMNS = {
    "email": "r.email",
    "display_name": "r.display_name",
    "title": "coalesce(r.title, u.title, '')",
    "phone": f"coalesce({PHONE}, '')",
    "secondary_phone": f"coalesce({SECONDARY_PHONE}, '')",
}
_ATTRIBUTES = ", ".join(_COLUMNS.values())
_ATTRIBUTES_OF_LEADER = ", ".join(
    f"CASE WHEN p.leads THEN {expression} ELSE u.{name} END" for name, expression in _COLUMNS.items()
)


def _counts(planner: Planner, *, deferred: int, merged: int) -> dict[str, int]:
    sql = "SELECT action, count(*) FROM {changes} GROUP BY action".format(**planner.words)
    by_action = {int(action): int(count) for action, count in planner.connection.execute(text(sql))}
    rows = planner.count("rows") + planner.count("settled_rows")
    skipped = planner.look(
        """
        SELECT count(*) FROM {rows} r WHERE r.disposition = 2
          AND NOT EXISTS (SELECT 1 FROM {verdicts} v WHERE v.line = r.line)
          AND NOT EXISTS (SELECT 1 FROM {merged} m WHERE m.line = r.line)
        """
    )
    counts = {
        "rows": rows,
        "created": by_action.get(CREATE, 0),
        "updated": sum(by_action.get(action, 0) for action in (UPDATE, TAKE_OVER, RESTORE, REKEY)),
        "taken_over": by_action.get(TAKE_OVER, 0),
        "restored": by_action.get(RESTORE, 0),
        "rekeyed": by_action.get(REKEY, 0),
        "unchanged": 0,
        "skipped": skipped,
        "rejected": planner.count("verdicts"),
        "merged": merged,
        "deferred": deferred,
        "deleted": by_action.get(DELETE, 0),
        "claims_dropped": by_action.get(DROP_CLAIM, 0),
    }
    counts["unchanged"] = planner.count("people") - counts["created"] - counts["updated"] - deferred
    return counts


_SHOWN = "line, action, {user}, external_id, " + COMPARED + ", added, {removed}"
_USER = "CASE WHEN action = 1 THEN 0 ELSE user_id END"
_REMOVED = "CASE WHEN was_in = '[]' AND stays_in = '[]' THEN removed ELSE removed || was_in || stays_in END"

AS_SHOWN = _SHOWN.format(user=f"{_USER} AS user_id", removed=f"{_REMOVED} AS removed")
"""What a person is shown of a change; a user to come is known by the row's line, since ids are given anew.

Whom somebody else puts into a group meanwhile, or takes out of it, something else would happen to.
"""

REMEMBERED = _SHOWN.format(user="user_id", removed="removed")
"""The same, as it was shown before."""


def hash_changes(planner: Planner) -> str:
    """SHA-256 over the plan's list of changes."""
    return digest_of_changes(planner.dialect, planner.connection, planner.space.name("changes"))


def digest_of_changes(dialect: Dialect, connection: Connection, changes: str) -> str:
    """SHA-256 over the list of changes in plan order; blocks are joined and hashed by the database where it can."""
    row = f"{dialect.row_text}{_SHOWN.format(user=_USER, removed=_REMOVED)}{dialect.row_text_end}"
    digest = hashlib.sha256()
    if dialect.is_sqlite:
        found = connection.execute(text(f"SELECT {row} FROM {changes} ORDER BY line, user_id"))
        for partition in found.partitions(10_000):
            for (line,) in partition:
                digest.update(line.encode())
        return digest.hexdigest()
    found = connection.execute(
        text(f"""
        SELECT encode(sha256(convert_to(string_agg({row}, E'\\n' ORDER BY line, user_id), 'UTF8')), 'hex')
        FROM {changes} GROUP BY line / 20000 ORDER BY line / 20000
        """)
    )
    for (block,) in found:
        digest.update(block.encode())
    return digest.hexdigest()


def keep_as_shown(planner: Planner) -> None:
    """Remember the changes as they were shown, to compare with when someone approves (R8)."""
    planner.run("DROP TABLE IF EXISTS {shown}")
    planner.make("shown", f"SELECT {AS_SHOWN} FROM {{changes}}")


def changes_not_shown(planner: Planner) -> list[str]:
    """Name the people of this plan's changes that were not in the one that was shown, by UniqueID."""
    sql = (
        f"SELECT DISTINCT external_id FROM (SELECT {AS_SHOWN} FROM {{changes}}"
        f" EXCEPT SELECT {REMEMBERED} FROM {{shown}}) q ORDER BY external_id"
    )
    return list(planner.connection.execute(text(sql.format(**planner.words))).scalars())


def describe_fresh(external_ids: list[str]) -> str:
    """Say whose changes are new, the first few by name."""
    named = ", ".join(external_ids[:5])
    rest = len(external_ids) - 5
    people = "1 person" if len(external_ids) == 1 else f"{len(external_ids)} people"
    return f"changes of {people} ({named}{f' and {rest} more' if rest > 0 else ''})"
