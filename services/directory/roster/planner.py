"""What every step of a plan needs: the input, the connection, the names of tables, and the plan that comes out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.engine import Connection

from services.directory.roster.dialect import Dialect
from services.directory.roster.owners import owned_by_sql
from services.directory.roster.reach import Reach
from services.directory.roster.shape import ShapeLimit, Shapes
from services.directory.roster.space import StageSpace
from services.directory.roster.stage_sql import StageSql
from services.directory.rules.ownership import Party, Verdict, users_with
from services.directory.store.events import Cursor

ReserveIds = Callable[[str, int], list[int]]


@dataclass(frozen=True)
class LastApply:
    """The run of a source that was applied last, and the basis taken while it was."""

    run_id: int
    basis: Cursor


@dataclass(frozen=True)
class PlanInput:
    """What a plan depends on besides the rows: the source's settings and the tenant's state, read by the caller."""

    tenant_id: int
    source_id: int
    linked_account_id: int
    linked_group_id: int
    """The linked account's main group; 0 without a linked account (R40)."""
    create_unknown_groups: bool
    keep_primary_phone: bool
    keep_secondary_phone: bool
    has_secondary_phone_column: bool
    skip_means_freeze: bool
    grace_nights: int
    seats_total: int
    seats_used: int
    leave_deletions_out: bool
    """True: whoever would be deleted is held instead (R8)."""
    restorable_since: datetime
    """Who was deleted later than this comes back with the id (R34)."""
    last_apply: LastApply | None = None
    """The source's last applied run; without one no row is settled."""
    earlier_files: tuple[int, ...] = ()
    """The tenant's file sources before this one in position order: their attributes come first (R41)."""
    later_files: tuple[int, ...] = ()
    """Those behind it."""
    has_connections: bool = False
    """Whether the tenant has SCIM connections, whose dormant users have mails, too (R29)."""
    shape_limit: ShapeLimit = field(default_factory=ShapeLimit)

    @property
    def other_files(self) -> tuple[int, ...]:
        """The tenant's other file sources, in position order."""
        return self.earlier_files + self.later_files


@dataclass(frozen=True)
class Plan:
    """The outcome: counts (R46), a hash of the changes, and the figures the limits look at."""

    counts: dict[str, int]
    hash: str
    mail_changes: int
    users_owned: int
    deletions_left_out_before: int
    administrators_taken_over: int
    membership_removals: list[tuple[str, int, int]]
    """Per group with removals: its name, how many, and how many people were in it."""
    reach: Reach
    shapes: Shapes


class Planner(StageSql):
    """Makes one plan; holds what every step needs: the connection, the names, the input."""

    def __init__(self, space: StageSpace, connection: Connection, given: PlanInput, reserve_ids: ReserveIds) -> None:
        dialect = Dialect(space.store.is_sqlite)
        words = {
            "t": given.tenant_id,
            "s": given.source_id,
            "linked_group": given.linked_group_id,
            "keep_primary": sql_truth(given.keep_primary_phone),
            "clear_secondary": sql_truth(not given.has_secondary_phone_column and not given.keep_secondary_phone),
            "keep_secondary": sql_truth(given.keep_secondary_phone),
            "freeze": sql_truth(given.skip_means_freeze),
            "grace": given.grace_nights,
            "split_groups": dialect.split_groups,
            "each_group": dialect.each_group,
            "no_groups": dialect.no_groups,
            "fresh_user": dialect.fresh_id("user"),
            "linked_account": given.linked_account_id,
            "earlier_files": sql_list(given.earlier_files),
            "other_files": sql_list(given.other_files),
            "is_taken_over": owned_by_sql(
                users_with(Verdict.TAKEOVER, Party.FILE), "k.holder_owner", tenant_id=given.tenant_id
            ),
            "is_refused": owned_by_sql(
                users_with(Verdict.REFUSED, Party.FILE), "k.holder_owner", tenant_id=given.tenant_id
            ),
        }
        super().__init__(space, connection, words, {"restorable_since": given.restorable_since})
        self.given = given
        self.reserve_ids = reserve_ids


def sql_list(numbers: Sequence[int]) -> str:
    """Write what `IN` looks in."""
    return ", ".join(map(str, numbers)) or "NULL"


def sql_truth(value: bool) -> str:  # noqa: FBT001 - a value, not a switch
    """Write a truth value as both databases read it."""
    return "true" if value else "false"
