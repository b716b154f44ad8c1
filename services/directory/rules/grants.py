"""Who may call what: one table of methods, the grants that reach them, and the field that names the tenant."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final


class Grant(enum.StrEnum):
    """What a caller may do; TENANT and CONNECTION are bound to one tenant, the others see all."""

    SUPPORT = "support"
    IMPORTER = "importer"
    NOTIFIER = "notifier"
    TENANT = "tenant"
    CONNECTION = "connection"
    """A SCIM connection, which comes with an API key; no service token has this grant."""


BOUND: Final = frozenset({Grant.TENANT, Grant.CONNECTION})
"""Grants that reach one tenant alone."""

SERVICE_GRANTS: Final = frozenset(Grant) - {Grant.CONNECTION}
"""Grants that a service token can have."""


@dataclass(frozen=True)
class Rule:
    """Which grants reach a method, and where its request names the tenant.

    `tenant_field` is a path in the request (`name`, `source.name`); empty: the method looks across tenants or takes a
    stream, and no grant that is bound to a tenant reaches it. Unless `by_key`: then the caller's key itself says tenant
    and connection, and the request names neither.
    """

    grants: frozenset[Grant]
    tenant_field: str = ""
    by_key: bool = False


_READ: Final = SERVICE_GRANTS
_WRITE: Final = frozenset({Grant.SUPPORT, Grant.TENANT})
_IMPORT: Final = frozenset({Grant.SUPPORT, Grant.IMPORTER})
_DECIDE: Final = frozenset({Grant.SUPPORT, Grant.IMPORTER, Grant.TENANT})
_FOLLOW: Final = frozenset({Grant.SUPPORT, Grant.NOTIFIER})
_SERVICES: Final = frozenset({Grant.SUPPORT, Grant.IMPORTER, Grant.NOTIFIER})
_SUPPORT: Final = frozenset({Grant.SUPPORT})
_CONNECTION: Final = Rule(frozenset({Grant.CONNECTION}), by_key=True)

_METHODS: Final = {
    "TenantService": {
        "CreateTenant": Rule(_SUPPORT),
        "GetTenant": Rule(_READ, "name"),
        "ListTenants": Rule(_SERVICES),
    },
    "AccountService": {
        "CreateAccount": Rule(_WRITE, "tenant"),
        "GetAccount": Rule(_READ, "name"),
        "ListAccounts": Rule(_READ, "tenant"),
    },
    "GroupService": {
        "CreateGroup": Rule(_WRITE, "account"),
        "GetGroup": Rule(_READ, "name"),
        "ListGroups": Rule(_READ, "tenant"),
        "ListMemberships": Rule(_READ, "group"),
        "ModifyMemberships": Rule(_WRITE, "group"),
    },
    "UserService": {
        "CreateUser": Rule(_WRITE, "account"),
        "GetUser": Rule(_READ, "name"),
        "BatchGetUsers": Rule(_READ, "tenant"),
        "ListUsers": Rule(_READ, "tenant"),
    },
    "LicenseService": {
        "GetLicense": Rule(_READ, "name"),
        # Seats are what the vendor sells: a customer does not raise them for itself.
        "UpdateLicense": Rule(_SUPPORT, "name"),
        "ListRefusals": Rule(_READ, "license"),
    },
    "SourceService": {
        "CreateSource": Rule(_WRITE, "tenant"),
        "GetSource": Rule(_READ, "name"),
        "ListSources": Rule(_READ, "tenant"),
        "UpdateSource": Rule(_WRITE, "source.name"),
        "EnableSource": Rule(_WRITE, "name"),
        "DisableSource": Rule(_WRITE, "name"),
        "GetSourceSecret": Rule(_IMPORT, "name"),
        "ListDropLogins": Rule(_IMPORT),
    },
    "ApiKeyService": {
        "CreateApiKey": Rule(_WRITE, "source"),
        "ListApiKeys": Rule(_WRITE, "source"),
        "RotateApiKey": Rule(_WRITE, "name"),
        "RevokeApiKey": Rule(_WRITE, "name"),
        "FindApiKey": Rule(_SUPPORT),
    },
    "ProvisioningService": {
        "GetProvisionedUser": _CONNECTION,
        "GetProvisionedGroup": _CONNECTION,
        "SearchProvisioned": _CONNECTION,
        "CreateProvisionedUser": _CONNECTION,
        "UpdateProvisionedUser": _CONNECTION,
        "DeleteProvisionedUser": _CONNECTION,
        "CreateProvisionedGroup": _CONNECTION,
        "UpdateProvisionedGroup": _CONNECTION,
        "DeleteProvisionedGroup": _CONNECTION,
    },
    "ImportService": {
        "CreateImportRun": Rule(_IMPORT, "source"),
        "ListSettledRows": Rule(_IMPORT, "import_run"),
        "StageImportRows": Rule(_IMPORT),
        "RefuseImportRun": Rule(_IMPORT, "import_run"),
        "PlanImport": Rule(_IMPORT, "import_run"),
        "ApplyImport": Rule(_DECIDE, "import_run"),
        "DiscardImportRun": Rule(_DECIDE, "import_run"),
        "GetImportRun": Rule(_READ, "name"),
        "ListImportRuns": Rule(_READ, "source"),
        "WatchImportRun": Rule(_READ, "import_run"),
        "ListImportChanges": Rule(_READ, "import_run"),
        "ListImportIssues": Rule(_READ, "import_run"),
    },
    "EventService": {
        "ListEvents": Rule(_READ, "tenant"),
        "WatchEvents": Rule(_FOLLOW),
    },
}

METHOD_RULES: Final = {
    f"/muster.directory.v1.{service}/{method}": rule
    for service, methods in _METHODS.items()
    for method, rule in methods.items()
}
"""Full method name as gRPC has it → rule. A method without an entry is refused to everybody."""
