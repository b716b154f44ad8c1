"""TenantService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import datetime
from typing import Final

import grpc
from muster.directory.v1 import tenants_pb2 as pb
from muster.directory.v1 import tenants_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.masks import changes_of
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import tenants
from services.directory.operations.tenant_deletion import delete_tenant
from services.directory.rules import names
from services.directory.rules.etags import etag_of
from services.directory.store.tables import Tenant

_CHANGEABLE: Final = ("display_name", "accept_url", "language")


class TenantServicer(Servicer, tenants_pb2_grpc.TenantServiceServicer):
    """Creates, changes, ends and reads tenants."""

    def CreateTenant(self, request: pb.CreateTenantRequest, context: grpc.ServicerContext) -> pb.CreateTenantResponse:
        """Make a tenant, its main account and its license."""
        caller = access.caller_of(context)
        new = tenants.NewTenant(request.display_name, request.seats_total, request.accept_url, request.language)

        def work(session: Session, now: datetime) -> pb.CreateTenantResponse:
            tenant = tenants.create_tenant(session, new, actor=caller.actor, now=now)
            return pb.CreateTenantResponse(tenant=_message(tenant))

        return self.write_once(request, context, None, pb.CreateTenantResponse, work)

    def GetTenant(self, request: pb.GetTenantRequest, context: grpc.ServicerContext) -> pb.GetTenantResponse:
        """Read one tenant."""
        tenant_id = names.parse_tenant(request.name, field="name")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            return pb.GetTenantResponse(tenant=_message(tenants.get_tenant(session, tenant_id)))

    def ListTenants(self, request: pb.ListTenantsRequest, context: grpc.ServicerContext) -> pb.ListTenantsResponse:
        """Page through all tenants."""
        access.require(context, 0)
        page = pages.page_of(request)
        with self.store.read(None) as session:
            found = tenants.list_tenants(
                session, after_id=page.after[0], limit=page.limit, show_deleted=request.show_deleted
            )
        kept, token = page.cut(found, lambda tenant: (tenant.id,))
        return pb.ListTenantsResponse(tenants=map(_message, kept), next_page_token=token)

    def UpdateTenant(self, request: pb.UpdateTenantRequest, context: grpc.ServicerContext) -> pb.UpdateTenantResponse:
        """Change what the mask names."""
        tenant_id = names.parse_tenant(request.tenant.name, field="tenant.name")
        caller = access.require(context, tenant_id)
        changes = changes_of(request.tenant, request.update_mask, _CHANGEABLE)

        def work(session: Session, now: datetime) -> pb.UpdateTenantResponse:
            tenant = tenants.update_tenant(
                session, tenant_id, changes, etag=request.tenant.etag, actor=caller.actor, now=now
            )
            return pb.UpdateTenantResponse(tenant=_message(tenant))

        return self.write_once(request, context, tenant_id, pb.UpdateTenantResponse, work)

    def DeleteTenant(self, request: pb.DeleteTenantRequest, context: grpc.ServicerContext) -> pb.DeleteTenantResponse:
        """End a tenant."""
        tenant_id = names.parse_tenant(request.name, field="name")
        caller = access.require(context, tenant_id)

        def work(session: Session, now: datetime) -> pb.DeleteTenantResponse:
            tenant = delete_tenant(session, tenant_id, etag=request.etag, actor=caller.actor, now=now)
            return pb.DeleteTenantResponse(tenant=_message(tenant))

        return self.write_once(request, context, tenant_id, pb.DeleteTenantResponse, work, deleted_too=True)


def _message(tenant: Tenant) -> pb.Tenant:
    name = names.TENANT.format(tenant.id)
    return pb.Tenant(
        name=name,
        display_name=tenant.display_name,
        accept_url=tenant.accept_url,
        language=tenant.language,
        main_account=names.ACCOUNT.format(tenant.id, tenant.main_account_id),
        etag=etag_of(name, tenant.revision),
        create_time=timestamp(tenant.create_time),
        delete_time=timestamp(tenant.delete_time) if tenant.delete_time is not None else None,
    )
