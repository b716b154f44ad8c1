"""LicenseService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime

import grpc
from muster.directory.v1 import licenses_pb2 as pb
from muster.directory.v1 import licenses_pb2_grpc
from sqlmodel import Session

from services.directory.api import access
from services.directory.api.servicer import Servicer
from services.directory.operations import licenses
from services.directory.rules import names
from services.directory.rules.etags import etag_of
from services.directory.store.tables import License


class LicenseServicer(Servicer, licenses_pb2_grpc.LicenseServiceServicer):
    """Reads and sets a tenant's seats."""

    def GetLicense(self, request: pb.GetLicenseRequest, context: grpc.ServicerContext) -> pb.GetLicenseResponse:
        """Read total and used seats."""
        tenant_id = names.parse_license(request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read() as session:
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


def _message(kept: License) -> pb.License:
    name = names.LICENSE.format(kept.tenant_id)
    return pb.License(
        name=name,
        seats_total=kept.seats_total,
        seats_used=kept.seats_used,
        etag=etag_of(name, kept.revision),
    )
