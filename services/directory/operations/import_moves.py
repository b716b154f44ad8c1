"""Say which groups a person joins, leaves and stays in with a run, whose own memberships begin and end.

Somebody may be in a group by several hands: only when the first membership begins, or the last one ends, does anything
change about who is in the group (R38, R41).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import JSON, BigInteger, RowMapping, String, bindparam, column, text
from sqlmodel import Session

from services.directory.store.tables import ImportRun

_EVENT = (column("resource_id", BigInteger), column("kind", String), column("before", JSON), column("after", JSON))


@dataclass(frozen=True)
class Places:
    """Names of groups that a person joins, leaves, and is in before as after, by somebody else's doing, too."""

    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Moves:
    """A source's own memberships that begin and end, by group; in `shared` ones the person is by another, too."""

    added: list[int] = field(default_factory=list)
    removed: list[int] = field(default_factory=list)
    shared: list[int] = field(default_factory=list)

    @property
    def groups(self) -> set[int]:
        """All of them."""
        return {*self.added, *self.removed}

    def named(self, names: Mapping[int, str]) -> Places:
        """Say what changes for the person; a group that is gone is left out."""

        def of(groups: list[int], *, shared: bool) -> list[str]:
            return [names[each] for each in groups if (each in self.shared) is shared and each in names]

        kept = of([*self.added, *self.removed], shared=True)
        return Places(of(self.added, shared=False), of(self.removed, shared=False), kept)


def planned_moves(row: RowMapping) -> Moves:
    """Read a planned change; a plan that an earlier release made says nothing of shared groups."""
    added, removed, was_in, stays_in = (
        _numbers(row.get(name, "[]")) for name in ("added", "removed", "was_in", "stays_in")
    )
    return Moves(added, removed, was_in + stays_in)


def _numbers(listed: str) -> list[int]:
    """Read the engine's `[12,13]`."""
    return [int(number) for number in listed.strip("[]").split(",") if number]


def made_moves(session: Session, run: ImportRun, user_ids: list[int]) -> dict[int, Moves]:
    """Read what an applied run did with these people's memberships from its events."""
    moves: dict[int, Moves] = {}
    if not user_ids:
        return moves
    found = session.connection().execute(
        text("""
        SELECT resource_id, kind, before, after FROM events
        WHERE tenant_id = :t AND xid = :xid AND position > :after AND run_id = :run AND resource_id IN :users
          AND kind IN ('membership.added', 'membership.removed')
        """)
        .bindparams(bindparam("users", user_ids, expanding=True))
        .columns(*_EVENT),
        {"t": run.tenant_id, "run": run.id, "xid": run.applied_xid, "after": run.applied_position},
    )
    for user_id, kind, before, after in found:
        each = moves.setdefault(user_id, Moves())
        if kind == "membership.added":
            each.added.extend(after["groups"])
            each.shared.extend(after.get("was_in", []))
        else:
            each.removed.extend(before["groups"])
            each.shared.extend(before.get("stays_in", []))
    return moves
