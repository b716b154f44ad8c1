"""For each mutation that has a request_id: two requests that are both valid in a prepared tenant, and not the same."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from urllib.parse import parse_qs, urlsplit
from zlib import crc32

from google.protobuf.message import Message
from muster.directory.v1 import (
    accounts_pb2,
    administrators_pb2,
    api_keys_pb2,
    credentials_pb2,
    events_pb2,
    groups_pb2,
    imports_pb2,
    invitations_pb2,
    licenses_pb2,
    provisioning_pb2,
    sources_pb2,
    tenants_pb2,
    users_pb2,
)

from services.directory.rules import names
from services.directory.store.tables import Source
from tests.builders import a_staged_row
from tests.integration.directory.connection import Connection, connect, group_facts, user_facts
from tests.integration.directory.serving import Caller, Office, ServedDirectory, make_administrator
from tests.integration.directory.watching import Watcher, cursor_now
from tests.integration.roster.engine import block_of
from tests.stack.waiting import wait_until

PASSWORD = "correct horse battery"
PAGE = "https://people.example.org/accept"
Pair = Iterable[Message]


class Prepared:
    """A tenant, and things made in it when they are asked for; most come in twos, one for each request."""

    def __init__(self, directory: ServedDirectory, support: Caller):
        self.directory, self.support = directory, support
        self.office = Office(support, accept_url=PAGE)
        self.connection: Connection | None = None

    def connected(self) -> Connection:
        self.connection = connect(self.directory, self.office)
        return self.connection

    def about_to_provision(self, facts: list[Message]) -> list[Message]:
        self.connected()
        return facts

    def names(self) -> dict[str, str]:
        """One thing of each kind, as `walking.filled` wants them."""
        source = self.files(enabled=True)[0]
        run = self.support.imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=source)).import_run
        at_rest = imports_pb2.RefuseImportRunRequest(import_run=run.name, status=imports_pb2.IMPORT_RUN_STATUS_NO_FILE)
        self.support.imports.RefuseImportRun(at_rest)
        return {
            "tenant": self.office.name,
            "account": self.office.account().name,
            "group": self.office.group(group_id="WALK").name,
            "user": self.office.user().name,
            "source": source,
            "import_run": run.name,
            "license": self.office.license,
            "api_key": self.keys()[0],
            "invitation": self.invitations()[0],
            "administrator": self.administrators()[0],
        }

    def users(self):
        return [self.office.user().name for _ in range(2)]

    def deleted_users(self):
        return [self.office.delete_user(name).name for name in self.users()]

    def groups(self, **how):
        return [self.office.group(**how).name for _ in range(2)]

    def accounts(self):
        return [self.office.account().name for _ in range(2)]

    def files(self, *, enabled=False):
        made = []
        for name in ("One", "Two"):
            request = sources_pb2.CreateSourceRequest(
                tenant=self.office.name, source=sources_pb2.Source(display_name=name)
            )
            made.append(self.support.sources.CreateSource(request).source.name)
            if enabled:
                self.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=made[-1]))
        return made

    def applied_file(self):
        """A file whose last night was applied, and what the importer says of it."""
        source = sources_pb2.Source(display_name="Nightly", account=self.office.main_account)
        made = self.support.sources.CreateSource(
            sources_pb2.CreateSourceRequest(tenant=self.office.name, source=source)
        ).source.name
        self.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=made))
        facts = imports_pb2.ImportFileFacts(file_name="users.csv", sha256=b"s" * 32, reading=b"r")
        imports = self.support.imports
        run = imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=made)).import_run.name
        row = a_staged_row()
        end = imports_pb2.ImportEnd(row_count=1, checksum=crc32(f"{row.external_id}\n".encode()))
        start = imports_pb2.StageImportStart(import_run=run, file=facts)
        steps = ({"start": start}, {"block": block_of([row], frozenset())}, {"end": end})
        imports.StageImportRows(iter([imports_pb2.StageImportRowsRequest(**step) for step in steps]))
        plan = imports.PlanImport(imports_pb2.PlanImportRequest(import_run=run)).import_run
        imports.ApplyImport(imports_pb2.ApplyImportRequest(import_run=run, plan_hash=plan.plan_hash))
        watch = imports.WatchImportRun(imports_pb2.WatchImportRunRequest(import_run=run))
        assert [answer.import_run.status for answer in watch][-1] == imports_pb2.IMPORT_RUN_STATUS_APPLIED
        return made, facts

    def paused_files(self):
        for name in (paused := self.files(enabled=True)):
            self.support.sources.PauseSource(sources_pb2.PauseSourceRequest(name=name))
        return paused

    def due_files(self):
        """Files of which the first is due now, and no other of any tenant."""
        due, other = self.files()
        tenant_id, source_id = names.parse(names.SOURCE, due, field="source")
        with self.directory.store.write(tenant_id) as session:
            session.get(Source, (tenant_id, source_id)).due_at = self.directory.clock()
        return [due, other]

    def claims(self):
        """The claim of a due file, twice: the second request is of the source that nobody has claimed."""
        files = self.due_files()
        claim = self.support.sources.ClaimDueSource(sources_pb2.ClaimDueSourceRequest(worker="one")).claim
        assert claim.source.name == files[0]
        return files, claim.claim

    def keys(self):
        source = self.office.scim_source().name
        return [self.office.api_key(source).api_key.name for _ in range(2)]

    def administrators(self):
        return [make_administrator(self.support, self.office.name).administrator.name for _ in range(2)]

    def invitations(self):
        create = self.support.invitations.CreateInvitation
        requests = [invitations_pb2.CreateInvitationRequest(user=user) for user in self.users()]
        return [create(request).invitation.name for request in requests]

    def invitation_links(self):
        mint = self.support.invitations.MintInvitationLink
        return [mint(invitations_pb2.MintInvitationLinkRequest(name=name)).token for name in self.invitations()]

    def password_links(self):
        tokens = []
        for user in (self.office.user() for _ in range(2)):
            asked = credentials_pb2.RequestPasswordResetRequest(tenant=self.office.name, email=user.email)
            self.support.credentials.RequestPasswordReset(asked)
            minted = credentials_pb2.MintPasswordResetLinkRequest(user=user.name)
            url = self.support.credentials.MintPasswordResetLink(minted).url
            tokens.append(parse_qs(urlsplit(url).query)["token"][0])
        return tokens

    def reserved_group_ids(self):
        for group_id in (group_ids := ["R1", "R2"]):
            name = self.office.group(group_id=group_id).name
            self.support.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=name))
        return group_ids

    def subscriptions(self):
        names = [f"walk-{self.office.tenant_id}-{number}" for number in range(2)]
        for name in names:
            watcher = Watcher(self.support, subscription=name, cursor=cursor_now(self.support))
            wait_until(lambda watcher=watcher: watcher.answers)
            watcher.stop()
        return names

    def provisioned_users(self):
        connection = self.connected()
        return [connection.create().id for _ in range(2)]

    def provisioned_groups(self):
        connection = self.connected()
        return [connection.create_group(name).id for name in ("One", "Two")]

    def units(self):
        connection = self.connected()
        for unit in ("one", "two"):
            group = connection.create_group(unit, members=[connection.create().id])
            connection.change_group(group.id, replace=True, unit=unit)
        return ["one", "two"]


def _named(request: type[Message], names: Iterable[str], field: str = "name", **more: object) -> Pair:
    return [request(**{field: name}, **more) for name in names]


def _released(sources: Iterable[str], claim: str) -> Pair:
    reason = sources_pb2.RELEASE_REASON_TENANT_BUSY
    return _named(sources_pb2.ReleaseClaimRequest, sources, "source", claim=claim, reason=reason)


def _unchanged(source: str, facts: imports_pb2.ImportFileFacts) -> Pair:
    """The same bytes, under their name and under another."""
    other = imports_pb2.ImportFileFacts()
    other.CopyFrom(facts)
    other.file_name = "users-2.csv"
    return [imports_pb2.RecordUnchangedFileRequest(source=source, file=each) for each in (facts, other)]


def _titled(request: type[Message], field: str, kind: type[Message], name: str) -> Pair:
    made = [request(**{field: kind(name=name, display_name=title)}) for title in ("Renamed", "Renamed again")]
    for each in made:
        each.update_mask.paths.append("display_name")  # type: ignore[attr-defined]
    return made


def _two(request: type[Message], field: str, values: Iterable[object], **more: object) -> Pair:
    return [request(**{field: value}, **more) for value in values]


NAMES = ("One", "Two")
_FACTS = [user_facts(f"walk{number}@example.org") for number in range(2)]
_GROUPS = [group_facts(name, name) for name in NAMES]
_PEOPLE = [f"walk{number}@example.org" for number in range(2)]

REQUESTS: dict[str, Callable[[Prepared], Pair]] = {
    "CreateTenant": lambda p: _two(tenants_pb2.CreateTenantRequest, "display_name", NAMES),
    "UpdateTenant": lambda p: _titled(tenants_pb2.UpdateTenantRequest, "tenant", tenants_pb2.Tenant, p.office.name),
    "DeleteTenant": lambda p: _two(tenants_pb2.DeleteTenantRequest, "etag", ("", "stale"), name=p.office.name),
    "CreateAccount": lambda p: _two(accounts_pb2.CreateAccountRequest, "display_name", NAMES, tenant=p.office.name),
    "UpdateAccount": lambda p: _titled(
        accounts_pb2.UpdateAccountRequest, "account", accounts_pb2.Account, p.office.main_account
    ),
    "MoveAccount": lambda p: _two(
        accounts_pb2.MoveAccountRequest, "parent", p.accounts(), name=p.office.account().name
    ),
    "DeleteAccount": lambda p: _named(accounts_pb2.DeleteAccountRequest, p.accounts()),
    "CreateGroup": lambda p: _two(groups_pb2.CreateGroupRequest, "display_name", NAMES, account=p.office.main_account),
    "UpdateGroup": lambda p: _titled(groups_pb2.UpdateGroupRequest, "group", groups_pb2.Group, p.office.group().name),
    "DeleteGroup": lambda p: _named(groups_pb2.DeleteGroupRequest, p.groups()),
    "MoveGroup": lambda p: _two(
        groups_pb2.MoveGroupRequest,
        "account",
        p.accounts(),
        name=p.office.group().name,
        members=groups_pb2.MOVED_MEMBERS_ADD,
    ),
    "ReleaseGroupId": lambda p: _two(
        groups_pb2.ReleaseGroupIdRequest, "group_external_id", p.reserved_group_ids(), tenant=p.office.name
    ),
    "ModifyMemberships": lambda p: _two(
        groups_pb2.ModifyMembershipsRequest, "add", [[user] for user in p.users()], group=p.office.group().name
    ),
    "ReplaceMemberships": lambda p: _two(
        groups_pb2.ReplaceMembershipsRequest, "users", [[user] for user in p.users()], group=p.office.group().name
    ),
    "CreateUser": lambda p: [p.office.user_request(email) for email in _PEOPLE],
    "UpdateUser": lambda p: _titled(users_pb2.UpdateUserRequest, "user", users_pb2.User, p.office.user().name),
    "DeleteUser": lambda p: _named(users_pb2.DeleteUserRequest, p.users()),
    "UndeleteUser": lambda p: _named(users_pb2.UndeleteUserRequest, p.deleted_users()),
    "EraseUser": lambda p: _named(users_pb2.EraseUserRequest, p.users()),
    "UpdateLicense": lambda p: _two(licenses_pb2.UpdateLicenseRequest, "seats_total", (20, 30), name=p.office.license),
    "CreateSource": lambda p: _two(
        sources_pb2.CreateSourceRequest,
        "source",
        [sources_pb2.Source(display_name=name) for name in NAMES],
        tenant=p.office.name,
    ),
    "UpdateSource": lambda p: _titled(sources_pb2.UpdateSourceRequest, "source", sources_pb2.Source, p.files()[0]),
    "EnableSource": lambda p: _named(sources_pb2.EnableSourceRequest, p.files()),
    "DisableSource": lambda p: _named(sources_pb2.DisableSourceRequest, p.files()),
    "PauseSource": lambda p: _named(sources_pb2.PauseSourceRequest, p.files(enabled=True)),
    "ResumeSource": lambda p: _named(sources_pb2.ResumeSourceRequest, p.paused_files()),
    "DetachSource": lambda p: _named(
        sources_pb2.DetachSourceRequest, p.files(enabled=True), users=sources_pb2.DETACHED_USERS_DELETE
    ),
    "DeleteSource": lambda p: _named(sources_pb2.DeleteSourceRequest, p.files()),
    "ClaimDueSource": lambda p: (
        p.due_files(),
        _two(sources_pb2.ClaimDueSourceRequest, "worker", NAMES),
    )[1],
    "ReleaseClaim": lambda p: _released(*p.claims()),
    "CreateApiKey": lambda p: _two(
        api_keys_pb2.CreateApiKeyRequest, "expires_days", (10, 20), source=p.office.scim_source().name
    ),
    "RotateApiKey": lambda p: _named(api_keys_pb2.RotateApiKeyRequest, p.keys()),
    "RevokeApiKey": lambda p: _named(api_keys_pb2.RevokeApiKeyRequest, p.keys()),
    "CreateAdministrator": lambda p: _two(
        administrators_pb2.CreateAdministratorRequest,
        "email",
        [f"{p.office.tenant_id}.{email}" for email in _PEOPLE],
        parent=p.office.name,
    ),
    "UpdateAdministrator": lambda p: _titled(
        administrators_pb2.UpdateAdministratorRequest,
        "administrator",
        administrators_pb2.Administrator,
        p.administrators()[0],
    ),
    "DeleteAdministrator": lambda p: _named(administrators_pb2.DeleteAdministratorRequest, p.administrators()),
    "ResetAdministratorPassword": lambda p: _named(
        administrators_pb2.ResetAdministratorPasswordRequest, p.administrators()
    ),
    "RequestPasswordReset": lambda p: _two(
        credentials_pb2.RequestPasswordResetRequest,
        "email",
        [p.office.user().email for _ in range(2)],
        tenant=p.office.name,
    ),
    "ResetPassword": lambda p: _two(
        credentials_pb2.ResetPasswordRequest, "token", p.password_links(), new_password=PASSWORD
    ),
    "CreateInvitation": lambda p: _named(invitations_pb2.CreateInvitationRequest, p.users(), "user"),
    "BatchCreateInvitations": lambda p: _two(
        invitations_pb2.BatchCreateInvitationsRequest, "users", [[user] for user in p.users()], tenant=p.office.name
    ),
    "RevokeInvitation": lambda p: _named(invitations_pb2.RevokeInvitationRequest, p.invitations()),
    "AcceptInvitation": lambda p: _two(
        invitations_pb2.AcceptInvitationRequest, "token", p.invitation_links(), password=PASSWORD
    ),
    "DeleteSubscription": lambda p: _named(events_pb2.DeleteSubscriptionRequest, p.subscriptions(), "subscription"),
    "CreateImportRun": lambda p: _two(
        imports_pb2.CreateImportRunRequest, "dry_run", (False, True), source=p.files(enabled=True)[0]
    ),
    "RecordUnchangedFile": lambda p: _unchanged(*p.applied_file()),
    "CreateProvisionedUser": lambda p: _two(
        provisioning_pb2.CreateProvisionedUserRequest, "facts", p.about_to_provision(_FACTS)
    ),
    "UpdateProvisionedUser": lambda p: _two(
        provisioning_pb2.UpdateProvisionedUserRequest, "facts", _FACTS, id=p.provisioned_users()[0]
    ),
    "DeleteProvisionedUser": lambda p: _named(
        provisioning_pb2.DeleteProvisionedUserRequest, p.provisioned_users(), "id"
    ),
    "CreateProvisionedGroup": lambda p: _two(
        provisioning_pb2.CreateProvisionedGroupRequest, "facts", p.about_to_provision(_GROUPS)
    ),
    "UpdateProvisionedGroup": lambda p: _two(
        provisioning_pb2.UpdateProvisionedGroupRequest, "facts", _GROUPS, id=p.provisioned_groups()[0]
    ),
    "JudgeDepartures": lambda p: _named(provisioning_pb2.JudgeDeparturesRequest, p.units(), "unit_of_work"),
    "DeleteProvisionedGroup": lambda p: _named(
        provisioning_pb2.DeleteProvisionedGroupRequest, p.provisioned_groups(), "id"
    ),
}
"""Method → its two requests."""
