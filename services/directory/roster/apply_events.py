"""Write the events of an apply: whom it created, changed, moved and deleted, before and after."""

from __future__ import annotations

from services.directory.roster import undo_memory
from services.directory.roster.applier import Applier
from services.directory.roster.run_events import differences
from services.directory.rules.names import SOURCE
from services.directory.store.events import MEMORY


def write_events(applier: Applier) -> None:
    """Write every event of the run but those of new groups and invitations; who is deleted was told of before."""
    counts = applier.order.counts
    if counts["updated"] - counts["taken_over"] - counts["restored"] - counts["rekeyed"]:
        _change_events(applier, "user.updated", action=2)
    if counts["taken_over"]:
        _change_events(applier, "user.taken_over", action=3)
    if counts["restored"]:
        _change_events(applier, "user.restored", action=5)
    if counts["rekeyed"]:
        _change_events(applier, "user.rekeyed", action=6)
    if counts.get("claims_dropped"):
        _change_events(applier, "user.claim_dropped", action=7)
    if counts["created"]:
        applier.add_events("user.created", "{changes} c WHERE c.action = 1", after=person(applier), order="c.line")
    applier.events.add_moves()


def _change_events(applier: Applier, kind: str, *, action: int) -> None:
    """Tell only what differs, before and after; a change of memberships alone has no fields."""
    before, after = differences()
    before[MEMORY] = undo_memory.memory(applier)
    if action in {2, 6, 7} and applier.order.given.other_files:
        changes_hands = "CASE WHEN c.owner_source_id <> c.old_owner_source_id THEN"
        before["owner"] = f"{changes_hands} {_source_name(applier, 'c.old_owner_source_id')} END"
        after["owner"] = f"{changes_hands} {_source_name(applier, 'c.owner_source_id')} END"
    if action in {6, 7}:
        before["external_id"] = "c.old_external_id"
    if action != 7:
        after["external_id"] = "CASE WHEN c.adds_claim OR c.action <> 2 THEN c.external_id END"
    applier.add_events(
        kind,
        f"{{changes}} c {undo_memory.joined()} WHERE c.action = {action}",
        before=applier.dialect.json_of(**before),
        after=applier.dialect.json_of(**after),
        order="c.line",
    )


def _source_name(applier: Applier, column: str) -> str:
    """Write a source's resource name, of one of the tenant's files."""
    given = applier.order.given
    names = " ".join(
        f"WHEN {source_id} THEN '{SOURCE.format(given.tenant_id, source_id)}'"
        for source_id in (given.source_id, *given.other_files)
    )
    return f"CASE {column} {names} END"


def person(applier: Applier, **more: str) -> str:
    """A whole person as JSON, without what is empty."""
    columns = ("display_name", "email", "title", "phone", "secondary_phone", "external_id")
    return applier.dialect.json_of(**{column: f"nullif(c.{column}, '')" for column in columns}, **more)
