"""Gather from the directory what those who look after sources must know: paused sources, old keys, full licenses."""

from __future__ import annotations

import enum
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import grpc.aio
from muster.directory.v1 import (
    api_keys_pb2,
    api_keys_pb2_grpc,
    events_pb2,
    licenses_pb2,
    licenses_pb2_grpc,
    scim_activity_pb2,
    scim_activity_pb2_grpc,
    sources_pb2,
    sources_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
)

from services.notifier.failures import Failures, failures_of
from services.notifier.pages import every
from services.notifier.readers import Readers, ReadersOf, tenant_of
from services.notifier.report_data import Seats
from services.notifier.tables import MessageKind

LICENSE_NEAR_FULL, LICENSE_FULL, SOURCE_PAUSED = "license.near_full", "license.full", "source.paused"
CONNECTION_FAILING = "connection.failing"

NEAR_FULL_PERCENT = 90
"""Of the seats: fewer by now, and a notice of them is no news."""
KEY_WARNINGS = (timedelta(days=3), timedelta(days=14))
"""How long before a key's end its source's addresses are told; the last time is urgent."""


class Subject(enum.Enum):
    """What a notice is about."""

    NEAR_FULL = "near_full"
    FULL = "full"
    PAUSED = "paused"
    FAILING = "failing"
    KEY_EXPIRES = "key_expires"


_KINDS = {
    Subject.NEAR_FULL: MessageKind.LICENSE,
    Subject.FULL: MessageKind.LICENSE,
    Subject.PAUSED: MessageKind.CONNECTION,
    Subject.FAILING: MessageKind.CONNECTION,
    Subject.KEY_EXPIRES: MessageKind.KEY,
}


@dataclass(frozen=True)
class Notice:
    """Everything that one notice says."""

    subject: Subject
    about: str
    readers: Readers
    tenant: str
    tenant_name: str
    language: str
    source: str = ""
    source_name: str = ""
    is_file: bool = False
    time_zone: str = ""
    happened_at: datetime | None = None
    by: str = ""
    guarded: tuple[int, int] | None = None
    """What the guard was against (S13): people who were to be put out, of so many active."""
    seats: Seats | None = None
    key: str = ""
    key_id: str = ""
    key_ends_at: datetime | None = None
    failures: Failures | None = None
    urgent: bool = False
    admin_url: str = ""

    @property
    def kind(self) -> MessageKind:
        """What kind of message it is."""
        return _KINDS[self.subject]


