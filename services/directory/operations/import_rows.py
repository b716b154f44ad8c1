"""Show a planned or held file row by row: what each row means, whether it is fine, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from sqlalchemy import RowMapping, bindparam, text
from sqlalchemy.engine import Connection
from sqlmodel import Session

from services.directory.operations.import_reads import Change, planned_changes
from services.directory.operations.imports import Imports, run_of, status_word
from services.directory.roster.space import StageSpace
from services.directory.rules.errors import RunState
from services.directory.store.tables import ImportRun, RunStatus

GREEN, YELLOW, RED = 1, 2, 3
CREATED, UPDATED, UNCHANGED, SKIPPED, REJECTED, MERGED, DEFERRED = 1, 2, 3, 4, 5, 6, 7

_VERDICT: Final = f"""CASE WHEN EXISTS (SELECT 1 FROM {{verdicts}} v WHERE v.line = {{row}}.line) THEN {RED}
    WHEN EXISTS (SELECT 1 FROM {{findings}} f WHERE f.line = {{row}}.line) THEN {YELLOW} ELSE {GREEN} END"""

_SENT: Final = f"""
    SELECT r.line, CASE WHEN r.external_id <> '' THEN r.external_id ELSE r.email END AS row_key, {{verdict}} AS verdict,
           CASE WHEN EXISTS (SELECT 1 FROM {{verdicts}} v WHERE v.line = r.line) THEN {REJECTED}
                WHEN EXISTS (SELECT 1 FROM {{merged}} m WHERE m.line = r.line) THEN {MERGED}
                WHEN r.disposition = 2 THEN {SKIPPED}
                WHEN EXISTS (SELECT 1 FROM {{people}} p WHERE p.line = r.line AND p.state = 'deferred') THEN {DEFERRED}
                WHEN EXISTS (SELECT 1 FROM {{changes}} c WHERE c.line = r.line AND c.action = 1) THEN {CREATED}
                WHEN EXISTS (SELECT 1 FROM {{changes}} c WHERE c.line = r.line) THEN {UPDATED}
                ELSE {UNCHANGED} END AS outcome
    FROM {{rows}} r WHERE r.line > :line"""
_SETTLED: Final = f"""
    SELECT k.line, coalesce(s.external_id, '') AS row_key, {{verdict}} AS verdict, {UNCHANGED} AS outcome
    FROM {{settled_rows}} k LEFT JOIN {{settled}} s ON s.line = k.line WHERE k.line > :line"""


@dataclass(frozen=True)
class Finding:
    """One thing wrong with a row, or to know about it, as import_issues has it."""

    line: int
    row_key: str
    severity: int
    code: str
    column_name: str
    masked_value: str
    message: str


@dataclass(frozen=True)
class ImportedRow:
    """One row of the file under the plan."""

    line: int
    key: str
    verdict: int
    outcome: int
    findings: list[Finding] = field(default_factory=list)
    change: Change | None = None


@dataclass(frozen=True)
class Totals:
    """How many rows of each verdict there are."""

    green: int
    yellow: int
    red: int


def list_rows(
    imports: Imports, tenant_id: int, run_id: int, *, verdict: int, after_line: int, limit: int
) -> tuple[list[ImportedRow], Totals | None]:
    """Read rows past a line, of one verdict (0: of any), by line; totals with the first of them only.

    Errors: NotFound, RunState.
    """
    with imports.store.read(tenant_id) as session:
        run = run_of(session, tenant_id, run_id)
    if run.status not in {RunStatus.PLANNED, RunStatus.HELD}:
        raise RunState(status=f"{status_word(run)}, and only the rows of a planned or held file can be looked at")
    space = imports.space(run_id)
    with imports.store.reading(tenant_id).connect() as connection, space.attached(connection):
        if not space.has_plan(connection):
            raise RunState(status=f"{status_word(run)}, and its plan was replaced by a newer one's")
        totals = _totals(space, connection) if after_line == 0 else None
        return _rows(space, connection, run, verdict=verdict, after_line=after_line, limit=limit), totals


def _rows(
    space: StageSpace, connection: Connection, run: ImportRun, *, verdict: int, after_line: int, limit: int
) -> list[ImportedRow]:
    kinds = [(_SENT, "r"), (_SETTLED, "k")] if space.has_settled(connection) else [(_SENT, "r")]
    found: list[RowMapping] = []
    for sql, row in kinds:
        whose = _VERDICT.replace("{row}", row)
        query = f"SELECT * FROM ({sql.replace('{verdict}', whose)}) q WHERE :verdict IN (0, q.verdict) "
        query = f"{query}ORDER BY q.line LIMIT :limit".format(**space.names)
        bound = {"line": after_line, "verdict": verdict, "limit": limit}
        found += connection.execute(text(query), bound).mappings()
    page = sorted(found, key=lambda each: int(each["line"]))[:limit]
    lines = [int(each["line"]) for each in page]
    findings = _findings(space, connection, lines)
    changes = planned_changes(Session(bind=connection), space, run.tenant_id, lines)
    return [_row(each, findings.get(each["line"], []), changes.get(each["line"])) for each in page]


def _row(found: RowMapping, findings: list[Finding], change: Change | None) -> ImportedRow:
    key = found["row_key"] or next((finding.row_key for finding in findings if finding.row_key), "")
    return ImportedRow(int(found["line"]), key, found["verdict"], found["outcome"], findings, change)


def _findings(space: StageSpace, connection: Connection, lines: Sequence[int]) -> dict[int, list[Finding]]:
    names = "line, row_key, severity, code, column_name, masked_value, message"
    by_line: dict[int, list[Finding]] = {}
    for each in _of_lines(connection, f"SELECT {names} FROM {space.name('findings')}", "line, severity, code", lines):
        by_line.setdefault(each["line"], []).append(Finding(**each))
    return by_line


def _of_lines(connection: Connection, select: str, order: str, lines: Sequence[int]) -> list[dict[str, Any]]:
    if not lines:
        return []
    clause = text(f"{select} WHERE line IN :lines ORDER BY {order}").bindparams(bindparam("lines", expanding=True))
    return [dict(each) for each in connection.execute(clause, {"lines": list(lines)}).mappings()]


def _totals(space: StageSpace, connection: Connection) -> Totals:
    """Count rows by verdict; a finding may also stand on the header's line, which is no row."""
    is_row = "EXISTS (SELECT 1 FROM {rows} r WHERE r.line = f.line)"
    is_settled = "EXISTS (SELECT 1 FROM {settled_rows} k WHERE k.line = f.line)"
    is_red = "EXISTS (SELECT 1 FROM {verdicts} v WHERE v.line = f.line)"
    sql = f"""
    SELECT (SELECT count(*) FROM {{rows}}) + (SELECT count(*) FROM {{settled_rows}}) AS every,
           (SELECT count(DISTINCT line) FROM {{verdicts}}) AS red,
           (SELECT count(DISTINCT f.line) FROM {{findings}} f
            WHERE ({is_row} OR {is_settled}) AND NOT {is_red}) AS yellow
    """
    found = connection.execute(text(sql.format(**space.names))).mappings().one()
    return Totals(green=found["every"] - found["yellow"] - found["red"], yellow=found["yellow"], red=found["red"])
