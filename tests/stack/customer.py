"""One tenant in a running system, and what its people and its nights do, in the words of the product."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from google.protobuf.field_mask_pb2 import FieldMask
from muster.directory.v1 import (
    accounts_pb2,
    groups_pb2,
    imports_pb2,
    licenses_pb2,
    sources_pb2,
    tenants_pb2,
    users_pb2,
)
from muster.importer.v1 import importer_pb2

from tests.stack.sftp import SftpFolder
from tests.stack.system import System
from tests.stack.waiting import wait_until

APPLY, LEAVE_OUT = imports_pb2.DELETIONS_APPLY, imports_pb2.DELETIONS_LEAVE_OUT
FILE = "users.csv"
_CHUNK_BYTES = 64 * 1024
_numbers = itertools.count(1)
Page = TypeVar("Page")


class Customer:
    """A tenant with its main account; every call goes through the services' own doors with support's token."""

    def __init__(self, system: System, *, seats: int = 100_000, language: str = "en") -> None:
        self.system = system
        number = next(_numbers)
        self.report_to = f"reports-{number}-{secrets.token_hex(4)}@customer.example"
        made = system.tenants.CreateTenant(
            tenants_pb2.CreateTenantRequest(
                display_name=f"Customer {number}", seats_total=seats, language=language, request_id=_request_id()
            )
        ).tenant
        self.tenant: str = made.name
        self.main_account: str = made.main_account

    # --- what administrators set up ---

    def account(self, display_name: str) -> str:
        """Make a sub-account and give its name."""
        request = accounts_pb2.CreateAccountRequest(
            tenant=self.tenant, display_name=display_name, request_id=_request_id()
        )
        return str(self.system.accounts.CreateAccount(request).account.name)

    def group(self, display_name: str, *, account: str = "", group_id: str = "") -> str:
        """Make a group, synced when it has a Group ID, and give its name."""
        request = groups_pb2.CreateGroupRequest(
            account=account or self.main_account,
            display_name=display_name,
            group_external_id=group_id,
            request_id=_request_id(),
        )
        return str(self.system.groups.CreateGroup(request).group.name)

    def user(self, display_name: str, email: str, *, groups: Sequence[str] = ()) -> users_pb2.User:
        """Make a user by hand in the main account."""
        request = users_pb2.CreateUserRequest(
            account=self.main_account,
            display_name=display_name,
            email=email,
            groups=groups,
            request_id=_request_id(),
        )
        made: users_pb2.User = self.system.users.CreateUser(request).user
        return made

    def source(
        self,
        folder: SftpFolder | None = None,
        *,
        login: str = "password",
        enabled: bool = True,
        host_key: str | None = None,
        **settings: Any,
    ) -> str:
        """Make a file source on the test's SFTP server and give its name.

        Args:
            folder: Where its users.csv is; None for a hosted drop, whose files come by hand in tests.
            login: `password`, or the kind of key: ed25519, rsa, ecdsa.
            enabled: False leaves it in trial.
            host_key: The pinned one, by default the server's ed25519 key; "" pins none.
            **settings: Fields of Source.
        """
        source = sources_pb2.Source(
            display_name="Payroll",
            kind=sources_pb2.SOURCE_KIND_SFTP,
            **{"account": self.main_account, "stable_for_seconds": 1, "report_to": [self.report_to], **settings},
        )
        credentials = None
        source.sftp.path = f"/{FILE}"
        if folder is not None:
            server = folder.server
            source.sftp.host, source.sftp.port = self.system.reach(server.host, server.port)
            source.sftp.username = server.username
            source.sftp.path = folder.path_of(FILE)
            source.sftp.host_key = server.host_keys[0] if host_key is None else host_key
            credentials = (
                sources_pb2.SftpCredentials(password=server.password)
                if login == "password"
                else sources_pb2.SftpCredentials(private_key=server.login_keys[login].private_text)
            )
        made = self.system.sources.CreateSource(
            sources_pb2.CreateSourceRequest(
                tenant=self.tenant, source=source, credentials=credentials, request_id=_request_id()
            )
        ).source
        if enabled:
            self.enable(made.name)
        return str(made.name)

    def enable(self, source: str) -> None:
        """Give the go-ahead."""
        self.system.sources.EnableSource(sources_pb2.EnableSourceRequest(name=source, request_id=_request_id()))

    def change_source(self, source: str, *paths: str, **settings: Any) -> None:
        """Change settings of a source; `paths` defaults to the names of `settings`."""
        self.system.sources.UpdateSource(
            sources_pb2.UpdateSourceRequest(
                source=sources_pb2.Source(name=source, **settings),
                update_mask=FieldMask(paths=list(paths or settings)),
                request_id=_request_id(),
            )
        )

    def set_seats(self, seats: int) -> None:
        """Buy this many seats."""
        self.system.licenses.UpdateLicense(
            licenses_pb2.UpdateLicenseRequest(
                name=f"{self.tenant}/license", seats_total=seats, request_id=_request_id()
            )
        )

    # --- nights ---

    def run(self, source: str, *, dry_run: bool = False) -> imports_pb2.ImportRun:
        """Fetch by SFTP now, and give the run at rest."""
        return last_of(self.system.importer.RunSource(importer_pb2.RunSourceRequest(source=source, dry_run=dry_run)))

    def import_file(self, source: str, content: bytes, *, dry_run: bool = False) -> imports_pb2.ImportRun:
        """Send a file by hand, and give the run at rest."""
        return last_of(self.system.importer.ImportFile(file_messages(source, content, dry_run=dry_run)))

    def approve(self, run: imports_pb2.ImportRun, *, deletions: int = APPLY) -> imports_pb2.ImportRun:
        """Approve a plan as it was shown, and give the run at rest."""
        self.system.imports.ApplyImport(
            imports_pb2.ApplyImportRequest(
                import_run=run.name,
                plan_hash=run.plan_hash,
                deletions=deletions,  # type: ignore[arg-type]  # a number of that enum
            )
        )
        return self.at_rest(run.name)

    def discard(self, run: imports_pb2.ImportRun) -> imports_pb2.ImportRun:
        """Decide against a plan."""
        request = imports_pb2.DiscardImportRunRequest(import_run=run.name)
        discarded: imports_pb2.ImportRun = self.system.imports.DiscardImportRun(request).import_run
        return discarded

    def get_run(self, name: str) -> imports_pb2.ImportRun:
        """A run as it is now."""
        run: imports_pb2.ImportRun = self.system.imports.GetImportRun(
            imports_pb2.GetImportRunRequest(name=name)
        ).import_run
        return run

    def at_rest(self, name: str, *, timeout_s: float = 60.0) -> imports_pb2.ImportRun:
        """Wait until a run moves no more by itself."""

        def look() -> imports_pb2.ImportRun | None:
            run = self.get_run(name)
            return run if is_at_rest(run) else None

        run = wait_until(look, timeout_s=timeout_s, what=f"{name} to come to rest")
        assert run is not None
        return run

    # --- what there is afterwards ---

    def runs(self, source: str) -> list[imports_pb2.ImportRun]:
        """A source's runs, newest first."""
        request = imports_pb2.ListImportRunsRequest(source=source, page_size=1000)
        return list(self.system.imports.ListImportRuns(request).import_runs)

    def users(self, *, deleted: bool = False) -> dict[str, users_pb2.User]:
        """The active users by mail; with `deleted`, only those who are gone."""
        wanted = users_pb2.USER_STATE_DELETED if deleted else users_pb2.USER_STATE_ACTIVE
        request = users_pb2.ListUsersRequest(tenant=self.tenant, show_deleted=deleted, page_size=1000)
        pages = _pages(self.system.users.ListUsers, request)
        return {user.email: user for page in pages for user in page.users if user.state == wanted}

    def members(self, group: str) -> set[str]:
        """The mails of a group's people."""
        request = groups_pb2.ListMembershipsRequest(group=group, page_size=1000)
        pages = _pages(self.system.groups.ListMemberships, request)
        return {membership.email for page in pages for membership in page.memberships}

    def group_ids(self) -> dict[str, str]:
        """Names of the synced groups by Group ID."""
        request = groups_pb2.ListGroupsRequest(tenant=self.tenant, page_size=1000)
        pages = _pages(self.system.groups.ListGroups, request)
        return {
            group.group_external_id: group.name for page in pages for group in page.groups if group.group_external_id
        }

    def seats(self) -> tuple[int, int]:
        """Seats bought, and seats taken."""
        request = licenses_pb2.GetLicenseRequest(name=f"{self.tenant}/license")
        license_ = self.system.licenses.GetLicense(request).license
        return license_.seats_total, license_.seats_used

    def rejected(self, run: imports_pb2.ImportRun) -> list[tuple[int, str]]:
        """Line and reason of each rejected row."""
        return self._issues(run, imports_pb2.ISSUE_SEVERITY_REJECTED)

    def warnings(self, run: imports_pb2.ImportRun) -> list[tuple[int, str]]:
        """Line and code of each warning."""
        return self._issues(run, imports_pb2.ISSUE_SEVERITY_WARNING)

    def changes(self, run: imports_pb2.ImportRun) -> list[imports_pb2.ImportChange]:
        """What the run's plan would change, or did change."""
        request = imports_pb2.ListImportChangesRequest(import_run=run.name, page_size=1000)
        pages = _pages(self.system.imports.ListImportChanges, request)
        return [change for page in pages for change in page.changes]

    def _issues(self, run: imports_pb2.ImportRun, severity: int) -> list[tuple[int, str]]:
        request = imports_pb2.ListImportIssuesRequest(
            import_run=run.name,
            severity=severity,  # type: ignore[arg-type]  # a number of that enum
            page_size=1000,
        )
        pages = _pages(self.system.imports.ListImportIssues, request)
        return [(issue.line, issue.code) for page in pages for issue in page.issues]


