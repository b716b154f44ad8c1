"""Gather from the directory what a run's report says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime

import grpc.aio
from muster.directory.v1 import (
    events_pb2,
    imports_pb2,
    imports_pb2_grpc,
    licenses_pb2,
    licenses_pb2_grpc,
    sources_pb2,
    sources_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
)
from muster.runtime.errors import failure_of

from services.notifier.readers import Readers, ReadersOf, tenant_of
from services.notifier.report_changes import ChangesReader
from services.notifier.report_data import (
    Counts,
    GroupReach,
    Invitations,
    Issue,
    LimitFigures,
    Outcome,
    People,
    Reach,
    ReportData,
    Seats,
)

MOST_ISSUES = 10_000
"""Rejections, and warnings, that are read for one report: a mail of many megabytes is one that no server takes."""

MOST_ATTACHED_BYTES = 3 * 1024 * 1024
"""Of rejected rows to be mended; encoded they are a third more, and many servers take ten megabytes at most."""

_PAGE = 1_000
_WITH_PLAN = frozenset({Outcome.APPLIED, Outcome.HELD, Outcome.PLANNED, Outcome.UNDONE})
_OUTCOMES: dict[str, Outcome] = {
    f"run.{outcome.value}": outcome for outcome in Outcome if outcome is not Outcome.UNDONE
}
_LIMITS: dict[str, Callable[[sources_pb2.Limits], sources_pb2.Limit]] = {
    "delete_limit": lambda limits: limits.delete,
    "mail_change_limit": lambda limits: limits.mail_change,
    "rekey_limit": lambda limits: limits.rekey,
    "takeover_limit": lambda limits: limits.takeover,
    "membership_limit": lambda limits: limits.membership,
    "create_limit": lambda limits: limits.create,
    "too_many_rejects": lambda limits: limits.reject,
    "shape_alarm": lambda limits: limits.shape,
}


@dataclass(frozen=True)
class Reportable:
    """A run at rest that somebody gets a report of."""

    outcome: Outcome
    run: imports_pb2.ImportRun
    source: sources_pb2.Source
    reason: str
    readers: Readers


class ReportReader:
    """Reads reports through one channel to the directory. Every method raises grpc.aio.AioRpcError."""

    def __init__(self, channel: grpc.aio.Channel, *, admin_url: str = "") -> None:
        self._imports = imports_pb2_grpc.ImportServiceStub(channel)
        self._changes = ChangesReader(self._imports)
        self._licenses = licenses_pb2_grpc.LicenseServiceStub(channel)
        self._sources = sources_pb2_grpc.SourceServiceStub(channel)
        self._tenants = tenants_pb2_grpc.TenantServiceStub(channel)
        self._readers = ReadersOf(channel)
        self._admin_url = admin_url

    async def reportable(self, event: events_pb2.Event) -> Reportable | None:
        """Say whom the event's run is reported to; None when it is no run at rest, or nobody is to be told.

        A plan on its way to be applied is not at rest, and who asks for a dry run by hand sees its plan at once; a
        source in trial reports its plans. Of an undo only that it was done is news to others than who does it.
        """
        outcome = _OUTCOMES.get(event.kind)
        if outcome is None:
            return None
        run = (await self._imports.GetImportRun(imports_pb2.GetImportRunRequest(name=event.resource))).import_run
        if run.undoes:
            outcome = Outcome.UNDONE if outcome is Outcome.APPLIED else Outcome.PLANNED
        if outcome is Outcome.PLANNED and not run.plan_only:
            return None
        source = (await self._sources.GetSource(sources_pb2.GetSourceRequest(name=run.source))).source
        if outcome is Outcome.PLANNED and source.state != sources_pb2.SOURCE_STATE_TRIAL:
            return None
        if outcome is Outcome.UNCHANGED and not source.report_unchanged:
            return None
        readers = await self._readers.source(source)
        return Reportable(outcome, run, source, _reason(event, run), readers) if readers.addresses else None

    async def gather(self, reportable: Reportable) -> ReportData:
        """Read everything the report says. A held run is reported as it was held, though it was decided since."""
        run, source, outcome = reportable.run, reportable.source, reportable.outcome
        tenant_name = tenant_of(run.name)
        tenant = (await self._tenants.GetTenant(tenants_pb2.GetTenantRequest(name=tenant_name))).tenant
        license_name = f"{tenant_name}/license"
        seats = (await self._licenses.GetLicense(licenses_pb2.GetLicenseRequest(name=license_name))).license
        planned = outcome in {Outcome.HELD, Outcome.PLANNED}
        counts = _counts(run.plan if planned else run.counts)
        warnings = await self._issues(run.name, imports_pb2.ISSUE_SEVERITY_WARNING)
        decided = _decided(run, outcome)
        rejected_file, is_whole = await self._rejected_file(run.name) if counts.rejected else (b"", True)
        has_plan = outcome in _WITH_PLAN
        trial = source.state == sources_pb2.SOURCE_STATE_TRIAL
        return ReportData(
            outcome=outcome,
            tenant=tenant_name,
            tenant_name=tenant.display_name,
            source=source.name,
            source_name=source.display_name,
            run=run.name,
            language=source.language or tenant.language,
            time_zone=source.time_zone,
            ended_at=_moment(run),
            reason=reportable.reason,
            message="" if decided else run.message,
            file_name=run.file.file_name,
            file_path=source.sftp.path,
            dry_run=run.plan_only and not trial,
            decided=decided,
            nights_without_file=run.nights_without_file,
            counts=counts,
            deletions_left_out=run.plan.deleted if run.deletions_left_out and outcome is Outcome.APPLIED else 0,
            people=await self._changes.people(run.name, counts) if has_plan else People(),
            reach=_reach(run.reach) if has_plan else Reach(),
            shape=await self._changes.shape(run) if has_plan else None,
            invitations=_invitations(source, tenant),
            rejected=await self._issues(run.name, imports_pb2.ISSUE_SEVERITY_REJECTED),
            rejected_file=rejected_file,
            rejected_file_is_whole=is_whole,
            warnings=warnings,
            warnings_are_all=len(warnings) < MOST_ISSUES,
            limit=_limit(reportable.reason, source),
            seats=Seats(seats.seats_total, seats.seats_used, _missing_seats(run, counts.deferred)),
            admin_url=self._admin_url,
            to_administrators=reportable.readers.are_administrators,
            undoes=run.undoes,
        )

    async def _rejected_file(self, run: str) -> tuple[bytes, bool]:
        """Read the file of rejected rows as far as a mail may carry it, in whole rows; nothing when it is not kept."""
        pieces: list[bytes] = []
        call = self._imports.DownloadRejectedRows(imports_pb2.DownloadRejectedRowsRequest(import_run=run))
        try:
            async for answer in call:
                if sum(map(len, pieces)) + len(answer.chunk) > MOST_ATTACHED_BYTES:
                    call.cancel()
                    return b"".join(pieces), False
                pieces.append(answer.chunk)
        except grpc.aio.AioRpcError as error:
            if failure_of(error).reason != "RUN_STATE":
                raise
            return b"", True
        return b"".join(pieces), True

    async def _issues(self, run: str, severity: imports_pb2.IssueSeverity.ValueType) -> tuple[Issue, ...]:
        found: list[Issue] = []
        request = imports_pb2.ListImportIssuesRequest(import_run=run, severity=severity, page_size=_PAGE)
        while len(found) < MOST_ISSUES:
            page = await self._imports.ListImportIssues(request)
            found += (
                Issue(issue.line, issue.key, issue.code, issue.column, issue.masked_value, issue.message)
                for issue in page.issues
            )
            if not page.next_page_token:
                break
            request.page_token = page.next_page_token
        return tuple(found[:MOST_ISSUES])


def _counts(counts: imports_pb2.ImportCounts) -> Counts:
    return Counts(**{part.name: getattr(counts, part.name) for part in fields(Counts)})


def _reach(reach: imports_pb2.Reach) -> Reach:
    return Reach(
        no_phone=reach.came_without_phone,
        lost=reach.lost_phone,
        gained=reach.gained_phone,
        groups_below=reach.groups_below_two,
        groups=tuple(GroupReach(group.display_name, group.before, group.after) for group in reach.groups),
    )


def _invitations(source: sources_pb2.Source, tenant: tenants_pb2.Tenant) -> Invitations:
    if not source.automatic_invitations:
        return Invitations.BY_HAND
    return Invitations.MAILED if tenant.accept_url else Invitations.NO_PAGE


def _moment(run: imports_pb2.ImportRun) -> datetime:
    return (run.end_time if run.HasField("end_time") else run.create_time).ToDatetime(tzinfo=UTC)


def _reason(event: events_pb2.Event, run: imports_pb2.ImportRun) -> str:
    """Take the reason from the event: an approved run no longer has the one it was held for."""
    reason = event.after.fields.get("reason")
    return reason.string_value if reason is not None else run.reason


def _decided(run: imports_pb2.ImportRun, outcome: Outcome) -> str:
    """Name the status a held run has moved on to, or say that it has not."""
    if outcome is not Outcome.HELD or run.status == imports_pb2.IMPORT_RUN_STATUS_HELD:
        return ""
    return imports_pb2.ImportRunStatus.Name(run.status).removeprefix("IMPORT_RUN_STATUS_").lower()


def _limit(reason: str, source: sources_pb2.Source) -> LimitFigures | None:
    """Read the figures of the limit that was passed; the rule's own defaults are the directory's to know."""
    if reason not in _LIMITS:
        return None
    limit = _LIMITS[reason](source.limits)
    if not (limit.HasField("floor") and limit.HasField("percent")):
        return None
    return LimitFigures(floor=limit.floor, percent=limit.percent)


def _missing_seats(run: imports_pb2.ImportRun, deferred: int) -> int:
    """Count the seats that the deferred people need, and those by which the license was overdrawn (R35)."""
    if not deferred:
        return 0
    return max(1, run.seats_used + deferred - run.seats_total) if run.seats_used or run.seats_total else deferred
