"""LicenseService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime

import grpc
from muster.directory.v1 import licenses_pb2 as pb
from muster.directory.v1 import licenses_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import licenses, refusals
from services.directory.rules import names
from services.directory.rules.etags import etag_of
from services.directory.store.provisioning_tables import LicenseRefusal
from services.directory.store.tables import License


class LicenseServicer(Servicer, licenses_pb2_grpc.LicenseServiceServicer):
    """Reads and sets a tenant's seats."""

    def GetLicense(self, request: pb.GetLicenseRequest, context: grpc.ServicerContext) -> pb.GetLicenseResponse:
        """Read total and used seats."""
        tenant_id = names.parse_license(request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            return pb.GetLicenseResponse(license=_message(licenses.get_license(session, tenant_id)))

    def UpdateLicense(
        self, request: pb.UpdateLicenseRequest, context: grpc.ServicerContext
    ) -> pb.UpdateLicenseResponse:
        """Set the total."""
        tenant_id = names.parse_license(request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.UpdateLicenseResponse:
            kept = licenses.update_license(
                session, tenant_id, request.seats_total, request.etag, actor=caller.actor, now=now
            )
            return pb.UpdateLicenseResponse(license=_message(kept))

        return self.write_once(request, context, tenant_id, pb.UpdateLicenseResponse, work)

    def ListRefusals(self, request: pb.ListRefusalsRequest, context: grpc.ServicerContext) -> pb.ListRefusalsResponse:
        """Page through those who wait for a seat."""
        tenant_id = names.parse_license(request.license, field="license")
        access.require(context, tenant_id)
        page = pages.page_of(request)
        with self.store.read(tenant_id) as session:
            found = refusals.list_refusals(session, tenant_id, after_number=page.after[0], limit=page.limit)
            total = refusals.count_refusals(session, tenant_id)
        kept, token = page.cut(found, lambda refusal: (refusal.number,))
        return pb.ListRefusalsResponse(refusals=map(_refusal, kept), next_page_token=token, total=total)


def _message(kept: License) -> pb.License:
    name = names.LICENSE.format(kept.tenant_id)
    return pb.License(
        name=name,
        seats_total=kept.seats_total,
        seats_used=kept.seats_used,
        etag=etag_of(name, kept.revision),
    )


def _refusal(refusal: LicenseRefusal) -> pb.Refusal:
    return pb.Refusal(
        source=names.SOURCE.format(refusal.tenant_id, refusal.source_id),
        user_name=refusal.user_name,
        external_id=refusal.external_id,
        attempts=refusal.attempts,
        first_time=timestamp(refusal.first_time),
        last_time=timestamp(refusal.last_time),
    )
