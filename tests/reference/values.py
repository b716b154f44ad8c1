"""The words of the reference model: a tenant's register, one staged file and the plan between them, as frozen values.

Everything is keyed by short readable texts ("anna", "north", "payroll"); the model never looks inside them. No part
of a service is imported here: the model is the second, independent telling of the import's rules.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

MANUAL = "manual"


class Disposition(Enum):
    """What the importer says about a row; the directory may still turn it into something else."""

    ACCEPTED = "accepted"
    SKIPPED = "skipped"
    REJECTED = "rejected"


class Action(Enum):
    """What a change does to a person."""

    CREATE = "create"
    UPDATE = "update"
    TAKE_OVER = "take_over"
    DELETE = "delete"
    RESTORE = "restore"
    REKEY = "rekey"
    DROP_CLAIM = "drop_claim"


class Deletions(Enum):
    """Whether a plan deletes who left the file, or leaves these people out until someone decides (R8)."""

    APPLY = "apply"
    LEAVE_OUT = "leave_out"


@dataclass(frozen=True)
class Limit:
    """A figure of R8 or R9, passed only when the floor *and* the percentage are exceeded."""

    floor: int
    percent: float

    def is_passed(self, number: int, *, of: int) -> bool:
        """Tell whether `number` exceeds both."""
        return number > self.floor and number * 100 > self.percent * of


@dataclass(frozen=True)
class Limits:
    """The limits of one source, with the rules' defaults."""

    delete: Limit = Limit(3, 20)
    mail_change: Limit = Limit(3, 20)
    rekey: Limit = Limit(3, 20)
    takeover: Limit = Limit(3, 20)
    membership: Limit = Limit(10, 50)
    create: Limit = Limit(100, 50)
    reject: Limit = Limit(5, 50)


@dataclass(frozen=True)
class Source:
    """A source: a file's settings and what is remembered of its last applied file, or a SCIM connection."""

    account: str | None = None
    is_scim: bool = False
    position: int = 1
    """The first file in this order says who a person is (R41); those alike are in the register's order."""
    creates_unknown_groups: bool = False
    keep_primary_phone: bool = False
    keep_secondary_phone: bool = False
    skip_freezes: bool = False
    grace_nights: int = 0
    limits: Limits = field(default_factory=Limits)
    applied_runs: int = 0
    last_timestamp: datetime | None = None


@dataclass(frozen=True)
class User:
    """A person."""

    email: str
    display_name: str
    title: str = ""
    phone: str = ""
    secondary_phone: str = ""
    owner: str = MANUAL
    active: bool = True
    dormant: bool = False
    """Not active, but its connection may bring it back (S6, S7)."""
    password_reset_required: bool = False


@dataclass(frozen=True)
class Claim:
    """A source's hold on a user under one external id."""

    user: str
    missed_files: int = 0
    deletion_left_out: bool = False


@dataclass(frozen=True)
class FormerClaim:
    """A source's hold on a user until the user left, so many days ago."""

    user: str
    days_ago: int = 0
    with_user: bool = True
    """False: the user stayed for a while, by another file's claim (R41), or has been back since."""


@dataclass(frozen=True)
class Group:
    """A group of an account; a main group has no Group ID and is named by its account."""

    account: str
    group_external_id: str | None = None
    owner: str = MANUAL
    is_main: bool = False


@dataclass(frozen=True, order=True)
class Membership:
    """One user in one group, by one origin: `MANUAL` or a source."""

    user: str
    group: str
    origin: str


