"""Name why a request was refused, in words that hold no value of it, and say what to do: for the activity log (S13)."""

from __future__ import annotations

from typing import NamedTuple

import grpc
from muster.runtime.errors import failure_of
from scim2_models import SCIMException


class Problem(NamedTuple):
    """Why requests are refused, and what to do about it."""

    detail: str
    cure: str


PROBLEMS = {
    "key_refused": Problem(
        "The key is missing, not known, revoked or expired.", "Make a key, and put it into the identity provider."
    ),
    "permission_denied": Problem(
        "The key is not one of a SCIM connection.", "Use the key that was made for this connection."
    ),
    "connection_paused": Problem("The connection is paused.", "Look into it, then resume it: muster source resume."),
    "connection_disabled": Problem("The connection is switched off.", "Enable it: muster source enable."),
    "guard_tripped": Problem(
        "The guard has paused the connection, which would put out too many people within an hour.",
        "See whom it was about to put out, then resume it: muster source resume.",
    ),
    "license_limit_reached": Problem(
        "The license is full, so nobody can be added or re-activated.",
        "Add seats, or deactivate users who need none; the provider tries again by itself.",
    ),
    "user_name_taken": Problem(
        "Another user of the connection has this userName.",
        "Give one of the two another userName, or match with the user that exists.",
    ),
    "email_taken": Problem(
        "Another active user has this mail address.", "An address belongs to one person: correct it for one of the two."
    ),
    "owned_by_other_source": Problem(
        "Another source keeps this person, and it alone may change them.",
        "Take the person out of that source, or out of this application's scope.",
    ),
    "group_id_taken": Problem(
        "Another group has this externalId as its Group ID.", "Use another externalId, or change the other group's."
    ),
    "group_id_reserved": Problem(
        "An administrator deleted the group with this Group ID.",
        "Release it (muster group release) if the group is to come back, or take it out of the scope.",
    ),
    "group_synced_elsewhere": Problem(
        "Another source syncs the group with this Group ID.", "Use another externalId, or remove the Group ID there."
    ),
    "group_unknown": Problem(
        "The connection does not create groups, and no group has this Group ID.",
        "Make the group with this Group ID, or let the connection create groups.",
    ),
    "unknown_members": Problem(
        "Some of the members are no users of the connection.",
        "Bring these people into the application's scope: users are provisioned before their groups.",
    ),
    "not_found": Problem(
        "There is no such user or group, or none of this connection's.",
        "Nothing, if the provider only looked; else restart provisioning, so that it looks for them anew.",
    ),
    "invalid_value": Problem("A value is missing or malformed.", "Correct the attribute mapping."),
    "invalid_syntax": Problem("The body is no JSON, or not of this resource.", "Ask the provider's support."),
    "invalid_filter": Problem("The filter cannot be answered.", "Match by userName, externalId or mail."),
    "invalid_path": Problem("A path of the PATCH names nothing here.", "Correct the attribute mapping."),
    "no_target": Problem("A path of the PATCH finds nothing to change.", "Correct the attribute mapping."),
    "mutability": Problem("An attribute that cannot be changed was to be.", "Take it out of the attribute mapping."),
    "uniqueness": Problem("A value belongs to somebody else.", "Correct one of the two."),
    "invalid_cursor": Problem("The cursor is one of another query.", "Begin with the first page."),
    "stale_etag": Problem("The resource has changed since it was read.", "Nothing: the provider reads it again."),
    "body_too_large": Problem("The body is too large, or has too many operations.", "Send less at a time."),
    "not_json": Problem("The body is not called JSON.", "Ask the provider's support."),
    "wrong_address": Problem("The address does not take this method.", "Check the base URL in the provider."),
    "not_implemented": Problem("This is not offered.", "Nothing: no provider needs it."),
    "too_many_requests": Problem("More came than is taken at once.", "Nothing: the provider comes again later."),
    "register_busy": Problem("The register was busy or away; nothing was changed.", "Nothing: it is tried again."),
    "fault": Problem("A fault of ours; nothing is wrong with the request.", "Tell support its request id."),
    "refused": Problem("The request cannot be served as it is.", "Correct the attribute mapping, or ask support."),
}
"""Word → what it means. The documentation has the same table."""

_OF_REASON = {
    "UNAUTHENTICATED": "key_refused",
    "INVALID_ARGUMENT": "invalid_value",
    "INVALID_PAGE_TOKEN": "invalid_cursor",
    "TENANT_BUSY": "register_busy",
    "STORE_UNAVAILABLE": "register_busy",
}
_OF_SCIM_TYPE = {
    "invalidValue": "invalid_value",
    "invalidSyntax": "invalid_syntax",
    "invalidFilter": "invalid_filter",
    "invalidPath": "invalid_path",
    "noTarget": "no_target",
    "mutability": "mutability",
    "uniqueness": "uniqueness",
    "invalidCursor": "invalid_cursor",
    "invalidCount": "invalid_cursor",
    "expiredCursor": "invalid_cursor",
    "tooMany": "body_too_large",
}
_OF_STATUS = {
    401: "key_refused",
    404: "not_found",
    405: "wrong_address",
    412: "stale_etag",
    413: "body_too_large",
    415: "not_json",
    429: "too_many_requests",
    500: "fault",
    501: "not_implemented",
    503: "register_busy",
}


def problem_of(error: Exception, status: int) -> str:
    """Name why a request was refused with this status: by what the directory said, else by the error's own word."""
    said = _said_by_directory(error)
    if said in PROBLEMS:
        return said
    scim_type = str(getattr(error, "scim_type", "") or "")
    if scim_type in _OF_SCIM_TYPE:
        return _OF_SCIM_TYPE[scim_type]
    if status == 400:
        return "wrong_address" if not isinstance(error, SCIMException) or not scim_type else "refused"
    return _OF_STATUS.get(status, "fault" if status >= 500 else "refused")


def _said_by_directory(error: Exception) -> str:
    """Read the reason of the call for whose failure this error stands."""
    cause = error.__context__
    if not isinstance(cause, grpc.RpcError):
        return ""
    failure = failure_of(cause)
    if failure.reason == "SOURCE_STATE":
        return "connection_paused" if failure.metadata.get("state") == "paused" else "connection_disabled"
    return _OF_REASON.get(failure.reason, failure.reason.lower())
