"""Write the events of an apply: whom it created, changed, moved and deleted, before and after."""

from __future__ import annotations

from services.directory.roster import undo_memory
from services.directory.roster.applier import Applier
from services.directory.store.events import MEMORY


def write_events(applier: Applier) -> None:
    """Write every event of the run but those of new groups and invitations; who is deleted was told of before."""
    counts = applier.order.counts
    if counts["updated"] - counts["taken_over"] - counts["restored"]:
        _change_events(applier, "user.updated", action=2)
    if counts["taken_over"]:
        _change_events(applier, "user.taken_over", action=3)
    if counts["restored"]:
        _change_events(applier, "user.restored", action=5)
    if counts["created"]:
        applier.add_events("user.created", "{changes} c WHERE c.action = 1", after=person(applier), order="c.line")
    applier.add_events(
        "membership.removed",
        "{changes} c WHERE c.removed <> '[]'",
        before=applier.dialect.json_of(groups=applier.dialect.as_json("c.removed")),
        order="c.line",
    )
    applier.add_events(
        "membership.added",
        "{changes} c WHERE c.added <> '[]'",
        after=applier.dialect.json_of(groups=applier.dialect.as_json("c.added")),
        order="c.line",
    )


def _change_events(applier: Applier, kind: str, *, action: int) -> None:
    """Tell only what differs, before and after; a change of memberships alone has no fields."""
    columns = ("email", "display_name", "title", "phone", "secondary_phone")
    before = {column: f"CASE WHEN c.old_{column} <> c.{column} THEN c.old_{column} END" for column in columns}
    after = {column: f"CASE WHEN c.old_{column} <> c.{column} THEN c.{column} END" for column in columns}
    if action != 2:
        after["external_id"] = "c.external_id"
        before[MEMORY] = undo_memory.memory(applier)
    applier.add_events(
        kind,
        f"{{changes}} c {undo_memory.joined() if action != 2 else ''} WHERE c.action = {action}",
        before=applier.dialect.json_of(**before),
        after=applier.dialect.json_of(**after),
        order="c.line",
    )


def person(applier: Applier, **more: str) -> str:
    """A whole person as JSON, without what is empty."""
    columns = ("display_name", "email", "title", "phone", "secondary_phone", "external_id")
    return applier.dialect.json_of(**{column: f"nullif(c.{column}, '')" for column in columns}, **more)


def group_list(applier: Applier) -> str:
    """The groups `m.group_id` of one person, in order, as a JSON array."""
    if applier.dialect.is_sqlite:
        return "'[' || group_concat(m.group_id, ',') || ']'"
    return "'[' || string_agg(m.group_id::text, ',' ORDER BY m.group_id) || ']'"
