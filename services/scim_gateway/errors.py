"""Say in SCIM, to the administrator who reads it in the identity provider's log, what the directory refused and why."""

from __future__ import annotations

import math
from collections.abc import Callable

import grpc
from muster.runtime.errors import Failure, failure_of, scim_status_of
from scim2_models import (
    ForbiddenException,
    InvalidCursorException,
    InvalidFilterException,
    InvalidValueException,
    NotFoundException,
    PayloadTooLargeException,
    PreconditionFailedException,
    SCIMException,
    UnauthorizedException,
    UniquenessException,
)

from services.scim_gateway.auth import REFUSED

DEFAULT_RETRY_S = 5.0

_UNREACHED = {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "CANCELLED"}

TOO_SLOW = (
    "The register did not answer in time, so that it is not known whether this was done. Send the same request again: "
    "what was done already is not done twice."
)


class TryLaterException(SCIMException):
    """The request is fine and cannot be served now; `retry_after_s` says when to come back."""

    status = 503
    _default_detail = "The register is busy; nothing was changed. The same request will work a little later."

    def __init__(self, *, detail: str | None = None, status: int = 503, retry_after_s: float | None = None) -> None:
        super().__init__(detail=detail)
        self.status = status
        self.retry_after_s = retry_after_s if retry_after_s is not None else DEFAULT_RETRY_S

    @property
    def retry_after(self) -> str:
        """The header Retry-After: whole seconds, at least one."""
        return str(max(1, math.ceil(self.retry_after_s)))


class GuardException(TryLaterException):
    """The guard has paused the connection (S13): nothing is done for it until an administrator resumes it."""

    def __init__(self, failure: Failure) -> None:
        people, active = (failure.metadata.get(name) for name in ("people", "active"))
        many = f"{people} of {active} active users" if people else "too many users"
        super().__init__(
            status=429,
            detail=f"This connection is paused, so nothing was changed: it would have put out {many} within an hour. "
            "Check what the identity provider sends; if it is meant so, an administrator can resume the connection "
            "(muster source resume).",
            retry_after_s=failure.retry_after_s,
        )


def scim_error(error: grpc.RpcError) -> SCIMException | None:
    """Translate what the directory said; None for a fault, which the outermost place logs and answers 500."""
    return scim_error_of(failure_of(error))


def scim_error_of(failure: Failure) -> SCIMException | None:
    """Translate a failure likewise."""
    if failure.reason == "DEADLINE_EXCEEDED":
        return TryLaterException(detail=TOO_SLOW, retry_after_s=failure.retry_after_s)
    if failure.reason in _UNREACHED:
        return TryLaterException(retry_after_s=failure.retry_after_s)
    if failure.reason == "GUARD_TRIPPED":
        return GuardException(failure)
    make = _MADE.get(failure.reason)
    if make is not None:
        return make(failure)
    return _by_status(failure)


def _by_status(failure: Failure) -> SCIMException | None:
    try:
        status = scim_status_of(failure.reason)
    except KeyError:
        return None
    if status in {429, 503}:
        return TryLaterException(status=status, retry_after_s=failure.retry_after_s)
    if status >= 500:
        return None
    made = SCIMException(detail=_sentence(failure.message or failure.reason))
    made.status = status
    return made


def _license_limit(failure: Failure) -> SCIMException:
    total, used = (failure.metadata.get(name, "?") for name in ("seats_total", "seats_used"))
    return ForbiddenException(
        detail=f"The license is full: {used} of {total} seats are taken, so nobody can be added or re-activated. Add "
        f"seats, or deactivate users who no longer need one; then this request works again."
    )


def _owned_elsewhere(failure: Failure) -> SCIMException:
    owner = failure.metadata.get("owner", "")
    return UniquenessException(
        detail=f"This person is already kept by another source{f' ({owner})' if owner else ''}, which alone may change "
        "them. Remove them from one of the two: from that source, or from this application's scope."
    )


def _synced_elsewhere(failure: Failure) -> SCIMException:
    return UniquenessException(
        detail=f"The group with Group ID {_group_id(failure)} is synced by another source, and a group has one syncing "
        "source. Use another externalId, or have an administrator remove the Group ID from that group."
    )


