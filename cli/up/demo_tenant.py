"""Make the tenant `demo` with its enabled drop, the first time; find it again afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from muster.directory.v1 import (
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
    """Return tenant, account, sftp_source and the drop's login; `seats` changes the license of an older tenant too."""
    with client.open_channel(directory, kept.tokens["support"]) as channel:
        if kept.demo:
            if seats is not None:
                _set_seats(licenses_pb2_grpc.LicenseServiceStub(channel), str(kept.demo["tenant"]), seats)
            return kept.demo
        tenant = (
            tenants_pb2_grpc.TenantServiceStub(channel)
            .CreateTenant(
                tenants_pb2.CreateTenantRequest(
                    display_name="demo",
                    seats_total=DEFAULT_SEATS if seats is None else seats,
                    language="en",
                    request_id=kept.request_id("tenant"),
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
        sources.EnableSource(
            sources_pb2.EnableSourceRequest(name=made.source.name, request_id=kept.request_id("enable"))
        )
    return {
        "tenant": tenant.name,
        "account": tenant.main_account,
        "sftp_source": made.source.name,
        "login": documents.drop_login(made.drop_login),
    }


def _set_seats(licenses: licenses_pb2_grpc.LicenseServiceStub, tenant: str, seats: int) -> None:
    licenses.UpdateLicense(licenses_pb2.UpdateLicenseRequest(name=f"{tenant}/license", seats_total=seats))
