"""Let the SQL engine speak the reference model's values: a register in, a plan out, a register back."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from zlib import crc32

from muster.directory.v1 import imports_pb2
from sqlalchemy import text
from sqlalchemy.engine import Connection, RowMapping
from sqlmodel import Session

from services.directory.roster import limits as engine_limits
from services.directory.roster import planner as engine_planner
from services.directory.roster import stage as engine_stage
from services.directory.roster.applier import ApplyInput
from services.directory.roster.apply import apply_plan
from services.directory.roster.plan import make_plan
from services.directory.roster.planner import LastApply
from services.directory.roster.settled_rows import RowsWantedError, settled_hashes
from services.directory.roster.space import StageSpace
from services.directory.rules.leaving import RESTORABLE_FOR
from services.directory.store import ids
from services.directory.store.events import Cursor, basis, transaction_id
from services.directory.store.session import Lock, Store
from services.importer.row_block import GROUP_SEPARATOR, Row, import_block
from tests.integration.roster.seeding import Seeded, read_register, read_row_hashes, seed
from tests.reference.values import (
    Action,
    Change,
    Counts,
    Deletions,
    Disposition,
    FileFacts,
    Group,
    Issue,
    Plan,
    Register,
    StagedRow,
)

NOW = datetime(2026, 3, 2, 2, tzinfo=UTC)
_DISPOSITIONS = {
    Disposition.ACCEPTED: imports_pb2.ROW_DISPOSITION_ACCEPTED,
    Disposition.SKIPPED: imports_pb2.ROW_DISPOSITION_SKIPPED,
    Disposition.REJECTED: imports_pb2.ROW_DISPOSITION_REJECTED,
}
_ACTIONS = {
    1: Action.CREATE,
    2: Action.UPDATE,
    3: Action.TAKE_OVER,
    4: Action.DELETE,
    5: Action.RESTORE,
    6: Action.REKEY,
    7: Action.DROP_CLAIM,
}
_FIELDS = ("email", "display_name", "title", "phone", "secondary_phone")
_runs = itertools.count(1)


@dataclass(frozen=True)
class Run:
    """One file on its way into a tenant of its own."""

    register: Register
    source: str
    file: FileFacts
    seeded: Seeded
    space: StageSpace
    given: engine_planner.PlanInput


class SqlEngine:
    """Plans and applies by the directory's own code; each plan in a new tenant of one database."""

    def __init__(self, store: Store, folder: Path, *, block_rows: int = 5_000) -> None:
        self.store = store
        self.folder = folder
        self.block_rows = block_rows
        self._planned: tuple[Plan, Run, str] | None = None
        self.applied: tuple[Run, Cursor, Cursor] | None = None
        """The newest run that was applied, where its events begin, and from where on others are newer."""
        self._row_hashes: dict[tuple[str, str], str] = {}
        """What the last apply kept with each claim, by source and UniqueID, for the next plan's tenant."""
        self.settled = 0
        """How many rows of the newest plan were sent as settled."""

    def plan(
        self,
        register: Register,
        source: str,
        rows: Iterable[StagedRow],
        file: FileFacts | None = None,
        *,
        deletions: Deletions = Deletions.APPLY,
        spares_settled_rows: bool = False,
    ) -> Plan:
        """Answer what `plan_import` answers, but for what only the model keeps (present, missed, left_out).

        With `spares_settled_rows` rows that the last apply settled are sent by their hashes, unless all are wanted.
        """
        self.forget()
        file = file or FileFacts()
        seeded = seed(self.store, register, now=NOW, row_hashes=self._row_hashes if spares_settled_rows else {})
        given = _plan_input(seeded, register, source, file, deletions)
        if spares_settled_rows:
            given = replace(given, last_apply=LastApply(-1, self._basis()))
        run = Run(register, source, file, seeded, StageSpace(self.store, next(_runs), self.folder), given)
        in_order = sorted(rows, key=lambda row: row.line)
        settled = self._settled_hashes(run)
        self.settled = sum(hash_of(row) in settled for row in in_order)
        self._stage(run.space, in_order, settled)
        try:
            plan, shown_hash = self._make(run)
        except RowsWantedError:
            self.settled = 0
            self._stage(run.space, in_order, frozenset())
            plan, shown_hash = self._make(run)
        self._planned = plan, run, shown_hash
        return plan

    def _make(self, run: Run) -> tuple[Plan, str]:
        with self.store.reading(run.given.tenant_id).connect() as connection, run.space.attached(connection):
            made = make_plan(engine_planner.Planner(run.space, connection, run.given, self._reserve_apart))
            plan = _read_plan(connection, run, made)
            connection.commit()
        return plan, made.hash

    def _basis(self) -> Cursor:
        with self.store.write(None) as session:
            return basis(session)

    def _settled_hashes(self, run: Run) -> frozenset[bytes]:
        given = run.given
        with self.store.reading(given.tenant_id).connect() as connection:
            pages = settled_hashes(connection, given.tenant_id, given.source_id, given.last_apply)
            joined = b"".join(pages)
        return frozenset(joined[place : place + 16] for place in range(0, len(joined), 16))

    def apply(self, register: Register, plan: Plan) -> Register:
        """Answer what `apply_plan` answers; the plan must be the newest one."""
        assert self._planned is not None
        newest, run, shown_hash = self._planned
        assert newest is plan
        with self._transaction(run) as connection:

            def reserve_ids(name: str, count: int) -> list[int]:
                return ids.reserve_ids(connection, name, count)

            session = Session(bind=connection)
            since = basis(session)
            self.applied = run, (transaction_id(session), since[1]), since
            made = make_plan(engine_planner.Planner(run.space, connection, run.given, reserve_ids))
            assert made.hash == shown_hash, "the same plan again has another hash"
            order = ApplyInput(
                given=run.given,
                run_id=run.space.run_id,
                now=NOW,
                counts=made.counts,
                reserve_ids=reserve_ids,
                progress=lambda _: None,
            )
            apply_plan(run.space, connection, order)
        after = read_register(self.store, run.seeded, register)
        self._row_hashes = read_row_hashes(self.store, run.seeded)
        source = replace(
            register.sources[plan.source],
            applied_runs=register.sources[plan.source].applied_runs + 1,
            last_timestamp=plan.file.newest_timestamp,
        )
        return replace(after, sources={**register.sources, plan.source: source})

    @property
    def planned_run(self) -> Run:
        """The run of the newest plan."""
        assert self._planned is not None
        return self._planned[1]

    def forget(self) -> None:
        """Drop the newest plan's stage."""
        if self._planned is not None:
            self._planned[1].space.drop()
            self._planned = None

    def _stage(self, space: StageSpace, rows: Sequence[StagedRow], settled: frozenset[bytes]) -> None:
        blocks = [
            block_of(block, settled)
            for block in (rows[start : start + self.block_rows] for start in range(0, len(rows), self.block_rows))
        ]
        checksum = 0
        for block in blocks:
            checksum = crc32("".join(f"{external_id}\n" for external_id in block.external_ids).encode(), checksum)
            checksum = crc32(block.settled_hashes, checksum)
        end = imports_pb2.ImportEnd(row_count=len(rows), checksum=checksum)
        engine_stage.stage_rows(space, iter(blocks), lambda: end)

    def _reserve_apart(self, name: str, count: int) -> list[int]:
        with self.store.write(None, wait_s=10) as session:
            return ids.reserve_ids(session.connection(), name, count)

    @contextmanager
    def _transaction(self, run: Run) -> Iterator[Connection]:
        engine = self.store.writing(run.given.tenant_id, lock=Lock.EXCLUSIVE)
        with engine.connect() as connection, run.space.attached(connection):
            yield connection
            connection.commit()


