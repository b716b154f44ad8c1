"""A tenant with a file that is due every night, and an importer that asks for what is due."""

from __future__ import annotations

from datetime import UTC, datetime

from muster.directory.v1 import imports_pb2, sources_pb2
from sqlalchemy import text

from services.directory.rules.grants import Grant
from tests.integration.directory.serving import Caller, Office, ServedDirectory

NO_FILE = imports_pb2.IMPORT_RUN_STATUS_NO_FILE


class Customer:
    """A tenant with one file, and an importer that looks after it; other tenants' sources are never due here."""

    def __init__(self, directory: ServedDirectory, support: Caller):
        self.directory, self.support = directory, support
        self.importer = directory.caller(Grant.IMPORTER)
        self.office = Office(support)
        self.source = self.make("Personnel")
        self.enable()

    def leave(self) -> None:
        """Let nothing of this tenant be due any more."""
        with self.directory.store.write(self.office.tenant_id) as session:
            sql = "UPDATE sources SET state = 3 WHERE tenant_id = :t"
            session.connection().execute(text(sql), {"t": self.office.tenant_id})

    def make(self, name: str, **settings) -> str:
        request = sources_pb2.CreateSourceRequest(
            tenant=self.office.name,
            source=sources_pb2.Source(display_name=name, nightly_time="02:00", time_zone="UTC", **settings),
        )
        return self.support.sources.CreateSource(request).source.name

    def enable(self):
        self.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=self.source))

    def due(self, source: str = "") -> datetime:
        """When the source is due."""
        assert self.has_nights(source)
        return moment_of(self.read(source or self.source))

    def has_nights(self, source: str = "") -> bool:
        """Whether the source is ever due."""
        return self.read(source or self.source).HasField("next_run_time")

    def read(self, source: str) -> sources_pb2.Source:
        return self.support.sources.GetSource(sources_pb2.GetSourceRequest(name=source)).source

    def night_falls(self):
        """Move the time to when the source is due."""
        self.directory.clock.now = max(self.directory.clock.now, self.due())

    def claim(self, worker: str = "one", request_id: str = "") -> sources_pb2.SourceClaim | None:
        request = sources_pb2.ClaimDueSourceRequest(worker=worker, lease_seconds=60, request_id=request_id)
        answer = self.importer.sources.ClaimDueSource(request)
        return answer.claim if answer.HasField("claim") else None

    def claimed(self) -> sources_pb2.SourceClaim:
        claim = self.claim()
        assert claim is not None
        return claim

    def release(self, claim: sources_pb2.SourceClaim, reason: sources_pb2.ReleaseReason.ValueType):
        request = sources_pb2.ReleaseClaimRequest(source=claim.source.name, claim=claim.claim, reason=reason)
        self.importer.sources.ReleaseClaim(request)

    def renew(self, claim: sources_pb2.SourceClaim):
        request = sources_pb2.RenewClaimRequest(source=claim.source.name, claim=claim.claim, lease_seconds=60)
        self.importer.sources.RenewClaim(request)

    def open(self, claim: sources_pb2.SourceClaim | None = None) -> str:
        request = imports_pb2.CreateImportRunRequest(source=self.source, claim=claim.claim if claim else "")
        return self.importer.imports.CreateImportRun(request, timeout=5).import_run.name

    def end(self, run: str, status=NO_FILE, reason: str = ""):
        request = imports_pb2.RefuseImportRunRequest(import_run=run, status=status, reason=reason)
        return self.importer.imports.RefuseImportRun(request).import_run

    def runs(self) -> list[imports_pb2.ImportRun]:
        return list(
            self.support.imports.ListImportRuns(imports_pb2.ListImportRunsRequest(source=self.source)).import_runs
        )


def moment_of(source: sources_pb2.Source) -> datetime:
    return source.next_run_time.ToDatetime(tzinfo=UTC)
