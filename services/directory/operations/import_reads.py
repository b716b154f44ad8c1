"""Read runs, their issues, and their changes: planned ones from the stage, made ones from the events."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import JSON, BigInteger, RowMapping, String, bindparam, column, text
from sqlmodel import Session, col, select

from services.directory.operations.import_inputs import last_apply_of
from services.directory.operations.import_moves import Moves, Places, made_moves, planned_moves
from services.directory.operations.imports import (
    Imports,
    is_at_rest,
    require_staging,
    run_of,
    source_of,
    status_word,
)
from services.directory.roster import settled_rows
from services.directory.roster.space import StageSpace
from services.directory.rules.errors import RunState
from services.directory.store.tables import Group, ImportIssue, ImportRun, RunStatus

WATCH_EVERY_S = 0.05
ACTION_OF_KIND = {
    "user.created": 1,
    "user.updated": 2,
    "user.taken_over": 3,
    "user.deleted": 4,
    "user.restored": 5,
    "user.rekeyed": 6,
    "user.claim_dropped": 7,
}
_PERSON_EVENT = (
    column("position", BigInteger),
    column("kind", String),
    column("resource_id", BigInteger),
    column("before", JSON),
    column("after", JSON),
    column("email", String),
    column("display_name", String),
    column("external_id", String),
)
FIELDS = ("email", "display_name", "title", "phone", "secondary_phone")


@dataclass(frozen=True)
class Change:
    """What happens, or happened, to one person; `key` is where the next page begins."""

    key: tuple[int, int]
    line: int
    action: int
    user_id: int
    """0 for a person who does not exist yet."""
    external_id: str
    email: str
    display_name: str
    fields: list[tuple[str, str, str]]
    """Name, before, after of each field that differs."""
    places: Places = field(default_factory=Places)


def settled_hashes(imports: Imports, tenant_id: int, run_id: int) -> Iterator[bytes]:
    """Yield the hashes of rows of the run's source that need not be sent, a page at a time. Errors: RunState."""
    require_staging(imports, tenant_id, run_id)
    with imports.store.read(tenant_id) as session:
        run = run_of(session, tenant_id, run_id)
        last = last_apply_of(session, source_of(session, tenant_id, run.source_id))
        yield from settled_rows.settled_hashes(session.connection(), tenant_id, run.source_id, last)


def get_run(session: Session, tenant_id: int, run_id: int) -> ImportRun:
    """Read one run. Errors: NotFound."""
    return run_of(session, tenant_id, run_id)


def list_runs(session: Session, tenant_id: int, source_id: int, *, before_id: int, limit: int) -> list[ImportRun]:
    """Read a source's runs below `before_id` (0: from the newest on), newest first."""
    query = select(ImportRun).where(ImportRun.tenant_id == tenant_id, ImportRun.source_id == source_id)
    if before_id:
        query = query.where(col(ImportRun.id) < before_id)
    return list(session.exec(query.order_by(col(ImportRun.id).desc()).limit(limit)))


def list_issues(
    session: Session, tenant_id: int, run_id: int, *, severity: int, after_number: int, limit: int
) -> list[ImportIssue]:
    """Read a run's issues past `after_number`, by line. Errors: NotFound."""
    run_of(session, tenant_id, run_id)
    query = select(ImportIssue).where(
        ImportIssue.tenant_id == tenant_id, ImportIssue.run_id == run_id, col(ImportIssue.number) > after_number
    )
    if severity:
        query = query.where(ImportIssue.severity == severity)
    return list(session.exec(query.order_by(col(ImportIssue.number)).limit(limit)))


def watch_run(imports: Imports, tenant_id: int, run_id: int) -> Iterator[tuple[ImportRun, int]]:
    """Yield the run and how many people have been written whenever either changes, until it is at rest."""
    seen: tuple[int, int, int] | None = None
    while True:
        with imports.store.read(tenant_id) as session:
            run = run_of(session, tenant_id, run_id)
        rows = imports.progress.of(run_id)
        now = (run.status, run.revision, rows)
        if now != seen:
            seen = now
            yield run, rows
        if is_at_rest(run):
            return
        imports.wait(WATCH_EVERY_S)


def list_changes(
    imports: Imports, tenant_id: int, run_id: int, *, action: int, after: tuple[int, int], limit: int
) -> list[Change]:
    """Read a run's changes past the key `after`: deletions first, then by line; an applied run's in event order.

    Errors: NotFound; RunState when the run never had a plan, or its plan is gone.
    """
    with imports.store.read(tenant_id) as session:
        run = run_of(session, tenant_id, run_id)
    if run.status in {RunStatus.APPLIED, RunStatus.APPLYING, RunStatus.UNDONE}:
        with imports.store.read(tenant_id) as session:
            return _made(session, run, action=action, after=after, limit=limit)
    if run.status not in {RunStatus.PLANNED, RunStatus.HELD}:
        return []
    return _planned(imports, run, action=action, after=after, limit=limit)


