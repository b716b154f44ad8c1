"""Reject or merge rows that say one thing twice: one UniqueID (R17), one mail (R19)."""

from __future__ import annotations

from services.directory.roster import settled_rows
from services.directory.roster.planner import Planner


def merge_repeated_ids(planner: Planner) -> int:
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


def reject_shared_mails(planner: Planner, *, settled: int) -> None:
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
