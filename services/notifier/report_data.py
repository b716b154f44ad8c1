"""What an import report is made of: frozen values, as they come from the directory and not yet in words."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from datetime import datetime


class Outcome(enum.Enum):
    """How the run ended that the report is about."""

    APPLIED = "applied"
    HELD = "held"
    REFUSED = "refused"
    NO_FILE = "no_file"
    PLANNED = "planned"
    FAILED = "failed"
    UNDONE = "undone"
    """What a run had changed was put back, by the run of which this is the report."""
    UNCHANGED = "unchanged"


class Invitations(enum.Enum):
    """What becomes of the invitations of a source's new people (R36)."""

    BY_HAND = "by_hand"
    MAILED = "mailed"
    NO_PAGE = "no_page"
    """They should be mailed, but the tenant has no `accept_url`."""


@dataclass(frozen=True)
class Counts:
    """Counts of a run (R46): rows = created + updated + unchanged + skipped + rejected + merged + deferred."""

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
class Person:
    """One person whom the run changed: the name, the contract's names of changed fields, groups joined and left."""

    name: str
    fields: tuple[str, ...] = ()
    groups_joined: int = 0
    groups_left: int = 0
    groups_kept: int = 0
    """In these nothing changes for the person, who is there by somebody else's doing, too."""
    user: str = ""
    """Resource name, or empty of one who does not exist yet."""


@dataclass(frozen=True)
class People:
    """The first people of each kind of change; the counts say how many there are."""

    created: tuple[Person, ...] = ()
    updated: tuple[Person, ...] = ()
    taken_over: tuple[Person, ...] = ()
    restored: tuple[Person, ...] = ()
    rekeyed: tuple[Person, ...] = ()
    deleted: tuple[Person, ...] = ()


@dataclass(frozen=True)
class Issue:
    """One thing wrong with one row, or with the file; `code` is the vocabulary's word with `:DETAIL`."""

    line: int
    key: str
    code: str
    column: str = ""
    masked_value: str = ""
    message: str = ""


@dataclass(frozen=True)
class LimitFigures:
    """A limit of R8: it is passed by more than `floor` and more than `percent` of what it compares with."""

    floor: int
    percent: float


@dataclass(frozen=True)
class Seats:
    """Seats of the license now, and how many were missing for the people the run deferred (R35)."""

    total: int
    used: int
    missing: int = 0

    @property
    def left(self) -> int:
        """Seats that are free."""
        return max(0, self.total - self.used)


@dataclass(frozen=True)
class GroupReach:
    """A group in which fewer than two people can be reached after a run."""

    name: str
    before: int
    after: int


@dataclass(frozen=True)
class Reach:
    """How a run changes who can be reached by phone; `groups` are the first of those that fall below two."""

    no_phone: int = 0
    lost: int = 0
    gained: int = 0
    groups_below: int = 0
    groups: tuple[GroupReach, ...] = ()


@dataclass(frozen=True)
class Shape:
    """What a file and the one applied before it look like."""

    columns_before: tuple[str, ...] = ()
    columns_after: tuple[str, ...] = ()
    encoding_before: str = ""
    encoding_after: str = ""
    delimiter_before: str = ""
    delimiter_after: str = ""
    rows_before: int = 0
    rows_after: int = 0


@dataclass(frozen=True)
class ReportData:
    """Everything one report says. `counts` are the plan's for held and planned runs.

    `decided` is the status a held run has meanwhile moved on to, or empty. There may be fewer rejections and warnings
    here than the run has: a mail has to be read by somebody.
    """

    outcome: Outcome
    tenant: str
    tenant_name: str
    source: str
    source_name: str
    run: str
    language: str
    time_zone: str
    ended_at: datetime
    reason: str = ""
    message: str = ""
    file_name: str = ""
    file_path: str = ""
    dry_run: bool = False
    decided: str = ""
    nights_without_file: int = 0
    counts: Counts = field(default_factory=Counts)
    deletions_left_out: int = 0
    """People whom an approval kept who would have been deleted (R8)."""
    people: People = field(default_factory=People)
    rejected: tuple[Issue, ...] = ()
    warnings: tuple[Issue, ...] = ()
    rejected_file: bytes = b""
    """The rejected rows to be mended, in the customer's own form; empty when they are not kept."""
    rejected_file_is_whole: bool = True
    warnings_are_all: bool = True
    limit: LimitFigures | None = None
    seats: Seats | None = None
    reach: Reach = field(default_factory=Reach)
    shape: Shape | None = None
    undoes: str = ""
    """Resource name of the run that was undone."""
    invitations: Invitations = Invitations.BY_HAND
    admin_url: str = ""
    to_administrators: bool = False
    """Whether it goes to the tenant's administrators, since the source has no address of its own."""
