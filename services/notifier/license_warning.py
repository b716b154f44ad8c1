"""Gather from the directory what the warning says whose people get no seat from an identity provider (S5)."""

from __future__ import annotations

from dataclasses import dataclass

import grpc.aio
import structlog
from muster.directory.v1 import (
    events_pb2,
    licenses_pb2,
    licenses_pb2_grpc,
    sources_pb2,
    sources_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
)

from services.notifier.readers import Readers, ReadersOf, tenant_of
from services.notifier.report_changes import MOST_NAMES
from services.notifier.report_data import Seats

log = structlog.get_logger()

LICENSE_REFUSED = "license.refused"
"""Kind of the event that tells of each person who is refused a seat for the first time."""
WARNED_AT = frozenset({1, 10, 100, 1_000, 2_500, 4_000})
"""People without a seat at which a warning goes out: at once, then seldom, and before Entra's quarantine at 5,000."""


@dataclass(frozen=True)
class Shortage:
    """People without a seat, of whom those who look after a source are warned."""

    license: str
    source: sources_pb2.Source
    waiting: int
    first: tuple[str, ...]
    readers: Readers


@dataclass(frozen=True)
class LicenseWarning:
    """Everything one warning says: `waiting` people have no seat now, of whom `first` are the first userNames."""

    tenant: str
    tenant_name: str
    source_name: str
    license: str
    language: str
    waiting: int
    first: tuple[str, ...]
    seats: Seats
    admin_url: str = ""
    to_administrators: bool = False


class LicenseWarningReader:
    """Reads warnings through one channel to the directory. Every method raises grpc.aio.AioRpcError."""

    def __init__(self, channel: grpc.aio.Channel, *, admin_url: str = "") -> None:
        self._licenses = licenses_pb2_grpc.LicenseServiceStub(channel)
        self._sources = sources_pb2_grpc.SourceServiceStub(channel)
        self._tenants = tenants_pb2_grpc.TenantServiceStub(channel)
        self._readers = ReadersOf(channel)
        self._admin_url = admin_url

    async def shortage(self, event: events_pb2.Event) -> Shortage | None:
        """Say who is warned, and of whom; None when there are not so many, nobody to tell, or nobody left to tell of.

        An event that is read late tells of those who have no seat now: the others are no longer worth a mail.
        """
        if event.after.fields["refused"].number_value not in WARNED_AT:
            return None
        source = (await self._sources.GetSource(sources_pb2.GetSourceRequest(name=event.actor))).source
        request = licenses_pb2.ListRefusalsRequest(license=event.resource, page_size=MOST_NAMES)
        refused = await self._licenses.ListRefusals(request)
        if not refused.total:
            log.info("license_warning.outdated", source=source.name, license=event.resource)
            return None
        first = tuple(refusal.user_name for refusal in refused.refusals)
        readers = await self._readers.source(source)
        return Shortage(event.resource, source, refused.total, first, readers) if readers.addresses else None

    async def gather(self, shortage: Shortage) -> LicenseWarning:
        """Read everything the warning says."""
        tenant_name = tenant_of(shortage.license)
        tenant = (await self._tenants.GetTenant(tenants_pb2.GetTenantRequest(name=tenant_name))).tenant
        request = licenses_pb2.GetLicenseRequest(name=shortage.license)
        seats = (await self._licenses.GetLicense(request)).license
        missing = max(0, seats.seats_used + shortage.waiting - seats.seats_total)
        return LicenseWarning(
            tenant=tenant_name,
            tenant_name=tenant.display_name,
            source_name=shortage.source.display_name,
            license=shortage.license,
            language=shortage.source.language or tenant.language,
            waiting=shortage.waiting,
            first=shortage.first,
            seats=Seats(seats.seats_total, seats.seats_used, missing),
            admin_url=self._admin_url,
            to_administrators=shortage.readers.are_administrators,
        )
