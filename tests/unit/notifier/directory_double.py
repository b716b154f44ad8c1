"""A directory for the notifier's tests: it serves the real contract over real gRPC, from values a test sets."""

# ruff: noqa: N802 - the contract's names

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent import futures
from fnmatch import fnmatch
from typing import Any, Self

import grpc
from muster.directory.v1 import (
    administrators_pb2,
    administrators_pb2_grpc,
    api_keys_pb2,
    api_keys_pb2_grpc,
    events_pb2,
    events_pb2_grpc,
    imports_pb2,
    imports_pb2_grpc,
    licenses_pb2,
    licenses_pb2_grpc,
    scim_activity_pb2,
    scim_activity_pb2_grpc,
    sources_pb2,
    sources_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
    users_pb2,
    users_pb2_grpc,
)
from muster.runtime import errors, identity

TENANT = "tenants/ten_000017"
SOURCE = f"{TENANT}/sources/src_000012"
NOTIFIER_TOKEN = "notifier-token"
TENANT_TOKEN = "tenant-token"


class RowsAreGoneError(errors.RpcError):
    reason = "RUN_STATE"


class DirectoryDouble(
    administrators_pb2_grpc.AdministratorServiceServicer,
    api_keys_pb2_grpc.ApiKeyServiceServicer,
    scim_activity_pb2_grpc.ScimActivityServiceServicer,
    events_pb2_grpc.EventServiceServicer,
    imports_pb2_grpc.ImportServiceServicer,
    licenses_pb2_grpc.LicenseServiceServicer,
    sources_pb2_grpc.SourceServiceServicer,
    tenants_pb2_grpc.TenantServiceServicer,
    users_pb2_grpc.UserServiceServicer,
):
    """One tenant with one source; `add_run` ends a run and `refuse` a person's wish for a seat, with its event."""

    token = NOTIFIER_TOKEN

    def __init__(self, *report_to: str) -> None:
        self.tenant = tenants_pb2.Tenant(name=TENANT, display_name="Ingleby Council", language="en")
        self.license = licenses_pb2.License(name=f"{TENANT}/license", seats_total=10, seats_used=8)
        self.source = sources_pb2.Source(
            name=SOURCE,
            display_name="Staff file",
            state=sources_pb2.SOURCE_STATE_ENABLED,
            report_to=report_to,
            time_zone="Europe/Stockholm",
            sftp=sources_pb2.SftpEndpoint(path="/users.csv"),
        )
        self.administrators: list[administrators_pb2.Administrator] = []
        self.runs: dict[str, imports_pb2.ImportRun] = {}
        self.changes: dict[str, list[imports_pb2.ImportChange]] = {}
        self.issues: dict[str, list[imports_pb2.ImportIssue]] = {}
        self.rejected_files: dict[str, list[bytes]] = {}
        self.users: dict[str, users_pb2.User] = {}
        self.health = scim_activity_pb2.GetActivitySummaryResponse()
        self.keys: list[api_keys_pb2.ApiKey] = []
        self.refusals: list[licenses_pb2.Refusal] = []
        self.events: list[events_pb2.Event] = []
        self.subscriptions: dict[str, int] = {}
        self.failing: dict[str, grpc.StatusCode] = {}
        self.calls: list[str] = []
        self.began_at = 1_772_300_000
        """Second, since 1970, before that of the first event."""
        self.port = 0
        self._written = threading.Condition()
        self._server: grpc.Server | None = None

    def __enter__(self) -> Self:
        self.come_back()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_away()

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"127.0.0.1:{self.port}"

    def come_back(self) -> None:
        """Answer, on the same port as before."""
        self._server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.so_reuseport", 0)])
        administrators_pb2_grpc.add_AdministratorServiceServicer_to_server(self, self._server)
        api_keys_pb2_grpc.add_ApiKeyServiceServicer_to_server(self, self._server)
        users_pb2_grpc.add_UserServiceServicer_to_server(self, self._server)
        events_pb2_grpc.add_EventServiceServicer_to_server(self, self._server)
        imports_pb2_grpc.add_ImportServiceServicer_to_server(self, self._server)
        licenses_pb2_grpc.add_LicenseServiceServicer_to_server(self, self._server)
        scim_activity_pb2_grpc.add_ScimActivityServiceServicer_to_server(self, self._server)
        sources_pb2_grpc.add_SourceServiceServicer_to_server(self, self._server)
        tenants_pb2_grpc.add_TenantServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def go_away(self) -> None:
        """Be down."""
        if self._server is not None:
            self._server.stop(None).wait()
            self._server = None

    def add_run(self, status: str, **fields) -> str:
        """End a run with `status` (a word such as `applied`), write its event, and give its name."""
        name = f"{TENANT}/importRuns/run_{len(self.runs) + 1:06}"
        value = imports_pb2.ImportRunStatus.Value(f"IMPORT_RUN_STATUS_{status.upper()}")
        self.runs[name] = imports_pb2.ImportRun(name=name, source=SOURCE, status=value, **fields)
        self.add_event(f"run.{status}", name)
        return name

    def add_administrator(self, email: str, *, account: str = "") -> None:
        """Have an administrator of the tenant, or of an account of it."""
        role = (
            administrators_pb2.ADMINISTRATOR_ROLE_ACCOUNT if account else administrators_pb2.ADMINISTRATOR_ROLE_TENANT
        )
        self.administrators.append(administrators_pb2.Administrator(email=email, role=role, account=account))

    def refuse(self, user_name: str) -> None:
        """Refuse a person a seat for the first time, and write the event."""
        self.refusals.append(licenses_pb2.Refusal(source=SOURCE, user_name=user_name, attempts=1))
        waiting = len(self.refusals)
        self.add_event("license.refused", self.license.name, actor=SOURCE, user_name=user_name, refused=waiting)

    def add_user(self, email: str, **fields) -> str:
        """Have a person, active and without an owner unless the fields say so, and give the name."""
        name = f"{TENANT}/users/usr_{len(self.users) + 1:06}"
        person = users_pb2.User(name=name, email=email, display_name="Ada Byron", state=users_pb2.USER_STATE_ACTIVE)
        person.MergeFrom(users_pb2.User(**fields))
        self.users[name] = person
        return name

    def change_mail(self, user: str, email: str) -> None:
        """Give a person another address, and write the event."""
        before, self.users[user].email = self.users[user].email, email
        self.add_event("user.updated", user, before={"email": before}, email=email)

    def add_event(
        self,
        kind: str,
        resource: str,
        *,
        actor: str = "",
        before: dict[str, str] | None = None,
        import_run: str = "",
        **after: Any,
    ) -> None:
        """Write one event; `after` is what it tells."""
        with self._written:
            number = len(self.events) + 1
            event = events_pb2.Event(
                name=f"{TENANT}/events/evt_{number:06}",
                kind=kind,
                resource=resource,
                actor=actor,
                import_run=import_run,
            )
            event.before.update(before or {})
            event.time.FromSeconds(self.began_at + number)
            if resource in self.runs:
                event.after.update({"reason": self.runs[resource].reason})
            event.after.update(after)
            self.events.append(event)
            self._written.notify_all()

    def WatchEvents(self, request, context) -> Iterator[events_pb2.WatchEventsResponse]:
        self._answer("WatchEvents", context)
        position = int(request.cursor or 0)
        if request.subscription:
            self.subscriptions[request.subscription] = position
        yield events_pb2.WatchEventsResponse(cursor=str(position))  # a checkpoint
        while context.is_active():
            with self._written:
                if len(self.events) == position:
                    self._written.wait(0.1)
                news = self.events[position:]
            for event in news:
                position += 1
                if any(fnmatch(event.kind, kind) for kind in request.kinds):
                    yield events_pb2.WatchEventsResponse(event=event, cursor=str(position))

    def AcknowledgeEvents(self, request, context):
        self._answer("AcknowledgeEvents", context)
        if request.subscription not in self.subscriptions:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such subscription")
        kept = self.subscriptions[request.subscription]
        self.subscriptions[request.subscription] = max(kept, int(request.cursor or 0))
        return events_pb2.AcknowledgeEventsResponse()

    def GetTenant(self, request, context):
        allowed = (NOTIFIER_TOKEN, TENANT_TOKEN) if request.name == TENANT else (NOTIFIER_TOKEN,)
        self._answer("GetTenant", context, allowed)
        return tenants_pb2.GetTenantResponse(tenant=self.tenant)

    def ListTenants(self, request, context):
        self._answer("ListTenants", context)
        return tenants_pb2.ListTenantsResponse(tenants=[self.tenant])

    def ListSources(self, request, context):
        self._answer("ListSources", context)
        return sources_pb2.ListSourcesResponse(sources=[self.source])

    def ListAdministrators(self, request, context):
        self._answer("ListAdministrators", context)
        assert request.parent == TENANT
        return administrators_pb2.ListAdministratorsResponse(administrators=self.administrators)

    def GetActivitySummary(self, request, context):
        self._answer("GetActivitySummary", context)
        return self.health

    def ListApiKeys(self, request, context):
        self._answer("ListApiKeys", context)
        return api_keys_pb2.ListApiKeysResponse(api_keys=self.keys)

    def GetUser(self, request, context):
        self._answer("GetUser", context)
        if request.name not in self.users:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such user")
        return users_pb2.GetUserResponse(user=self.users[request.name])

    def BatchGetUsers(self, request, context):
        self._answer("BatchGetUsers", context)
        if not all(name in self.users for name in request.names):
            context.abort(grpc.StatusCode.NOT_FOUND, "no such user")
        return users_pb2.BatchGetUsersResponse(users=[self.users[name] for name in request.names])

    def GetLicense(self, request, context):
        self._answer("GetLicense", context)
        return licenses_pb2.GetLicenseResponse(license=self.license)

    def ListRefusals(self, request, context):
        self._answer("ListRefusals", context)
        return licenses_pb2.ListRefusalsResponse(refusals=self.refusals[: request.page_size], total=len(self.refusals))

    def GetSource(self, request, context):
        self._answer("GetSource", context)
        if request.name != SOURCE:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such source")
        return sources_pb2.GetSourceResponse(source=self.source)

    def GetImportRun(self, request, context):
        self._answer("GetImportRun", context)
        self._answer(request.name, context)
        if request.name not in self.runs:
            context.abort(grpc.StatusCode.NOT_FOUND, "no such run")
        return imports_pb2.GetImportRunResponse(import_run=self.runs[request.name])

    def ListImportRuns(self, request, context):
        self._answer("ListImportRuns", context)
        return imports_pb2.ListImportRunsResponse(import_runs=list(self.runs.values())[::-1])

    def ListImportChanges(self, request, context):
        self._answer("ListImportChanges", context)
        found = [change for change in self.changes.get(request.import_run, []) if change.action == request.action]
        return imports_pb2.ListImportChangesResponse(changes=found[: request.page_size])

    def ListImportIssues(self, request, context):
        self._answer("ListImportIssues", context)
        found = [issue for issue in self.issues.get(request.import_run, []) if issue.severity == request.severity]
        start = int(request.page_token or 0)
        end = start + request.page_size
        return imports_pb2.ListImportIssuesResponse(
            issues=found[start:end], next_page_token=str(end) if end < len(found) else ""
        )

    def DownloadRejectedRows(self, request, context):
        self._answer("DownloadRejectedRows", context)
        if request.import_run not in self.rejected_files:
            context.abort_with_status(errors.to_status(RowsAreGoneError("its rejected rows are gone")))
        for chunk in self.rejected_files[request.import_run]:
            yield imports_pb2.DownloadRejectedRowsResponse(chunk=chunk)

    def _answer(self, method: str, context, allowed=(NOTIFIER_TOKEN,)) -> None:
        self.calls.append(method)
        if method in self.failing:
            context.abort(self.failing[method], "the test wants it so")
        if identity.token_of(context.invocation_metadata()) not in allowed:
            context.abort(grpc.StatusCode.PERMISSION_DENIED, "not with this token")


def a_directory(*report_to: str) -> DirectoryDouble:
    """Make a directory whose source reports to these addresses; it answers inside `with`."""
    return DirectoryDouble(*report_to)  # type: ignore[abstract]  # what it does not serve, nobody asks for
