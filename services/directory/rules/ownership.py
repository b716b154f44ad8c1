"""Who may change what: product.md's "Where one tenant has several sources", as data for writes and the engine."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final


class Party(enum.Enum):
    """Whose something is, and who touches it: people by hand, a file's run, or a SCIM connection's call."""

    MANUAL = "manual"
    FILE = "file"
    SCIM = "scim"


class Verdict(enum.Enum):
    """What touching comes to."""

    FREE = "free"
    TAKEOVER = "takeover"
    """The toucher owns it from then on (R27, S9, S14; of a group: S3)."""
    REVERTS = "reverts"
    """Allowed, and the owner's next sync puts it back (S10)."""
    READ_ONLY = "read_only"
    """The answer is what is there, and nothing changes (S14)."""
    REFUSED = "refused"
    """`owned_by_other_source` (R29); of a group: one syncing source a group."""
    OWN_ONLY = "own_only"
    """Only what the toucher put there itself may it take away (R38)."""
    UNSEEN = "unseen"
    """For the toucher it does not exist (R39); a file is told `unknown_group:ID`."""


_OF_USERS: Final[Mapping[tuple[Party, Party], Verdict]] = MappingProxyType(
    {
        (Party.MANUAL, Party.MANUAL): Verdict.FREE,
        (Party.MANUAL, Party.FILE): Verdict.TAKEOVER,
        (Party.MANUAL, Party.SCIM): Verdict.TAKEOVER,
        (Party.FILE, Party.MANUAL): Verdict.REVERTS,
        (Party.FILE, Party.FILE): Verdict.REFUSED,
        (Party.FILE, Party.SCIM): Verdict.READ_ONLY,
        (Party.SCIM, Party.MANUAL): Verdict.REVERTS,
        (Party.SCIM, Party.FILE): Verdict.REFUSED,
        (Party.SCIM, Party.SCIM): Verdict.READ_ONLY,
    }
)

_OF_GROUPS: Final[Mapping[tuple[Party, Party], Verdict]] = MappingProxyType(
    {
        (Party.MANUAL, Party.MANUAL): Verdict.FREE,
        (Party.MANUAL, Party.FILE): Verdict.OWN_ONLY,
        (Party.MANUAL, Party.SCIM): Verdict.TAKEOVER,
        (Party.FILE, Party.MANUAL): Verdict.FREE,
        (Party.FILE, Party.FILE): Verdict.OWN_ONLY,
        (Party.FILE, Party.SCIM): Verdict.REFUSED,
        (Party.SCIM, Party.MANUAL): Verdict.REVERTS,
        (Party.SCIM, Party.FILE): Verdict.UNSEEN,
        (Party.SCIM, Party.SCIM): Verdict.REFUSED,
    }
)


def over_user(owner: Party, toucher: Party, *, is_own: bool = False) -> Verdict:
    """Judge a change of a user's attributes; `is_own`: the toucher is the owner."""
    return Verdict.FREE if is_own else _OF_USERS[owner, toucher]


def over_group(owner: Party, toucher: Party, *, is_own: bool = False, has_group_id: bool = True) -> Verdict:
    """Judge a change of a group or its members; one without a Group ID is people's own, and no sync sees it (R39)."""
    if is_own:
        return Verdict.FREE
    if owner is Party.MANUAL and toucher is not Party.MANUAL and not has_group_id:
        return Verdict.UNSEEN
    return _OF_GROUPS[owner, toucher]


def users_with(verdict: Verdict, toucher: Party) -> frozenset[Party]:
    """Name the owners whose users a toucher meets with this verdict; the engine makes SQL of it."""
    return frozenset(owner for owner in Party if _OF_USERS[owner, toucher] is verdict)


def groups_with(verdict: Verdict, toucher: Party) -> frozenset[Party]:
    """Name the owners whose groups a toucher meets with this verdict."""
    return frozenset(owner for owner in Party if _OF_GROUPS[owner, toucher] is verdict)
