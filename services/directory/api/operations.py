"""OperationsService: requests in, the upkeep of the whole register, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import grpc
from muster.directory.v1 import operations_pb2 as pb
from muster.directory.v1 import operations_pb2_grpc

from services.directory.api import access
from services.directory.api.servicer import Resources, Servicer
from services.directory.operations import integrity
from services.directory.operations.housekeeping import Housekeeper
from services.directory.operations.tenants import get_tenant
from services.directory.rules import names


class OperationsServicer(Servicer, operations_pb2_grpc.OperationsServiceServicer):
    """Checks the register, and purges what has come due."""

    def __init__(self, resources: Resources, housekeeper: Housekeeper) -> None:
        super().__init__(resources)
        self._housekeeper = housekeeper

    def CheckIntegrity(
        self, request: pb.CheckIntegrityRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.CheckIntegrityResponse]:
        """Stream what disagrees, a tenant after the other."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant") if request.tenant else None
        access.require(context, tenant_id or 0)
        if tenant_id is not None:
            with self.store.read(tenant_id) as session:
                get_tenant(session, tenant_id)
        for problem in integrity.check_integrity(self.store, tenant_id, now=self.clock()):
            yield pb.CheckIntegrityResponse(
                problem=pb.Problem(
                    tenant=names.TENANT.format(problem.tenant_id),
                    kind=problem.kind,
                    resource=problem.resource,
                    message=problem.message,
                )
            )

    def PurgeExpired(self, request: pb.PurgeExpiredRequest, context: grpc.ServicerContext) -> pb.PurgeExpiredResponse:  # noqa: ARG002
        """Do what has come due."""
        access.require(context, 0)
        return pb.PurgeExpiredResponse(**asdict(self._housekeeper.purge(lambda: not context.is_active())))