def block_of(rows: Sequence[StagedRow], settled: frozenset[bytes]) -> imports_pb2.ImportBlock:
    whole = [row for row in rows if hash_of(row) not in settled]
    spared = [(row.line, hash_of(row)) for row in rows if hash_of(row) in settled]
    return import_block([_row(row) for row in whole], spared, [issue for row in whole for issue in _issues(row)])


def _row(row: StagedRow) -> Row:
    return Row(
        line=row.line,
        disposition=_DISPOSITIONS[row.disposition],
        external_id=row.external_id,
        email=row.email,
        display_name=row.display_name,
        title=row.title,
        phone=row.phone,
        secondary_phone=row.secondary_phone,
        group_external_ids=None if row.groups is None else GROUP_SEPARATOR.join(row.groups),
        digest=row.digest,
        row_hash=hash_of(row),
    )


def hash_of(row: StagedRow) -> bytes:
    """Hash what the row says, wherever it stands."""
    return blake2b(repr(replace(row, line=0)).encode(), digest_size=16).digest()


def _issues(row: StagedRow) -> list[imports_pb2.ImportIssue]:
    rejected = [(imports_pb2.ISSUE_SEVERITY_REJECTED, row.rejected_for)] if row.rejected_for else []
    found = rejected + [(imports_pb2.ISSUE_SEVERITY_WARNING, code) for code in row.warnings]
    return [
        imports_pb2.ImportIssue(line=row.line, key=row.external_id, severity=severity, code=code)
        for severity, code in found
    ]