def _group_unknown(failure: Failure) -> SCIMException:
    if not failure.metadata.get("group_id"):
        return ForbiddenException(
            detail="This connection does not create groups, and a group without externalId is no group that is here. "
            "Send the Group ID of an existing group as externalId, or let the connection create groups."
        )
    return ForbiddenException(
        detail=f"No group has Group ID {_group_id(failure)}, and this connection does not create groups. Have an "
        "administrator make a group with this Group ID, or let the connection create groups."
    )


def _group_id(failure: Failure) -> str:
    return failure.metadata.get("group_id", "(externalId)")


def _invalid(failure: Failure) -> SCIMException:
    told = "; ".join(f"{field}: {text}" for field, text in failure.violations)
    return InvalidValueException(detail=_sentence(told or failure.message or "A value is not valid"))


class ForeignMembersException(InvalidValueException):
    """Nobody was named but by words that have the form of no id."""


def _unknown_members(failure: Failure) -> SCIMException:
    named = ", ".join(text for _, text in failure.violations)
    kind = ForeignMembersException if failure.metadata.get("foreign") == "true" else InvalidValueException
    return kind(
        detail="Some of the members are no users of this connection"
        + (f": {named}" if named else "")
        + ". Provision these users first; nothing was changed."
    )


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


_MADE: dict[str, Callable[[Failure], SCIMException]] = {
    "UNAUTHENTICATED": lambda _: UnauthorizedException(detail=REFUSED),
    "PERMISSION_DENIED": lambda _: ForbiddenException(
        detail="This key is not one of a SCIM connection. Use the key that was made for this connection."
    ),
    "SOURCE_STATE": lambda failure: ForbiddenException(
        detail="This connection is paused, so nothing was changed. An administrator can resume it."
        if failure.metadata.get("state") == "paused"
        else "This connection is switched off, so nothing was changed. An administrator can enable it again."
    ),
    "NOT_FOUND": lambda _: NotFoundException(
        detail="No such resource here: it never was, was deleted, or belongs to somebody else."
    ),
    "USER_NAME_TAKEN": lambda _: UniquenessException(
        detail="Another user of this connection has this userName (upper and lower case do not count). Give one of the "
        "two another userName, or match with the user that exists."
    ),
    "EMAIL_TAKEN": lambda _: UniquenessException(
        detail="Another active user has this mail address (upper and lower case do not count). An address belongs to "
        "one person: correct it for one of the two."
    ),
    "GROUP_ID_TAKEN": lambda _: UniquenessException(
        detail="Another group has this externalId as its Group ID. Use another externalId, or have an administrator "
        "change the Group ID of that group."
    ),
    "GROUP_ID_RESERVED": lambda failure: UniquenessException(
        detail=f"An administrator deleted the group with Group ID {_group_id(failure)}, so it is not made anew. An "
        "administrator can release the Group ID (muster group release); then the same request works."
    ),
    "OWNED_BY_OTHER_SOURCE": _owned_elsewhere,
    "GROUP_SYNCED_ELSEWHERE": _synced_elsewhere,
    "GROUP_UNKNOWN": _group_unknown,
    "LICENSE_LIMIT_REACHED": _license_limit,
    "INVALID_ARGUMENT": _invalid,
    "UNKNOWN_MEMBERS": _unknown_members,
    "INVALID_FILTER": lambda failure: InvalidFilterException(
        detail=_sentence(failure.message or "This filter cannot be answered")
    ),
    "INVALID_PAGE_TOKEN": lambda _: InvalidCursorException(),
    "STALE_ETAG": lambda _: PreconditionFailedException(
        detail="The resource has changed since this version was read. Read it again and repeat the change."
    ),
}


class NoMemberException(InvalidValueException):
    """An entry of a group's members says nobody's id."""

    _default_detail = 'A member is an object with the id of a user: {"value": "usr_…"}.'


class TooManyOperationsException(PayloadTooLargeException):
    """A PATCH has more operations than are read at once."""

    _default_detail = (
        "The request has too many operations. Send several requests; one operation can name all members who come or go."
    )


def too_large(limit_bytes: int) -> SCIMException:
    """The body is larger than what is read at most."""
    return PayloadTooLargeException(
        detail=f"The request's body is larger than {limit_bytes // (1024 * 1024)} MiB. Send less at a time: "
        "fewer members, or fewer and shorter attributes."
    )
