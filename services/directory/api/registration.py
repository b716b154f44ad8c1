"""The services that the directory serves; a new one is a line here and its rows in `rules.grants`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import grpc
from muster.directory.v1 import (
    accounts_pb2_grpc,
    administrators_pb2_grpc,
    api_keys_pb2_grpc,
    credentials_pb2_grpc,
    events_pb2_grpc,
    groups_pb2_grpc,
    imports_pb2_grpc,
    invitations_pb2_grpc,
    licenses_pb2_grpc,
    operations_pb2_grpc,
    provisioning_pb2_grpc,
    scim_activity_pb2_grpc,
    sources_pb2_grpc,
    tenants_pb2_grpc,
    users_pb2_grpc,
)

from services.directory.api.accounts import AccountServicer
from services.directory.api.administrators import AdministratorServicer
from services.directory.api.api_keys import ApiKeyServicer
from services.directory.api.credentials import CredentialServicer
from services.directory.api.events import EventServicer
from services.directory.api.groups import GroupServicer
from services.directory.api.imports import ImportServicer
from services.directory.api.invitations import InvitationServicer
from services.directory.api.licenses import LicenseServicer
from services.directory.api.operations import OperationsServicer
from services.directory.api.personal_data import PersonServicer
from services.directory.api.provisioning import ProvisioningServicer
from services.directory.api.scim_activity import ScimActivityServicer
from services.directory.api.servicer import Resources, Servicer
from services.directory.api.sources import SourceServicer
from services.directory.api.tenants import TenantServicer
from services.directory.operations.apply_worker import ApplyWorker
from services.directory.operations.housekeeping import Housekeeper
from services.directory.operations.imports import Imports

_PLAIN: Final[dict[str, tuple[type[Servicer], Callable[[Any, grpc.Server], None]]]] = {
    "muster.directory.v1.TenantService": (TenantServicer, tenants_pb2_grpc.add_TenantServiceServicer_to_server),
    "muster.directory.v1.AccountService": (AccountServicer, accounts_pb2_grpc.add_AccountServiceServicer_to_server),
    "muster.directory.v1.GroupService": (GroupServicer, groups_pb2_grpc.add_GroupServiceServicer_to_server),
    "muster.directory.v1.UserService": (PersonServicer, users_pb2_grpc.add_UserServiceServicer_to_server),
    "muster.directory.v1.LicenseService": (LicenseServicer, licenses_pb2_grpc.add_LicenseServiceServicer_to_server),
    "muster.directory.v1.SourceService": (SourceServicer, sources_pb2_grpc.add_SourceServiceServicer_to_server),
    "muster.directory.v1.ApiKeyService": (ApiKeyServicer, api_keys_pb2_grpc.add_ApiKeyServiceServicer_to_server),
    "muster.directory.v1.AdministratorService": (
        AdministratorServicer,
        administrators_pb2_grpc.add_AdministratorServiceServicer_to_server,
    ),
    "muster.directory.v1.CredentialService": (
        CredentialServicer,
        credentials_pb2_grpc.add_CredentialServiceServicer_to_server,
    ),
    "muster.directory.v1.ProvisioningService": (
        ProvisioningServicer,
        provisioning_pb2_grpc.add_ProvisioningServiceServicer_to_server,
    ),
    "muster.directory.v1.ScimActivityService": (
        ScimActivityServicer,
        scim_activity_pb2_grpc.add_ScimActivityServiceServicer_to_server,
    ),
    "muster.directory.v1.InvitationService": (
        InvitationServicer,
        invitations_pb2_grpc.add_InvitationServiceServicer_to_server,
    ),
    "muster.directory.v1.EventService": (EventServicer, events_pb2_grpc.add_EventServiceServicer_to_server),
}
"""Full name of a service → its servicer, and how gRPC takes it."""

SERVICE_NAMES: Final = (*_PLAIN, "muster.directory.v1.ImportService", "muster.directory.v1.OperationsService")
"""Full names of all services."""


def register_all(
    server: grpc.Server,
    resources: Resources,
    imports: Imports,
    apply_worker: ApplyWorker,
    housekeeper: Housekeeper,
) -> None:
    """Add every service to the server."""
    for servicer, add in _PLAIN.values():
        add(servicer(resources), server)
    imports_pb2_grpc.add_ImportServiceServicer_to_server(ImportServicer(resources, imports, apply_worker), server)
    operations_pb2_grpc.add_OperationsServiceServicer_to_server(OperationsServicer(resources, housekeeper), server)
