"""What the directory tells a caller when it refuses: one class per reason, with data and not prose."""

# ruff: noqa: N818 - a class is named by its reason, which is the word callers read

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from muster.runtime.errors import RpcError

TENANT_BUSY_RETRY_S = 2.0
STORE_RETRY_S = 1.0
WATCHERS_RETRY_S = 5.0
SIGN_INS_RETRY_S = 1.0
GUARD_RETRY_S = 1800.0


class DirectoryError(RpcError):
    """The root of the directory's errors."""


class InvalidArgument(DirectoryError):
    """Fields are missing or malformed; `violations` are (field, sentence)."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        self.fields = tuple(name for name, _ in violations)
        super().__init__("; ".join(f"{name}: {text}" for name, text in violations[:3]), violations=violations)


class Unauthenticated(DirectoryError):
    """No token, or one that is not known, revoked or expired; which of these is not told."""

    reason = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__("a valid token or key is needed: send it as `authorization: Bearer …`")


class PermissionDenied(DirectoryError):
    """The token's grant does not reach this method or this tenant."""

    reason = "PERMISSION_DENIED"

    def __init__(self) -> None:
        super().__init__("this token's grant does not reach this method or this tenant")


class NotFound(DirectoryError):
    """The named resource does not exist in this tenant."""

    reason = "NOT_FOUND"

    def __init__(self, *, resource: str) -> None:
        self.resource = resource
        super().__init__(f"there is no {resource}", metadata={"resource": resource})


class EmailTaken(DirectoryError):
    """Another active user of the tenant has this mail address, which stays out of the message."""

    reason = "EMAIL_TAKEN"

    def __init__(self) -> None:
        super().__init__("another active user of the tenant has this mail address")


class GroupIdTaken(DirectoryError):
    """Another group of the tenant has this Group ID."""

    reason = "GROUP_ID_TAKEN"

    def __init__(self, *, group_external_id: str) -> None:
        self.group_external_id = group_external_id
        super().__init__("another group of the tenant has this Group ID", metadata={"group_id": group_external_id})


class GroupIdReserved(DirectoryError):
    """An administrator deleted the group with this Group ID, which waits to be released (S8)."""

    reason = "GROUP_ID_RESERVED"

    def __init__(self, *, group_external_id: str) -> None:
        self.group_external_id = group_external_id
        super().__init__(
            "an administrator deleted the group with this Group ID, so no other can have it: release it first, with "
            "`muster group release`, if a group is to have it again",
            metadata={"group_id": group_external_id},
        )


class LicenseLimitReached(DirectoryError):
    """Every seat of the license is taken (R35)."""

    reason = "LICENSE_LIMIT_REACHED"

    def __init__(self, *, seats_total: int, seats_used: int, seats_needed: int = 1) -> None:
        self.seats_total, self.seats_used = seats_total, seats_used
        short = f"all seats are taken: {seats_used} of {seats_total} in use"
        if seats_needed > 1:
            short = f"{seats_needed} seats are needed, and {seats_used} of {seats_total} are in use"
        super().__init__(
            f"{short}; raise the license or delete users",
            metadata={"seats_total": str(seats_total), "seats_used": str(seats_used)},
        )


class TenantBusy(DirectoryError):
    """An import is being applied, or another run is active (R44)."""

    reason = "TENANT_BUSY"
    retry_after_s = TENANT_BUSY_RETRY_S

    def __init__(self) -> None:
        super().__init__("an import of this tenant is under way; try again in a moment")


class StoreUnavailable(DirectoryError):
    """The database does not answer, or its disk is full; nothing was written."""

    reason = "STORE_UNAVAILABLE"
    retry_after_s = STORE_RETRY_S

    def __init__(self) -> None:
        super().__init__("the database does not answer or cannot write; nothing was changed, try again in a moment")


class StaleEtag(DirectoryError):
    """The etag is not the resource's current one."""

    reason = "STALE_ETAG"

    def __init__(self, *, resource: str) -> None:
        self.resource = resource
        super().__init__(
            f"{resource} has changed since it was read: read it again and decide again",
            metadata={"resource": resource},
        )


class RequestIdReused(DirectoryError):
    """The same request_id came within 24 hours with another body."""

    reason = "REQUEST_ID_REUSED"

    def __init__(self) -> None:
        text = "was used within 24 hours for another request; make a new one"
        super().__init__(f"request_id {text}", violations=[("request_id", text)])


class InvalidPageToken(DirectoryError):
    """The page_token was not made by this method for this request."""

    reason = "INVALID_PAGE_TOKEN"

    def __init__(self) -> None:
        text = "was not made by this method for this request; start from the first page"
        super().__init__(f"page_token {text}", violations=[("page_token", text)])


