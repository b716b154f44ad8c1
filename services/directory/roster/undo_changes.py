"""Show what an undo would put back and whom it leaves out: changes and findings, as those of an import are shown."""

from __future__ import annotations

from typing import Final

from sqlalchemy import text

from services.directory.roster.plan_changes import AS_SHOWN, DELETE, REMEMBERED, RESTORE, UPDATE
from services.directory.roster.plan_findings import masked
from services.directory.roster.run_events import COLUMNS
from services.directory.roster.stage_sql import StageSql

CHANGED_SINCE: Final = "changed_since"
"""The word of the warning that names whom an undo leaves out."""


def write_changes(undo: StageSql) -> None:
    """Show deletions first, then the others by key, as an import's changes are shown."""

    def listed(condition: str) -> str:
        return f"""(
            SELECT user_id, {undo.dialect.id_list("p.group_id")} AS list FROM (
                SELECT DISTINCT user_id, group_id FROM {{places}} WHERE {condition} ORDER BY user_id, group_id) p
            GROUP BY user_id)"""

    anyway = """EXISTS (SELECT 1 FROM memberships o WHERE o.tenant_id = {t} AND o.group_id = {places}.group_id
                        AND o.user_id = {places}.user_id AND o.origin_source_id <> {s})"""

    columns = ", ".join(f"t.{column}" for column in (*COLUMNS, *(f"old_{column}" for column in COLUMNS)))
    undo.make(
        "changes",
        f"""
        SELECT CASE t.action WHEN {DELETE} THEN 0 ELSE row_number() OVER (
                   ORDER BY t.action = {DELETE}, t.external_id, t.user_id) END AS line,
               t.action, t.user_id, t.external_id, {columns},
               CASE WHEN t.action <> {DELETE} THEN coalesce(a.list, '[]') ELSE '[]' END AS added,
               CASE WHEN t.action <> {DELETE} THEN coalesce(r.list, '[]') ELSE '[]' END AS removed,
               coalesce(w.list, '[]') AS was_in, coalesce(s.list, '[]') AS stays_in
        FROM {{turning}} t
        LEFT JOIN {listed("is_added AND NOT is_lost")} a ON a.user_id = t.user_id
        LEFT JOIN {listed("NOT is_added")} r ON r.user_id = t.user_id
        LEFT JOIN {listed(f"is_added AND NOT is_lost AND {anyway}")} w ON w.user_id = t.user_id
        LEFT JOIN {listed(f"NOT is_added AND {anyway}")} s ON s.user_id = t.user_id
        """,
    )


def write_findings(undo: StageSql) -> None:
    """Name everybody who is left out, and the groups to which somebody cannot return."""
    key, former = (undo.dialect.json_value(f"t.{side}", "external_id") for side in ("after", "before"))
    name = f"coalesce({key}, {former}, c.external_id, o.email)"
    mail = undo.dialect.json_value("t.before", "email")
    claim = """LEFT JOIN (
            SELECT user_id, min(external_id) AS external_id FROM claims WHERE tenant_id = {t} AND source_id = {s}
            GROUP BY user_id
        ) c ON c.user_id = t.user_id"""
    undo.make(
        "findings",
        f"""
        SELECT CAST(0 AS bigint) AS line, {name} AS row_key, 2 AS severity, '{CHANGED_SINCE}' AS code,
               CASE k.code WHEN 'mail' THEN 'Mail' WHEN 'key' THEN 'UniqueID' ELSE '' END AS column_name,
               CASE k.code WHEN 'mail' THEN {masked(f"coalesce({mail}, o.email)")}
                           WHEN 'key' THEN {masked(name)} ELSE '' END AS masked_value,
               CASE k.code
                   WHEN 'mail' THEN 'Somebody else has the mail address of before the run; the person stays as now.'
                   WHEN 'key' THEN 'Somebody else has the key of before the run; the person stays as now.'
                   ELSE 'Somebody has changed the person since the run; the person stays as now.' END AS message
        FROM {{turned}} t JOIN users o ON o.tenant_id = {{t}} AND o.id = t.user_id {claim}
        LEFT JOIN {{stuck}} k ON k.user_id = t.user_id
        WHERE t.user_id NOT IN (SELECT user_id FROM {{turning}})
        UNION ALL
        SELECT 0, p.external_id, 2, '{CHANGED_SINCE}', 'Groups', '',
               'A group of the person was deleted, moved or changed since the run; the person does not return to it.'
        FROM {{turning}} p WHERE p.user_id IN (SELECT user_id FROM {{places}} WHERE is_lost)
        """,
    )


def count_changes(undo: StageSql) -> dict[str, int]:
    """Count what is put back, in an import's words; `rows` are the updated (R46)."""
    found = undo.connection.execute(text("SELECT action, count(*) FROM {changes} GROUP BY action".format(**undo.words)))
    by_action = {int(action): int(count) for action, count in found}
    restored = by_action.get(RESTORE, 0)
    updated = by_action.get(UPDATE, 0) + restored
    return {"rows": updated, "updated": updated, "restored": restored, "deleted": by_action.get(DELETE, 0)}


def keep_as_shown(undo: StageSql) -> None:
    """Remember the changes as they were shown, to compare with when someone applies the undo (R8)."""
    undo.run("DROP TABLE IF EXISTS {shown}")
    undo.make("shown", f"SELECT {AS_SHOWN} FROM {{changes}}")


def changes_not_shown(undo: StageSql) -> list[str]:
    """Name the people of this plan's changes that were not in the one that was shown, by UniqueID; lines may differ."""
    today, before = (columns.removeprefix("line, ") for columns in (AS_SHOWN, REMEMBERED))
    sql = (
        f"SELECT DISTINCT external_id FROM (SELECT {today} FROM {{changes}}"
        f" EXCEPT SELECT {before} FROM {{shown}}) q ORDER BY external_id"
    )
    return list(undo.connection.execute(text(sql.format(**undo.words))).scalars())
