"""One tenant's nights without a server in between: rows staged, planned and applied by the operations themselves."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime
from hashlib import blake2b

from muster.directory.v1 import imports_pb2
from sqlalchemy import text

from services.directory.operations import (
    import_applies,
    import_openings,
    import_plans,
    import_reads,
    import_stages,
    imports,
    unchanged_files,
)
from services.directory.operations.replay import Attempt
from services.directory.operations.tenants import NewTenant, create_tenant
from services.directory.roster.stage import stage_rows
from services.directory.store import ids
from services.directory.store.events import Actor
from services.directory.store.seal import Seal
from services.directory.store.tables import ImportRun, Source, SourceState
from services.importer.row_block import GROUP_SEPARATOR, Row, import_block

SOMEBODY = Actor("somebody")
SEATS = 100


class Clock:
    """A time that stands still until it is told to go on."""

    def __init__(self):
        self._now = datetime(2026, 11, 21, 2, 0, tzinfo=UTC)

    def __call__(self):
        return self._now

    def tick(self, by):
        self._now += by


class Night:
    """One tenant with one enabled source, and runs of it.

    A person is `anna`, `anna/Anna Berg` with another name, `bo@anna` with her mail, `bo@alder.net` with one at another
    domain, `anna:7` with a phone (`anna:` with an empty cell), or `anna+CREW,STAFF` with groups (`anna+` likewise).
    """

    def __init__(self, store, folder, clock):
        self.imports = imports.Imports(store, folder, clock=clock)
        self.store = store
        with store.write(None) as session:
            tenant = create_tenant(session, NewTenant("Alder", SEATS), actor=SOMEBODY, now=clock())
            self.tenant_id, self.account_id = tenant.id, tenant.main_account_id
        with store.write(self.tenant_id) as session:
            self.source_id = ids.next_id(session, "source")
            session.add(
                Source(
                    tenant_id=self.tenant_id,
                    id=self.source_id,
                    display_name="file",
                    state=SourceState.ENABLED,
                    account_id=self.account_id,
                    create_time=clock(),
                )
            )

    def plan(self, *people, dry_run=False, **rows):
        """Open a run, stage its rows and plan it; `settled` people travel by their hashes."""
        return self.plan_again(self.open(dry_run=dry_run), *people, **rows)

    def open(self, *, dry_run=False):
        """Open a run; answers its id."""
        opened = []
        import_openings.create_run(
            self.imports,
            Seal(b"s" * 32),
            self.tenant_id,
            self.source_id,
            dry_run=dry_run,
            actor=SOMEBODY,
            attempt=Attempt("test", "", b""),
            answer=lambda run: (opened.append(run.id), imports_pb2.CreateImportRunResponse())[1],
        )
        return opened[0]

    def find_unchanged(self, *people, reading="01"):
        """Say that the file with these people is there again; answers the run, or None when it is to be imported."""
        recorded = []
        unchanged_files.record_unchanged_file(
            self.imports,
            Seal(b"s" * 32),
            self.tenant_id,
            self.source_id,
            file=file_with(people, reading=reading),
            actor=SOMEBODY,
            attempt=Attempt("test", "", b""),
            answer=lambda run: (recorded.append(run.id), imports_pb2.RecordUnchangedFileResponse())[1],
        )
        if not recorded:
            return None
        with self.store.read(self.tenant_id) as session:
            return session.get(ImportRun, (self.tenant_id, recorded[0]))

    def plan_again(self, run_id, *people, settled=(), warned=(), rejected=(), noticed=(), newest_timestamp=None):
        """Stage rows for an open run, and plan it."""
        lines = dict(zip(people, range(2, 2 + len(people)), strict=True))
        rows = [_row(line, person, is_rejected=person in rejected) for person, line in lines.items()]
        block = import_block(
            [row for row, person in zip(rows, people, strict=True) if person not in settled],
            [(lines[person], hash_of(person)) for person in people if person in settled],
            [_issue(lines[person], "phone_national", 2) for person in warned]
            + [_issue(lines[person], "name_missing", 1) for person in rejected]
            + [imports_pb2.ImportIssue(line=1, code=code, severity=2) for code in noticed],
        )
        checksum = zlib.crc32("".join(f"{external_id}\n" for external_id in block.external_ids).encode())
        end = imports_pb2.ImportEnd(row_count=len(rows), checksum=zlib.crc32(block.settled_hashes, checksum))
        staged = stage_rows(self.imports.space(run_id), [block], lambda: end)
        import_stages.finish_staging(
            self.imports, self.tenant_id, run_id, staged, file=file_with(people), newest_timestamp=newest_timestamp
        )
        return import_plans.plan_run(self.imports, self.tenant_id, run_id)

    def settled_hashes(self, run_id):
        """What a run need not send."""
        joined = b"".join(import_reads.settled_hashes(self.imports, self.tenant_id, run_id))
        return {joined[place : place + 16] for place in range(0, len(joined), 16)}

    def start(self, run, *, leave_deletions_out=False):
        return import_applies.start_apply(
            self.imports,
            self.tenant_id,
            run.id,
            plan_hash=run.plan_hash,
            leave_deletions_out=leave_deletions_out,
            actor=SOMEBODY,
        )

    def apply(self, run, **decision):
        self.start(run, **decision)
        import_applies.apply_run(self.imports, self.tenant_id, run.id)
        return self.read(run)

    def read(self, run):
        with self.store.read(self.tenant_id) as session:
            return session.get(ImportRun, (self.tenant_id, run.id))

    def staged(self, run):
        space = self.imports.space(run.id)
        if self.store.is_sqlite:
            return space.file.exists()
        with self.store.engine.connect() as connection:
            return space.exists(connection)

    def in_stage(self, run, statement):
        space = self.imports.space(run.id)
        with self.store.engine.connect() as connection, space.attached(connection):
            connection.execute(text(statement.format(**space.names)))
            connection.commit()


def file_with(people, *, reading="01"):
    """What the importer says of a file before it is read."""
    return {"file_name": "users.csv", "sha256": blake2b("|".join(people).encode()).hexdigest(), "reading": reading}


def hash_of(person):
    """Hash a person's row."""
    return blake2b(person.encode(), digest_size=16).digest()


def _row(line, person, *, is_rejected):
    row_hash = hash_of(person)
    person, has_groups, groups = person.partition("+")
    who, _, display_name = person.partition("/")
    who, has_phone, phone = who.partition(":")
    name, _, mailbox = who.partition("@")
    email = f"{name}@{mailbox}" if "." in mailbox else f"{mailbox or name}@example.org"
    return Row(
        line,
        imports_pb2.ROW_DISPOSITION_REJECTED if is_rejected else imports_pb2.ROW_DISPOSITION_ACCEPTED,
        external_id=f"EMPLOYEE-{name}",
        email=email,
        display_name=display_name or name,
        title=None,
        phone=(f"+4670{int(phone):07}" if phone else "") if has_phone else None,
        secondary_phone=None,
        group_external_ids=groups.replace(",", GROUP_SEPARATOR) if has_groups else None,
        digest=person.encode().ljust(16)[:16],
        row_hash=row_hash,
    )


def _issue(line, code, severity):
    return imports_pb2.ImportIssue(line=line, code=code, severity=severity, key=str(line))