def status_of(run: imports_pb2.ImportRun) -> str:
    """The run's status as the product's word."""
    return imports_pb2.ImportRunStatus.Name(run.status).removeprefix("IMPORT_RUN_STATUS_").lower()


def is_at_rest(run: imports_pb2.ImportRun) -> bool:
    """Whether the run moves no more by itself; a planned one does, unless it only plans."""
    return run.plan_only if status_of(run) == "planned" else status_of(run) not in {"staging", "applying"}


def outcome_of(run: imports_pb2.ImportRun) -> str:
    """Status and, where there is one, reason: `applied`, `refused empty_file`."""
    return f"{status_of(run)} {run.reason}".strip()


def counts_of(counts: imports_pb2.ImportCounts) -> dict[str, int]:
    """The counts that are not zero, by name."""
    return {field.name: value for field, value in counts.ListFields()}


def file_messages(source: str, content: bytes, *, dry_run: bool = False) -> Iterator[importer_pb2.ImportFileRequest]:
    """What ImportFile is sent: the start, then the bytes in pieces."""
    yield importer_pb2.ImportFileRequest(
        start=importer_pb2.ImportFileStart(source=source, file_name=FILE, dry_run=dry_run)
    )
    for start in range(0, len(content), _CHUNK_BYTES):
        yield importer_pb2.ImportFileRequest(chunk=content[start : start + _CHUNK_BYTES])


def last_of(answers: Iterator[Any]) -> imports_pb2.ImportRun:
    """The run in the last message of a stream of progress."""
    last = None
    for last in answers:  # noqa: B007 - the last one is what counts
        pass
    assert last is not None
    assert last.HasField("import_run")
    run: imports_pb2.ImportRun = last.import_run
    return run


def _pages(call: Callable[[Any], Page], request: Any) -> Iterator[Page]:
    while True:
        page: Any = call(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _request_id() -> str:
    raw = secrets.token_hex(16)
    return f"{raw[:8]}-{raw[8:12]}-4{raw[13:16]}-a{raw[17:20]}-{raw[20:]}"
