"""Write the events of a run, as many as a query has rows, with one statement."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, text
from sqlalchemy.engine import Connection

from services.directory.roster.dialect import Dialect
from services.directory.roster.planner import ReserveIds
from services.directory.store.events import Actor
from services.directory.store.tables import UtcDateTime

COLUMNS: Final = ("email", "display_name", "title", "phone", "secondary_phone")
"""What a run may change of a person."""


def differences() -> tuple[dict[str, str], dict[str, str]]:
    """What differs of a changed person `c`, as it was (`old_…`) and as it is; NULL where nothing does."""
    differs = {column: f"CASE WHEN c.old_{column} <> c.{column} THEN" for column in COLUMNS}
    before = {column: f"{when} c.old_{column} END" for column, when in differs.items()}
    return before, {column: f"{when} c.{column} END" for column, when in differs.items()}


@dataclass(frozen=True)
class RunEvents:
    """Who writes which run's events, and when; `words` are what names in braces stand for, with `t` and `run`."""

    connection: Connection
    dialect: Dialect
    words: Mapping[str, object]
    actor: Actor
    now: datetime
    reserve_ids: ReserveIds = field(repr=False)

    def add(
        self, kind: str, prefix: str, resource: str, source: str, *, before: str = "", after: str = "", order: str
    ) -> None:
        """Write an event for each row of `source` (a FROM clause), in that order; `resource` is its id there."""
        if self.dialect.is_sqlite:
            counted = text(f"SELECT count(*) FROM {source}".format(**self.words))
            count = int(self.connection.execute(counted).scalar_one())
            if not count:
                return
            first = self.reserve_ids("event", count)[0]
            position, xid = f"row_number() OVER () + {first - 1}", "0"
        else:
            position, xid = "nextval('event_id_seq')", "pg_current_xact_id()::text::bigint"
        # The braces of JSON fragments must survive `format`, so they are put in afterwards.
        statement = (
            "INSERT INTO events (tenant_id, position, xid, time, actor_source_id, actor, kind, resource_kind,"
            " resource_id, run_id, before, after)"
            f" SELECT {{t}}, {position}, {xid}, :now, {self.actor.source_id}, :actor, '{kind}', '{prefix}',"
            " q.resource, {run}, q.b, q.a"
            f" FROM (SELECT {resource} AS resource, %BEFORE% AS b, %AFTER% AS a FROM {source} ORDER BY {order}) q"
        )
        filled = statement.format(**self.words).replace("%BEFORE%", before or self.dialect.no_json)
        filled = filled.replace("%AFTER%", after or self.dialect.no_json)
        now = bindparam("now", self.now, type_=UtcDateTime)
        self.connection.execute(text(filled).bindparams(now, bindparam("actor", self.actor.name)))

    def add_moves(self) -> None:
        """Write an event for each person of `changes` who left groups, and for each who came into groups.

        They are the source's own memberships; in `stays_in` the person still is, and in `was_in` was, by another's.
        """
        for kind, column, shared, side in (
            ("membership.removed", "removed", "stays_in", "before"),
            ("membership.added", "added", "was_in", "after"),
        ):
            told = {"groups": self.dialect.as_json(f"c.{column}")}
            told[shared] = self.dialect.as_json(f"nullif(c.{shared}, '[]')")
            groups = {side: self.dialect.json_of(**told)}
            self.add(kind, "usr", "c.user_id", f"{{changes}} c WHERE c.{column} <> '[]'", **groups, order="c.line")
