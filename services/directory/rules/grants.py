"""Who may call what: one table of methods, the grants that reach them, and the field that names the tenant."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace
from typing import Final


class Grant(enum.StrEnum):
    """What a caller may do; TENANT, ACCOUNT and CONNECTION are bound to one tenant, the others see all."""

    SUPPORT = "support"
    IMPORTER = "importer"
    NOTIFIER = "notifier"
    PANEL = "panel"
    """The administrators' panel: it signs them in, and does everything else with their own tokens."""
    LOGIN = "login"
    """The vendor's log-in page: people's passwords and invitations."""
    TENANT = "tenant"
    ACCOUNT = "account"
    """A signed-in administrator of one account and those below it; no service token has this grant."""
    CONNECTION = "connection"
    """A SCIM connection, which comes with an API key; no service token has this grant."""


BOUND: Final = frozenset({Grant.TENANT, Grant.ACCOUNT, Grant.CONNECTION})
"""Grants that reach one tenant alone."""

SERVICE_GRANTS: Final = frozenset(Grant) - {Grant.ACCOUNT, Grant.CONNECTION}
"""Grants that a service token can have."""


@dataclass(frozen=True)
class Rule:
    """Which grants reach a method, and where its request names the tenant.

    `tenant_field` is a path in the request (`name`, `source.name`); empty: the method looks across tenants or takes a
    stream, and no grant that is bound to a tenant reaches it. Unless `by_key`: then the caller's key itself says tenant
    and connection, or which administrator it is, and the request names neither. `anonymous`: the call needs no token,
    since what it carries is checked by the method itself. `each_message`: the caller is let in anew with each message
    of a stream, since the stream stays.

    Grant.ACCOUNT stands in no rule: rules/account_reach.py says which methods it reaches, and what of them.
    """

    grants: frozenset[Grant]
    tenant_field: str = ""
    by_key: bool = False
    anonymous: bool = False
    each_message: bool = False


_READ: Final = frozenset({Grant.SUPPORT, Grant.IMPORTER, Grant.NOTIFIER, Grant.TENANT})
_WRITE: Final = frozenset({Grant.SUPPORT, Grant.TENANT})
_IMPORT: Final = frozenset({Grant.SUPPORT, Grant.IMPORTER})
_DECIDE: Final = frozenset({Grant.SUPPORT, Grant.IMPORTER, Grant.TENANT})
_FOLLOW: Final = frozenset({Grant.SUPPORT, Grant.NOTIFIER})
_SERVICES: Final = frozenset({Grant.SUPPORT, Grant.IMPORTER, Grant.NOTIFIER})
_SUPPORT: Final = frozenset({Grant.SUPPORT})
_CONNECTION: Final = Rule(frozenset({Grant.CONNECTION}), by_key=True)
_LOGIN: Final = frozenset({Grant.SUPPORT, Grant.LOGIN})
_MYSELF: Final = Rule(frozenset({Grant.SUPPORT, Grant.TENANT, Grant.ACCOUNT}), by_key=True)
"""What signed-in administrators do with their own session; a service token is refused by the method."""