def _planned(imports: Imports, run: ImportRun, *, action: int, after: tuple[int, int], limit: int) -> list[Change]:
    space = imports.space(run.id)
    with imports.store.reading(run.tenant_id).connect() as connection, space.attached(connection):
        if not space.has_plan(connection):
            raise RunState(status=f"{status_word(run)}, and its plan was replaced by a newer one's")
        found = connection.execute(
            text(f"""
            SELECT * FROM {space.name("changes")}
            WHERE (line > :line OR (line = :line AND user_id > :user)) AND (:action = 0 OR action = :action)
            ORDER BY line, user_id LIMIT :limit
            """),
            {"line": after[0], "user": after[1], "action": action, "limit": limit},
        ).mappings()
        rows = list(found)
        groups = _group_names(Session(bind=connection), run.tenant_id, rows, imports.space(run.id).name("new_groups"))
        return [_planned_change(row, groups) for row in rows]


def planned_changes(session: Session, space: StageSpace, tenant_id: int, lines: Sequence[int]) -> dict[int, Change]:
    """Read what a plan would change by these rows of its file, by line; its stage must be attached."""
    if not lines:
        return {}
    clause = text(f"SELECT * FROM {space.name('changes')} WHERE line IN :lines")
    clause = clause.bindparams(bindparam("lines", list(lines), expanding=True))
    rows = list(session.connection().execute(clause).mappings())
    groups = _group_names(session, tenant_id, rows, space.name("new_groups"))
    return {int(row["line"]): _planned_change(row, groups) for row in rows}


def _planned_change(row: RowMapping, groups: dict[int, str]) -> Change:
    is_delete = row["action"] == 4
    fields = [
        (name, row[f"old_{name}"], "" if is_delete else row[name])
        for name in FIELDS
        if is_delete or row[name] != row[f"old_{name}"]
    ]
    return Change(
        key=(row["line"], row["user_id"]),
        line=row["line"],
        action=row["action"],
        user_id=0 if row["action"] == 1 else row["user_id"],
        external_id=row["external_id"],
        email=row["email"],
        display_name=row["display_name"],
        fields=[] if is_delete else fields,
        places=planned_moves(row).named(groups),
    )


def _group_names(session: Session, tenant_id: int, rows: list[RowMapping], new_groups: str) -> dict[int, str]:
    numbers = {number for row in rows for number in planned_moves(row).groups}
    names = _names_of(session, tenant_id, numbers)
    if numbers - names.keys():
        found = session.connection().execute(text(f"SELECT id, external_id FROM {new_groups}"))
        names.update({int(number): name for number, name in found})
    return names


def _names_of(session: Session, tenant_id: int, numbers: set[int]) -> dict[int, str]:
    query = select(Group.id, Group.display_name).where(Group.tenant_id == tenant_id, col(Group.id).in_(numbers))
    return dict(session.exec(query).all())


def _made(session: Session, run: ImportRun, *, action: int, after: tuple[int, int], limit: int) -> list[Change]:
    """Read what an applied run did from its events: a person has one user.* event and at most two of memberships."""
    kinds = [kind for kind, number in ACTION_OF_KIND.items() if action in {0, number}]
    people = list(
        session.connection()
        .execute(
            text("""
            SELECT e.position, e.kind, e.resource_id, e.before, e.after, u.email, u.display_name, c.external_id
            FROM events e JOIN users u ON u.tenant_id = e.tenant_id AND u.id = e.resource_id
            LEFT JOIN claims c ON c.tenant_id = e.tenant_id AND c.user_id = e.resource_id AND c.source_id + 0 = :source
            WHERE e.tenant_id = :t AND e.xid = :xid AND e.position > :after AND e.run_id = :run
              AND e.kind IN :kinds
            ORDER BY e.position LIMIT :limit
            """)
            .bindparams(bindparam("kinds", kinds, expanding=True))
            .columns(*_PERSON_EVENT),
            {
                "t": run.tenant_id,
                "run": run.id,
                "source": run.source_id,
                "xid": run.applied_xid,
                "after": max(after[1], run.applied_position),
                "limit": limit,
            },
        )
        .mappings()
    )
    moves = made_moves(session, run, [row["resource_id"] for row in people])
    names = _names_of(session, run.tenant_id, {number for each in moves.values() for number in each.groups})
    return [_made_change(row, moves.get(row["resource_id"], Moves()), names) for row in people]


def _made_change(row: RowMapping, moves: Moves, names: dict[int, str]) -> Change:
    before: dict[str, Any] = row["before"] or {}
    after: dict[str, Any] = row["after"] or {}
    action = ACTION_OF_KIND[row["kind"]]
    person = before if action in {4, 7} else {}
    return Change(
        key=(0, row["position"]),
        line=0,
        action=action,
        user_id=row["resource_id"],
        external_id=person.get("external_id") or row["external_id"] or (before | after).get("external_id", ""),
        email=person.get("email") or row["email"],
        display_name=person.get("display_name") or row["display_name"],
        fields=[]
        if action == 4
        else [(name, before.get(name, ""), after.get(name, "")) for name in FIELDS if name in before or name in after],
        places=moves.named(names),
    )