def _plan_input(
    seeded: Seeded, register: Register, source: str, file: FileFacts, deletions: Deletions
) -> engine_planner.PlanInput:
    settings = register.sources[source]
    account = settings.account
    in_order = sorted(register.sources, key=lambda name: (register.sources[name].position, seeded.sources[name]))
    files = [seeded.sources[name] for name in in_order if not register.sources[name].is_scim]
    return engine_planner.PlanInput(
        tenant_id=seeded.tenant_id,
        source_id=seeded.sources[source],
        linked_account_id=seeded.accounts[account] if account else 0,
        linked_group_id=seeded.groups[register.accounts[account]] if account else 0,
        create_unknown_groups=settings.creates_unknown_groups,
        keep_primary_phone=settings.keep_primary_phone,
        keep_secondary_phone=settings.keep_secondary_phone,
        has_secondary_phone_column=file.has_secondary_phone_column,
        skip_means_freeze=settings.skip_freezes,
        grace_nights=settings.grace_nights,
        seats_total=register.seats_total,
        seats_used=sum(user.active for user in register.users.values()),
        leave_deletions_out=deletions is Deletions.LEAVE_OUT,
        restorable_since=NOW - RESTORABLE_FOR,
        earlier_files=tuple(files[: files.index(seeded.sources[source])]),
        later_files=tuple(files[files.index(seeded.sources[source]) + 1 :]),
        has_connections=any(other.is_scim for other in register.sources.values()),
    )


def _read_plan(connection: Connection, run: Run, made: engine_planner.Plan) -> Plan:
    ids_of_new_groups = {
        f"new:{row['external_id']}": row["id"]
        for row in _rows(connection, f"SELECT external_id, id FROM {run.space.name('new_groups')}")
    }
    linked_account = run.register.sources[run.source].account or ""
    new_groups = {name: Group(linked_account, name.removeprefix("new:"), run.source) for name in ids_of_new_groups}
    group_names = {number: name for name, number in ({**run.seeded.groups, **ids_of_new_groups}).items()}
    status, reason = _verdict(run, made)
    changes = [
        _change(row, run, group_names) for row in _rows(connection, f"SELECT * FROM {run.space.name('changes')}")
    ]
    issues = [
        Issue(row["line"], row["severity"] == imports_pb2.ISSUE_SEVERITY_REJECTED, row["code"])
        for row in _rows(connection, f"SELECT line, severity, code FROM {run.space.name('findings')}")
    ]
    return Plan(
        source=run.source,
        file=run.file,
        status=status,
        reason=reason,
        counts=Counts(**made.counts),
        changes=tuple(sorted(changes, key=lambda change: (change.line, change.user))),
        issues=tuple(sorted(issues)),
        new_groups=new_groups,
        present=frozenset(),
        missed={},
        left_out=frozenset(),
    )


def _rows(connection: Connection, query: str) -> Sequence[RowMapping]:
    return connection.execute(text(query)).mappings().all()


def _change(row: RowMapping, run: Run, group_names: Mapping[int, str]) -> Change:
    action = _ACTIONS[row["action"]]
    fields = {field: (row[f"old_{field}"], row[field]) for field in _FIELDS if row[f"old_{field}"] != row[field]}
    added, removed, was_in, stays_in = (
        frozenset(group_names[int(number)] for number in row[name].strip("[]").split(",") if number)
        for name in ("added", "removed", "was_in", "stays_in")
    )
    joins, leaves = added - was_in, removed - stays_in
    user_id, external_id = row["user_id"], row["external_id"]
    name = run.seeded.user_names.get(user_id) or run.seeded.name_newcomer(user_id, external_id, run.register)
    owner = "" if action is Action.DELETE else run.seeded.source_name(row["owner_source_id"])
    return Change(action, name, external_id, row["line"], fields, joins, leaves, was_in, stays_in, owner)


def _verdict(run: Run, made: engine_planner.Plan) -> tuple[str, str]:
    settings = run.register.sources[run.source]
    given = engine_limits.LimitInput(
        limits=asdict(settings.limits),
        is_first_applied=settings.applied_runs == 0,
        newest_timestamp=run.file.newest_timestamp,
        last_applied_timestamp=settings.last_timestamp,
    )
    if refused := engine_limits.too_many_rejects(made, given):
        return "refused", refused.reason
    held = engine_limits.first_limit_passed(made, given)
    return ("held", held.reason) if held else ("planned", "")