_METHODS: Final = {
    "TenantService": {
        "CreateTenant": Rule(_SUPPORT),
        "GetTenant": Rule(_READ, "name"),
        "ListTenants": Rule(_SERVICES),
        "UpdateTenant": Rule(_WRITE, "tenant.name"),
        "DeleteTenant": Rule(_SUPPORT, "name"),
    },
    "AccountService": {
        "CreateAccount": Rule(_WRITE, "tenant"),
        "GetAccount": Rule(_READ, "name"),
        "ListAccounts": Rule(_READ, "tenant"),
        "UpdateAccount": Rule(_WRITE, "account.name"),
        "MoveAccount": Rule(_WRITE, "name"),
        "DeleteAccount": Rule(_WRITE, "name"),
    },
    "GroupService": {
        "CreateGroup": Rule(_WRITE, "account"),
        "GetGroup": Rule(_READ, "name"),
        "ListGroups": Rule(_READ, "tenant"),
        "ListMemberships": Rule(_READ, "group"),
        "ModifyMemberships": Rule(_WRITE, "group"),
        "ReplaceMemberships": Rule(_SUPPORT),
        "UpdateGroup": Rule(_WRITE, "group.name"),
        "DeleteGroup": Rule(_WRITE, "name"),
        "MoveGroup": Rule(_WRITE, "name"),
        "ReleaseGroupId": Rule(_WRITE, "tenant"),
        "ListReservedGroupIds": Rule(_READ, "tenant"),
    },
    "UserService": {
        "CreateUser": Rule(_WRITE, "account"),
        "GetUser": Rule(_READ, "name"),
        "BatchGetUsers": Rule(_READ, "tenant"),
        "ListUsers": Rule(_READ, "tenant"),
        "UpdateUser": Rule(_WRITE, "user.name"),
        "DeleteUser": Rule(_WRITE, "name"),
        "UndeleteUser": Rule(_WRITE, "name"),
        "ExportUser": Rule(_WRITE, "name"),
        "EraseUser": Rule(_WRITE, "name"),
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
        "PauseSource": Rule(_WRITE, "name"),
        "ResumeSource": Rule(_WRITE, "name"),
        "DetachSource": Rule(_WRITE, "name"),
        "DeleteSource": Rule(_WRITE, "name"),
        "GetSourceSecret": Rule(_IMPORT, "name"),
        "ListDropLogins": Rule(_IMPORT),
        "ClaimDueSource": Rule(_IMPORT),
        "RenewClaim": Rule(_IMPORT, "source"),
        "ReleaseClaim": Rule(_IMPORT, "source"),
    },
    "ApiKeyService": {
        "CreateApiKey": Rule(_WRITE, "source"),
        # The notifier warns of keys that end soon; what it reads holds no secret.
        "ListApiKeys": Rule(_WRITE | {Grant.NOTIFIER}, "source"),
        "RotateApiKey": Rule(_WRITE, "name"),
        "RevokeApiKey": Rule(_WRITE, "name"),
        "FindApiKey": Rule(_SUPPORT),
        "IssueAccessToken": Rule(frozenset(), anonymous=True),
    },
    "AdministratorService": {
        "CreateAdministrator": Rule(_WRITE, "parent"),
        "GetAdministrator": Rule(_WRITE, "name"),
        # The notifier writes to them about sources that have no address of their own.
        "ListAdministrators": Rule(_WRITE | {Grant.NOTIFIER}, "parent"),
        "UpdateAdministrator": Rule(_WRITE, "administrator.name"),
        "DeleteAdministrator": Rule(_WRITE, "name"),
        "ResetAdministratorPassword": Rule(_WRITE, "name"),
        "SignIn": Rule(frozenset({Grant.SUPPORT, Grant.PANEL})),
        "SignOut": _MYSELF,
        "GetSession": _MYSELF,
        "ChangePassword": _MYSELF,
        "BeginTotp": _MYSELF,
        "ConfirmTotp": _MYSELF,
        "EndTotp": _MYSELF,
    },
    "CredentialService": {
        "RequestPasswordReset": Rule(_LOGIN, "tenant"),
        "MintPasswordResetLink": Rule(_FOLLOW, "user"),
        # The link's token says whose password it is.
        "ResetPassword": Rule(_LOGIN),
        "VerifyPassword": Rule(_LOGIN, "tenant"),
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
        "JudgeDepartures": _CONNECTION,
        "BatchCall": _CONNECTION,
        "StreamBatches": replace(_CONNECTION, each_message=True),
    },
    "ScimActivityService": {
        # The credential that the requests showed says whose they are, and may no longer open anything.
        "RecordActivity": Rule(frozenset(), anonymous=True),
        "ListActivity": Rule(_READ, "source"),
        "GetActivitySummary": Rule(_READ, "source"),
    },
    "ImportService": {
        "CreateImportRun": Rule(_IMPORT, "source"),
        "RecordUnchangedFile": Rule(_IMPORT, "source"),
        "ListSettledRows": Rule(_IMPORT, "import_run"),
        "StageImportRows": Rule(_IMPORT),
        "AddImportIssues": Rule(_IMPORT, "import_run"),
        "KeepRejectedRows": Rule(_IMPORT, "import_run"),
        "DownloadRejectedRows": Rule(_READ, "import_run"),
        "RefuseImportRun": Rule(_IMPORT, "import_run"),
        "PlanImport": Rule(_IMPORT, "import_run"),
        "ApplyImport": Rule(_DECIDE, "import_run"),
        "DiscardImportRun": Rule(_DECIDE, "import_run"),
        "PlanUndo": Rule(_DECIDE, "import_run"),
        "GetImportRun": Rule(_READ, "name"),
        "ListImportRuns": Rule(_READ, "source"),
        "WatchImportRun": Rule(_READ, "import_run"),
        "ListImportChanges": Rule(_READ, "import_run"),
        "ListImportIssues": Rule(_READ, "import_run"),
        "ListImportRows": Rule(_READ, "import_run"),
    },
    "OperationsService": {
        "CheckIntegrity": Rule(_SUPPORT, "tenant"),
        "PurgeExpired": Rule(_SUPPORT),
    },
    "InvitationService": {
        "CreateInvitation": Rule(_WRITE, "user"),
        "BatchCreateInvitations": Rule(_WRITE, "tenant"),
        "GetInvitation": Rule(_READ, "name"),
        "ListInvitations": Rule(_READ, "tenant"),
        "RevokeInvitation": Rule(_WRITE, "name"),
        "MintInvitationLink": Rule(_FOLLOW, "name"),
        # The link's token says whose invitation it is.
        "AcceptInvitation": Rule(_LOGIN),
    },
    "EventService": {
        "ListEvents": Rule(_READ, "tenant"),
        "WatchEvents": Rule(_FOLLOW | {Grant.TENANT}, "tenant"),
        "AcknowledgeEvents": Rule(_FOLLOW),
        "ListSubscriptions": Rule(_FOLLOW),
        "DeleteSubscription": Rule(_FOLLOW),
    },
}

METHOD_RULES: Final = {
    f"/muster.directory.v1.{service}/{method}": rule
    for service, methods in _METHODS.items()
    for method, rule in methods.items()
}
"""Full method name as gRPC has it → rule. A method without an entry is refused to everybody."""
