"""Say in one line what went wrong and what to do about it."""

from __future__ import annotations

import grpc
from muster.runtime import errors


class CommandError(Exception):
    """A command could not do what it was asked; its text names cause and cure."""


class NoInstallationError(CommandError):
    """Neither the environment nor the data directory says where Muster is."""

    def __init__(self, what: str, data: str) -> None:
        super().__init__(
            f"{data} holds no running Muster: start one with `muster --data {data} up`, or set MUSTER_{what.upper()}"
        )


_CURES = {
    "UNAUTHENTICATED": "set MUSTER_TOKEN to a valid token, or --data to the directory of a running `muster up`",
    "PERMISSION_DENIED": "use a token whose grant reaches this, or check the tenant in the name",
    "NOT_FOUND": "check the name with the matching `list` command",
    "EMAIL_TAKEN": "find that user with `muster user list --tenant TENANT --email EMAIL`",
    "GROUP_ID_TAKEN": "find that group with `muster group list --tenant TENANT`",
    "GROUP_ID_RESERVED": "see `muster group reserved --tenant TENANT`",
    "LICENSE_LIMIT_REACHED": "raise it with `muster license set --tenant TENANT --seats N`",
    "TENANT_BUSY": "try again when the running import has ended",
    "STORE_UNAVAILABLE": "try again in a moment; if it stays, check the service's log, its database and its disk",
    "STALE_ETAG": "read it again and decide again",
    "RUN_STATE": "look at it with `muster runs show RUN`",
    "PLAN_CHANGED": "look at the new plan with `muster runs show RUN --changes`, then approve again",
    "UNDO_EXPIRED": "see what it changed with `muster runs show RUN --changes`",
    "UNDO_LATER_FIRST": "list them with `muster runs list --source SOURCE`",
    "SOURCE_STATE": "look at it with `muster source show SOURCE`",
    "INVITATION_STATE": "look at it with `muster invitations list --tenant TENANT`",
    "ADMINISTRATOR_EXISTS": "if it is the same person, use `muster admin reset-password ADMINISTRATOR`",
    "KEY_STATE": "make a new one with `muster scim-key create --source SOURCE`",
    "UNAVAILABLE": "check that `muster up` runs and that --data or MUSTER_DIRECTORY points to it",
    "DEADLINE_EXCEEDED": "try again; the services' logs say what takes so long",
    "INTERNAL": "the service's log says more",
}


def explain(error: grpc.RpcError) -> str:
    """Write an error of a service as one line: its message, the fields it names, and the cure for its reason."""
    failure = errors.failure_of(error)
    said = " ".join(failure.message.split()) or failure.reason
    fields = [f"{field}: {' '.join(text.split())}" for field, text in failure.violations]
    if unsaid := [each for each in fields if each not in said]:
        said += ": " + ", ".join(unsaid)
    cure = _CURES.get(failure.reason)
    return f"{said.rstrip('.')} ({failure.reason})" + (f"; {cure}" if cure else "")
