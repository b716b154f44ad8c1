"""What every step of an apply needs: the order, the connection, the names of tables, and how events are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.engine import Connection

from services.directory.roster.planner import PlanInput, ReserveIds
from services.directory.roster.run_events import RunEvents
from services.directory.roster.space import StageSpace
from services.directory.roster.stage_sql import StageSql
from services.directory.store.events import Actor


@dataclass(frozen=True)
class ApplyInput:
    """What an apply needs besides the plan's tables."""

    given: PlanInput
    run_id: int
    now: datetime
    counts: dict[str, int]
    reserve_ids: ReserveIds
    progress: Callable[[int], None]
    """Told, after each step, how many people have been written so far."""
    invites: bool = False
    """True: whoever is created is invited (R36)."""


class Applier(StageSql):
    """Writes one plan; `:now` stands for the run's time."""

    def __init__(self, space: StageSpace, connection: Connection, order: ApplyInput) -> None:
        words = {
            "t": order.given.tenant_id,
            "s": order.given.source_id,
            "run": order.run_id,
            "linked_account": order.given.linked_account_id,
        }
        super().__init__(space, connection, words, {"now": order.now})
        self.order = order
        self.events = RunEvents(
            connection,
            self.dialect,
            self.words,
            Actor(source_id=order.given.source_id),
            order.now,
            order.reserve_ids,
        )

    def add_events(self, kind: str, people: str, *, before: str = "", after: str = "", order: str) -> None:
        """Write an event for each row of `people` (a FROM clause whose rows `c` have user_id), in that order."""
        self.events.add(kind, "usr", "c.user_id", people, before=before, after=after, order=order)

    def add_group_events(self) -> None:
        """Write an event for each group the run creates."""
        after = self.dialect.json_of(display_name="c.external_id", group_external_id="c.external_id")
        self.events.add("group.created", "grp", "c.id", "{new_groups} c", after=after, order="c.id")

    def add_invitation_events(self) -> None:
        """Write an event for each invitation the run makes."""
        after = self.dialect.json_of(user="c.user_id", state="'pending'")
        made = "i.tenant_id = {t} AND i.user_id = c.user_id AND i.run_id = {run}"
        people = f"{{changes}} c JOIN invitations i ON {made} WHERE c.action = 1"
        self.events.add("invitation.created", "inv", "i.id", people, after=after, order="c.line")