class RunState(DirectoryError):
    """The run's status does not allow this step; `status` is a word such as `applied`."""

    reason = "RUN_STATE"

    def __init__(self, *, status: str) -> None:
        self.status = status
        super().__init__(f"the run is {status}: this step is not possible now", metadata={"status": status})


class PlanChanged(DirectoryError):
    """The plan to apply is not the one that was shown; `plan_hash` is the current one (R8)."""

    reason = "PLAN_CHANGED"

    def __init__(self, *, plan_hash: str) -> None:
        self.plan_hash = plan_hash
        super().__init__("the plan is not the one that was shown: look at it again", metadata={"plan_hash": plan_hash})


class UndoExpired(DirectoryError):
    """The run can no longer be undone: it is too old, or what it changed is no longer in the log."""

    reason = "UNDO_EXPIRED"

    def __init__(self, *, import_run: str, days: int) -> None:
        self.import_run = import_run
        super().__init__(
            f"a run can be undone for {days} days, and {import_run} is older: correct the people by hand, or import an "
            "older file",
            metadata={"import_run": import_run},
        )


class UndoLaterFirst(DirectoryError):
    """A later run of the source was applied; `import_run` is that one."""

    reason = "UNDO_LATER_FIRST"

    def __init__(self, *, import_run: str) -> None:
        self.import_run = import_run
        super().__init__(
            f"a later run of the source was applied: undo {import_run} first", metadata={"import_run": import_run}
        )


class StageMismatch(DirectoryError):
    """The rows that arrived are not the rows that were sent."""

    reason = "STAGE_MISMATCH"

    def __init__(self, *, rows_announced: int, rows_received: int) -> None:
        self.rows_announced, self.rows_received = rows_announced, rows_received
        super().__init__(
            f"{rows_announced} rows were announced and {rows_received} arrived, or their checksum differs; "
            "nothing is staged",
            metadata={"rows_announced": str(rows_announced), "rows_received": str(rows_received)},
        )


class SourceStateError(DirectoryError):
    """The source's state (`state`, a word such as `disabled`) does not allow this."""

    reason = "SOURCE_STATE"

    def __init__(self, message: str, *, state: str) -> None:
        self.state = state
        super().__init__(message, metadata={"state": state})


class FailedPrecondition(DirectoryError):
    """What the resource is now does not allow this; `why` is a word such as `source_owns`."""

    reason = "FAILED_PRECONDITION"

    def __init__(self, message: str, *, why: str) -> None:
        self.why = why
        super().__init__(message, metadata={"why": why})


class TooManyWatchers(DirectoryError):
    """Every stream slot is taken."""

    reason = "TOO_MANY_WATCHERS"
    retry_after_s = WATCHERS_RETRY_S

    def __init__(self, *, most: int) -> None:
        self.most = most
        super().__init__(f"{most} watchers are connected already; try again later", metadata={"most": str(most)})


class UserNameTaken(DirectoryError):
    """Another user of the connection has this userName."""

    reason = "USER_NAME_TAKEN"

    def __init__(self) -> None:
        super().__init__("another user of this connection has this userName")


class OwnedByOtherSource(DirectoryError):
    """The user belongs to another source, which alone changes it (S14)."""

    reason = "OWNED_BY_OTHER_SOURCE"

    def __init__(self, *, owner: str) -> None:
        self.owner = owner
        super().__init__(
            f'a user with this mail address is kept by "{owner}", which alone changes it', metadata={"owner": owner}
        )


class GroupSyncedElsewhere(DirectoryError):
    """The group with this Group ID is synced by another source."""

    reason = "GROUP_SYNCED_ELSEWHERE"

    def __init__(self, *, group_external_id: str) -> None:
        self.group_external_id = group_external_id
        super().__init__(
            "the group with this Group ID is synced by another source, and a group has one syncing source",
            metadata={"group_id": group_external_id},
        )


class GroupUnknown(DirectoryError):
    """No group has this Group ID, and the source does not create groups (S3)."""

    reason = "GROUP_UNKNOWN"

    def __init__(self, *, group_external_id: str) -> None:
        self.group_external_id = group_external_id
        super().__init__(
            "no group has this Group ID, and this connection does not create groups: make a group with this Group ID, "
            "or let the connection create unknown groups",
            metadata={"group_id": group_external_id},
        )


class UnknownMembers(DirectoryError):
    """Some of the members are no users that the connection sees; `members` are the first of them.

    `are_foreign`: nobody else was named, and none of these has the form of an id, here or elsewhere.
    """

    reason = "UNKNOWN_MEMBERS"

    def __init__(self, members: Sequence[str], *, are_foreign: bool = False) -> None:
        self.members = list(members)
        self.are_foreign = are_foreign
        named = ", ".join(member[:64] for member in self.members[:10])
        super().__init__(
            f"no such users: {named}",
            metadata={"foreign": str(are_foreign).lower()},
            violations=[("members", f"no user {member[:64]}") for member in self.members],
        )


