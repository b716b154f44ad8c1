"""Make the tenant `demo` with its drop, SCIM source and administrator, the first time; find it again afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import grpc
from muster.directory.v1 import (
    administrators_pb2,
    administrators_pb2_grpc,
    api_keys_pb2,
    api_keys_pb2_grpc,
    licenses_pb2,
    licenses_pb2_grpc,
    sources_pb2,
    sources_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
)
from muster.runtime import client

from cli import documents
from cli.up.keepsake import Kept

DEFAULT_SEATS = 10_000
REPORT_TO = "report@demo.example"
PATH = "/users.csv"


def make_or_find(directory: str, kept: Kept, *, seats: int | None) -> Mapping[str, Any]:
    """Return tenant, account, the sources and what opens them; `seats` changes the license of an older tenant too.

    A tenant of an older release, which has no SCIM source or no administrator yet, gets one.
    """
    with client.open_channel(directory, kept.tokens["support"]) as channel:
        if not kept.demo:
            demo = _make_tenant(channel, kept, DEFAULT_SEATS if seats is None else seats)
        else:
            demo = kept.demo
            if seats is not None:
                _set_seats(channel, str(demo["tenant"]), seats)
        if "scim_key" not in demo:
            demo = {**demo, **_make_connection(channel, kept, demo)}
        return demo if "admin_login" in demo else {**demo, **_make_administrator(channel, kept, demo)}


def _make_tenant(channel: grpc.Channel, kept: Kept, seats: int) -> Mapping[str, Any]:
    tenant = (
        tenants_pb2_grpc.TenantServiceStub(channel)
        .CreateTenant(
            tenants_pb2.CreateTenantRequest(
                display_name="demo", seats_total=seats, language="en", request_id=kept.request_id("tenant")
            )
        )
        .tenant
    )
    sources = sources_pb2_grpc.SourceServiceStub(channel)
    made = sources.CreateSource(
        sources_pb2.CreateSourceRequest(
            tenant=tenant.name,
            source=sources_pb2.Source(
                display_name="demo drop",
                kind=sources_pb2.SOURCE_KIND_SFTP,
                account=tenant.main_account,
                sftp=sources_pb2.SftpEndpoint(path=PATH),
                stable_for_seconds=1,
                report_to=[REPORT_TO],
            ),
            request_id=kept.request_id("source"),
        )
    )
    sources.EnableSource(sources_pb2.EnableSourceRequest(name=made.source.name, request_id=kept.request_id("enable")))
    return {
        "tenant": tenant.name,
        "account": tenant.main_account,
        "sftp_source": made.source.name,
        "login": documents.drop_login(made.drop_login),
    }


def _make_connection(channel: grpc.Channel, kept: Kept, demo: Mapping[str, Any]) -> Mapping[str, Any]:
    request = sources_pb2.CreateSourceRequest(
        tenant=str(demo["tenant"]),
        source=sources_pb2.Source(
            display_name="demo identity provider",
            kind=sources_pb2.SOURCE_KIND_SCIM,
            account=str(demo["account"]),
            unknown_groups=sources_pb2.UNKNOWN_GROUPS_CREATE,
            guard=sources_pb2.GUARD_OFF,  # whoever tries it out may put everybody out
            report_to=[REPORT_TO],
        ),
        request_id=kept.request_id("scim source"),
    )
    source = sources_pb2_grpc.SourceServiceStub(channel).CreateSource(request).source.name
    key = api_keys_pb2.CreateApiKeyRequest(source=source, request_id=kept.request_id("scim key"))
    return {
        "scim_source": source,
        "scim_key": api_keys_pb2_grpc.ApiKeyServiceStub(channel).CreateApiKey(key).secret,
    }


def _make_administrator(channel: grpc.Channel, kept: Kept, demo: Mapping[str, Any]) -> Mapping[str, Any]:
    """Make the tenant's administrator; its mail is one of its own, since a mail signs in once on a database."""
    tenant = str(demo["tenant"])
    made = administrators_pb2_grpc.AdministratorServiceStub(channel).CreateAdministrator(
        administrators_pb2.CreateAdministratorRequest(
            parent=tenant,
            email=f"admin-{kept.request_id(tenant)[:8]}@demo.example",
            display_name="Demo administrator",
            role=administrators_pb2.ADMINISTRATOR_ROLE_TENANT,
            request_id=kept.request_id("administrator"),
        )
    )
    return {"admin_login": {"email": made.administrator.email, "password": made.password}}


def _set_seats(channel: grpc.Channel, tenant: str, seats: int) -> None:
    licenses = licenses_pb2_grpc.LicenseServiceStub(channel)
    licenses.UpdateLicense(licenses_pb2.UpdateLicenseRequest(name=f"{tenant}/license", seats_total=seats))