@dataclass(frozen=True)
class Register:
    """One tenant. Claims are keyed by (source, external id) and exist for active users only."""

    users: Mapping[str, User] = field(default_factory=dict)
    claims: Mapping[tuple[str, str], Claim] = field(default_factory=dict)
    former_claims: Mapping[tuple[str, str], FormerClaim] = field(default_factory=dict)
    """Whom a source called so last, of those who have left (R34)."""
    accounts: Mapping[str, str] = field(default_factory=dict)
    """Account → its main group; the first is the main account."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """Account → the one above it, where that is not the main account."""
    groups: Mapping[str, Group] = field(default_factory=dict)
    memberships: frozenset[Membership] = frozenset()
    reserved_group_ids: frozenset[str] = frozenset()
    """Group IDs of groups that were deleted by hand and wait to be released (S8)."""
    administrators: frozenset[str] = frozenset()
    """Mails with which the tenant's administrators sign in."""
    sources: Mapping[str, Source] = field(default_factory=dict)
    seats_total: int = 1_000_000


@dataclass(frozen=True)
class StagedRow:
    """One row as the importer sends it; None leaves the user's value alone, "" is an empty cell."""

    line: int
    external_id: str
    email: str
    display_name: str
    title: str | None = None
    phone: str | None = None
    secondary_phone: str | None = None
    groups: tuple[str, ...] | None = None
    disposition: Disposition = Disposition.ACCEPTED
    digest: bytes = b""
    rejected_for: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class FileFacts:
    """What matters of the file besides its rows."""

    has_secondary_phone_column: bool = True
    newest_timestamp: datetime | None = None


@dataclass(frozen=True, order=True)
class Issue:
    """What is wrong with one row: a rejection (`costs_row`) or a warning, in the vocabulary's words."""

    line: int
    costs_row: bool
    code: str


@dataclass(frozen=True)
class Change:
    """What happens to one person; `fields` maps a field to its values before and after.

    `joins` and `leaves` are groups by the source's own doing; that a deleted person leaves every group goes unsaid. In
    the groups of `was_in` and `stays_in` the source's membership begins or ends beside another one's: nothing changes
    about who is in them.
    """

    action: Action
    user: str
    external_id: str
    line: int = 0
    fields: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    joins: frozenset[str] = frozenset()
    leaves: frozenset[str] = frozenset()
    was_in: frozenset[str] = frozenset()
    stays_in: frozenset[str] = frozenset()
    owner: str = ""
    """Who owns the person afterwards; nothing is said of somebody deleted."""

    @property
    def moves(self) -> frozenset[str]:
        """All groups in which a membership of the source's own begins or ends."""
        return self.joins | self.leaves | self.was_in | self.stays_in


@dataclass(frozen=True)
class Counts:
    """The totals of R46; `updated` includes `taken_over`, `restored` and `rekeyed`; `deleted` people, and
    those whose claim is dropped, have no row."""

    rows: int = 0
    created: int = 0
    updated: int = 0
    taken_over: int = 0
    restored: int = 0
    rekeyed: int = 0
    unchanged: int = 0
    skipped: int = 0
    rejected: int = 0
    merged: int = 0
    deferred: int = 0
    deleted: int = 0
    claims_dropped: int = 0


@dataclass(frozen=True)
class Plan:
    """What one file would do to the register, and whether that is held or refused."""

    source: str
    file: FileFacts
    status: str
    """`planned`, `held` or `refused`."""
    reason: str
    counts: Counts
    changes: tuple[Change, ...]
    issues: tuple[Issue, ...]
    new_groups: Mapping[str, Group]
    present: frozenset[str]
    """Users with a row of their own that is used."""
    missed: Mapping[str, int]
    """Users of the source who are not in the file and stay for now → files without them, this one included."""
    left_out: frozenset[str]
    """Users whose deletion is left out by decision (R8)."""

    @property
    def rejections(self) -> dict[int, str]:
        """Line → why its row is rejected."""
        return {issue.line: issue.code for issue in self.issues if issue.costs_row}

    @property
    def warnings(self) -> list[tuple[int, str]]:
        """Lines and warnings, in order."""
        return [(issue.line, issue.code) for issue in self.issues if not issue.costs_row]

    @property
    def actions(self) -> dict[str, Action]:
        """User → what happens to the person."""
        return {change.user: change.action for change in self.changes}