class InvalidFilter(DirectoryError):
    """The filter, or the order, cannot be answered."""

    reason = "INVALID_FILTER"


class GuardTripped(DirectoryError):
    """The connection would put out `people` of its `active` users within an hour, or has been paused for that (S13)."""

    reason = "GUARD_TRIPPED"
    retry_after_s = GUARD_RETRY_S

    def __init__(self, *, people: int = 0, active: int = 0) -> None:
        self.people, self.active = people, active
        many = f"{people} of {active} active users" if people else "too many users"
        super().__init__(
            f"the guard has paused the connection, which would put out {many} within an hour: an administrator can "
            "resume it",
            metadata={"people": str(people), "active": str(active)} if people else {},
        )


class UserStateError(DirectoryError):
    """The user's state (`state`, a word such as `deleted`) is not the one that this needs."""

    reason = "USER_STATE"

    def __init__(self, *, state: str, needed: str) -> None:
        self.state = state
        cure = _CURES_OF_STATE.get(state, "")
        super().__init__(f"the user is {state}; this needs one who is {needed}{cure}", metadata={"state": state})


_CURES_OF_STATE: Final = {
    "dormant": ": its connection brings it back, by `active: true` or a group; or delete the user, and restore it then",
    "deleted": ": restore the user first (`muster user restore`)",
    "erased": ": nothing brings back who was erased, or was deleted over 90 days ago",
}


class KeyStateError(DirectoryError):
    """The key is revoked or expired; `state` is which of these words."""

    reason = "KEY_STATE"

    def __init__(self, *, state: str) -> None:
        self.state = state
        super().__init__(f"the key is {state}: make a new one for its source", metadata={"state": state})


class WrongPassword(DirectoryError):
    """Mail, password or code is wrong; which of these is not told."""

    reason = "WRONG_PASSWORD"

    def __init__(self) -> None:
        super().__init__("the mail address, the password or the code is wrong")


class TotpRequired(DirectoryError):
    """The password was right, and a code of the authenticator app is missing."""

    reason = "TOTP_REQUIRED"

    def __init__(self) -> None:
        super().__init__("a code of the authenticator app is needed, too")


class SignInLocked(DirectoryError):
    """Too many wrong tries in a row: none is looked at until RetryInfo."""

    reason = "SIGN_IN_LOCKED"

    def __init__(self, *, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__("too many wrong tries in a row; try again later")


class TooManySignIns(DirectoryError):
    """Too many passwords are being computed at once."""

    reason = "TOO_MANY_SIGN_INS"
    retry_after_s = SIGN_INS_RETRY_S

    def __init__(self) -> None:
        super().__init__("too many people are signing in at this moment; try again in a second")


class PasswordResetRequired(DirectoryError):
    """The password was right, and is no longer valid: the user chooses a new one (R27)."""

    reason = "PASSWORD_RESET_REQUIRED"

    def __init__(self) -> None:
        super().__init__("this password is no longer valid: choose a new one by the link that was mailed")


class LinkInvalid(DirectoryError):
    """The link's token is not known, was used, was replaced by a newer one, or its time is over."""

    reason = "LINK_INVALID"

    def __init__(self) -> None:
        super().__init__("this link is not valid any more; ask for a new one")


class AdministratorExists(DirectoryError):
    """Somebody signs in with this mail address already; one address signs in once, whatever the tenant."""

    reason = "ADMINISTRATOR_EXISTS"

    def __init__(self) -> None:
        super().__init__("an administrator signs in with this mail address already")


class TotpStateError(DirectoryError):
    """Codes of an authenticator app are on, or off, or not begun; `state` is which: `on`, `off`."""

    reason = "TOTP_STATE"

    def __init__(self, *, state: str) -> None:
        self.state = state
        super().__init__(f"codes of an authenticator app are {state} for this administrator", metadata={"state": state})


class AcceptUrlMissing(DirectoryError):
    """The tenant has no `accept_url`, so that there is no page for a link to lead to (R36)."""

    reason = "ACCEPT_URL_MISSING"

    def __init__(self) -> None:
        super().__init__(
            "the tenant has no accept_url, which links lead to: set one, with `muster tenant update --accept-url`"
        )


class InvitationStateError(DirectoryError):
    """The invitation's state (`state`, a word such as `accepted`) does not allow this."""

    reason = "INVITATION_STATE"

    def __init__(self, *, state: str) -> None:
        self.state = state
        super().__init__(f"the invitation is {state}: this is not possible any more", metadata={"state": state})


class ClaimLost(DirectoryError):
    """The source is no longer claimed by this worker: the lease ran out, its night is over, or it has no nights now."""

    reason = "CLAIM_LOST"

    def __init__(self) -> None:
        super().__init__("the source is no longer claimed by you: leave it to whoever has it now")
