"""Keep what an apply is about to replace, so that its run can be undone; the run's events carry it as `undo`.

Events tell readers what differs; an undo must know more: every membership and key of a person who is deleted, and how
somebody who is restored had left. A password is never part of an event: the one that a takeover ends stays with the
user's credentials, beside a newer one.
"""

from __future__ import annotations

from typing import Final

from services.directory.roster.applier import Applier
from services.directory.store.people_tables import InvitationState

_OPEN: Final = f"({InvitationState.PENDING}, {InvitationState.SENT})"


def remember(applier: Applier) -> None:
    """Make `kept` (user_id, memory) of everybody who is deleted, taken over or restored; before anything is written."""
    applier.run(f"DROP TABLE IF EXISTS {applier.space.name('kept')}")
    parts = " UNION ALL ".join((_deleted(applier), _taken_over(applier), _restored(applier)))
    applier.run(f"{applier.dialect.create_table} {applier.space.name('kept')} AS {parts}")
    if applier.dialect.is_sqlite:
        applier.run("CREATE INDEX stage.kept_user_id ON kept (user_id)")
    if applier.order.counts["taken_over"]:
        _keep_passwords(applier)


def joined() -> str:
    """Join the rows `c` of people with what is kept of them, `k`."""
    return "LEFT JOIN {kept} k ON k.user_id = c.user_id"


def memory(applier: Applier) -> str:
    """What is kept of a person, as JSON."""
    return applier.dialect.as_json("k.memory")


def _deleted(applier: Applier) -> str:
    """Everything that ends with the person (R32)."""
    dialect = applier.dialect
    lists = {
        "memberships": _list_of(applier, "memberships", "m.group_id", "m.origin_source_id"),
        "claims": _list_of(
            applier,
            "claims",
            "m.source_id",
            "m.external_id",
            "m.missed_files",
            "CASE WHEN m.deletion_left_out THEN 1 ELSE 0 END",
        ),
        "invitations": _list_of(applier, "invitations", "m.id", "m.state", only=f"AND m.state IN {_OPEN}"),
    }
    joins = " ".join(f"LEFT JOIN ({query}) {name}_of ON {name}_of.user_id = c.user_id" for name, query in lists.items())
    found = {name: dialect.as_json(f"coalesce({name}_of.list, '[]')") for name in lists}
    pairs = ", ".join(f"'{name}', {value}" for name, value in found.items())
    return f"SELECT c.user_id, {_object(applier, pairs)} AS memory FROM {{changes}} c {joins} WHERE c.action = 4"


def _list_of(applier: Applier, table: str, *columns: str, only: str = "") -> str:
    row = applier.dialect.json_row(*columns)
    return (
        f"SELECT m.user_id, {applier.dialect.json_rows(row)} AS list FROM {table} m "
        f"WHERE m.tenant_id = {{t}} {only} AND m.user_id IN (SELECT user_id FROM {{changes}} WHERE action = 4) "
        "GROUP BY m.user_id"
    )


def _taken_over(applier: Applier) -> str:
    pairs = "'reset', CASE WHEN u.password_reset_required THEN 1 ELSE 0 END, 'owner', u.owner_source_id"
    return _of_users(applier, pairs, action=3)


def _restored(applier: Applier) -> str:
    left = _of_users(
        applier,
        "'owner', u.owner_source_id, 'way_out', u.way_out, 'leave_time', u.leave_time, 'end_time', f.end_time",
        action=5,
    )
    former = "f.tenant_id = {t} AND f.source_id = {s} AND f.external_id = c.external_id AND f.user_id = c.user_id"
    return left.replace("WHERE", f"LEFT JOIN former_claims f ON {former} WHERE")


def _of_users(applier: Applier, pairs: str, *, action: int) -> str:
    return (
        f"SELECT c.user_id, {_object(applier, pairs)} AS memory FROM {{changes}} c "
        f"JOIN users u ON u.tenant_id = {{t}} AND u.id = c.user_id WHERE c.action = {action}"
    )


def _object(applier: Applier, pairs: str) -> str:
    return f"json_object({pairs})" if applier.dialect.is_sqlite else f"json_build_object({pairs})::text"


def _keep_passwords(applier: Applier) -> None:
    """The old password is no longer valid (R27), and is again when the takeover is undone."""
    applier.run(
        """
        UPDATE credentials SET former_hash = password_hash, former_set_time = set_time, former_run_id = {run}
        WHERE tenant_id = {t} AND password_hash <> ''
          AND user_id IN (SELECT user_id FROM {changes} WHERE action = 3)
        """
    )


_IS_PRESENT: Final = "c.user_id IN (SELECT user_id FROM {people})"
_IS_HELD: Final = "c.user_id IN (SELECT user_id FROM {held})"
_IS_LEFT_OUT: Final = "c.user_id IN (SELECT user_id FROM {left_out})"
_WAS_MISSED: Final = "(c.missed_files > 0 OR c.deletion_left_out)"


def has_missed_anybody(applier: Applier) -> bool:
    """Whether anybody was missing in the file before, and the count may end now (R32)."""
    looked = "SELECT EXISTS (SELECT 1 FROM claims c WHERE c.tenant_id = {t} AND c.source_id = {s} AND " + _WAS_MISSED
    return bool(applier.look(looked + ")"))


def remember_missed(applier: Applier) -> None:
    """Write an event for everybody whose count of files without a row changes, or whose deletion is left out now."""
    given, dialect = applier.order.given, applier.dialect
    is_missed = f"NOT {_IS_PRESENT} AND (NOT {_IS_HELD} OR {_IS_LEFT_OUT})"
    changes = [f"({_WAS_MISSED} AND {_IS_PRESENT})"]
    counted = f"CASE WHEN {_IS_PRESENT} THEN 0 ELSE c.missed_files END"
    if given.grace_nights:
        changes.append(f"({is_missed})")
        counted = f"CASE WHEN {is_missed} THEN c.missed_files + 1 WHEN {_IS_PRESENT} THEN 0 ELSE c.missed_files END"
    if given.leave_deletions_out:
        changes.append(f"({_IS_LEFT_OUT} AND NOT c.deletion_left_out)")
    words = applier.words
    applier.add_events(
        "user.missed",
        f"claims c WHERE c.tenant_id = {{t}} AND c.source_id = {{s}} AND ({' OR '.join(changes)})",
        before=dialect.json_of(
            missed_files="c.missed_files", left_out="CASE WHEN c.deletion_left_out THEN 1 ELSE 0 END"
        ),
        after=dialect.json_of(missed_files=counted.format(**words)),
        order="c.user_id",
    )