class NoticeReader:
    """Reads notices through one channel to the directory. Every method raises grpc.aio.AioRpcError."""

    def __init__(self, channel: grpc.aio.Channel, *, admin_url: str = "") -> None:
        self._activity = scim_activity_pb2_grpc.ScimActivityServiceStub(channel)
        self._keys = api_keys_pb2_grpc.ApiKeyServiceStub(channel)
        self._licenses = licenses_pb2_grpc.LicenseServiceStub(channel)
        self._sources = sources_pb2_grpc.SourceServiceStub(channel)
        self._tenants = tenants_pb2_grpc.TenantServiceStub(channel)
        self._readers = ReadersOf(channel)
        self._admin_url = admin_url

    async def of_event(self, event: events_pb2.Event) -> Notice | None:
        """Say what an event gives notice of; None when it is over by now, or nobody is to be told."""
        if event.kind == SOURCE_PAUSED:
            return await self._paused(event)
        if event.kind == CONNECTION_FAILING:
            return await self._failing(event)
        return await self._license(event)

    async def old_keys(self, now: datetime) -> AsyncIterator[tuple[Notice, timedelta]]:
        """Give each key that ends soon, of all tenants, with the warning that is due."""
        async for tenant in every(self._tenants.ListTenants, tenants_pb2.ListTenantsRequest(), "tenants"):
            for source in await self._sources_of(tenant.name):
                if source.kind != sources_pb2.SOURCE_KIND_SCIM:
                    continue
                asked = api_keys_pb2.ListApiKeysRequest(source=source.name)
                async for key in every(self._keys.ListApiKeys, asked, "api_keys"):
                    warning = _warning_due(key, now)
                    notice = await self._key_ends(tenant, source, key, warning) if warning else None
                    if warning and notice:
                        yield notice, warning

    async def _key_ends(
        self, tenant: tenants_pb2.Tenant, source: sources_pb2.Source, key: api_keys_pb2.ApiKey, warning: timedelta
    ) -> Notice | None:
        notice = await self._of_source(Subject.KEY_EXPIRES, tenant, source)
        ends_at = key.expire_time.ToDatetime(tzinfo=UTC)
        is_last = warning == KEY_WARNINGS[0]
        return notice and replace(
            notice, about=key.name, key=key.name, key_id=key.key_id, key_ends_at=ends_at, urgent=is_last
        )

    async def _paused(self, event: events_pb2.Event) -> Notice | None:
        source = (await self._sources.GetSource(sources_pb2.GetSourceRequest(name=event.resource))).source
        if source.state != sources_pb2.SOURCE_STATE_PAUSED:
            return None
        notice = await self._of_source(Subject.PAUSED, await self._tenant(tenant_of(event.name)), source)
        happened_at = event.time.ToDatetime(tzinfo=UTC)
        return notice and replace(notice, happened_at=happened_at, by=event.actor, guarded=_guarded(event), urgent=True)

    async def _failing(self, event: events_pb2.Event) -> Notice | None:
        """Tell of a connection that fails still."""
        asked = scim_activity_pb2.GetActivitySummaryRequest(source=event.resource)
        if not (await self._activity.GetActivitySummary(asked)).HasField("failing_since"):
            return None
        source = (await self._sources.GetSource(sources_pb2.GetSourceRequest(name=event.resource))).source
        notice = await self._of_source(Subject.FAILING, await self._tenant(tenant_of(event.name)), source)
        happened_at = event.time.ToDatetime(tzinfo=UTC)
        return notice and replace(notice, happened_at=happened_at, failures=failures_of(event), urgent=True)

    async def _license(self, event: events_pb2.Event) -> Notice | None:
        tenant = await self._tenant(tenant_of(event.name))
        request = licenses_pb2.GetLicenseRequest(name=f"{tenant.name}/license")
        seats = (await self._licenses.GetLicense(request)).license
        is_full = seats.seats_used >= seats.seats_total
        is_near_full = seats.seats_used * 100 >= seats.seats_total * NEAR_FULL_PERCENT
        if not (is_full if event.kind == LICENSE_FULL else is_near_full):
            return None
        readers = await self._readers.tenant(tenant.name, await self._sources_of(tenant.name))
        notice = Notice(
            subject=Subject.FULL if is_full else Subject.NEAR_FULL,
            about=request.name,
            readers=readers,
            tenant=tenant.name,
            tenant_name=tenant.display_name,
            language=tenant.language,
            seats=Seats(seats.seats_total, seats.seats_used),
            admin_url=self._admin_url,
        )
        return notice if readers.addresses else None

    async def _of_source(
        self, subject: Subject, tenant: tenants_pb2.Tenant, source: sources_pb2.Source
    ) -> Notice | None:
        """Begin a notice about a source; None when there is nobody to tell."""
        readers = await self._readers.source(source)
        notice = Notice(
            subject=subject,
            about=source.name,
            readers=readers,
            tenant=tenant.name,
            tenant_name=tenant.display_name,
            language=source.language or tenant.language,
            source=source.name,
            source_name=source.display_name,
            is_file=source.kind == sources_pb2.SOURCE_KIND_SFTP,
            time_zone=source.time_zone,
            admin_url=self._admin_url,
        )
        return notice if readers.addresses else None

    async def _tenant(self, name: str) -> tenants_pb2.Tenant:
        return (await self._tenants.GetTenant(tenants_pb2.GetTenantRequest(name=name))).tenant

    async def _sources_of(self, tenant: str) -> list[sources_pb2.Source]:
        request = sources_pb2.ListSourcesRequest(tenant=tenant)
        return [source async for source in every(self._sources.ListSources, request, "sources")]


def _guarded(event: events_pb2.Event) -> tuple[int, int] | None:
    if "people" not in event.after.fields:
        return None
    people, active = (int(event.after.fields[name].number_value) for name in ("people", "active"))
    return people, active


def _warning_due(key: api_keys_pb2.ApiKey, now: datetime) -> timedelta | None:
    """Say which warning a key has reached; one that was rotated ends as it should, and has its successor."""
    if key.state != api_keys_pb2.API_KEY_STATE_ACTIVE or not key.HasField("expire_time"):
        return None
    left = key.expire_time.ToDatetime(tzinfo=UTC) - now
    return next((warning for warning in KEY_WARNINGS if left <= warning), None)
