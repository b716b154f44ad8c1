"""Keep what an apply is about to replace, so that its run can be undone; the run's events carry it as `undo`.

Events tell readers what differs; an undo must know more: every membership and key of a person who is deleted, and how
somebody who is restored had left. A password is never part of an event: the one that a takeover ends stays with the
user's credentials, beside a newer one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.directory.roster.applier import Applier
from services.directory.roster.plan_changes import CREATE, DELETE, RESTORE
from services.directory.store.people_tables import OPEN_INVITATIONS

_CLAIM: Final = (
    "m.source_id",
    "m.external_id",
    "m.missed_files",
    "CASE WHEN m.deletion_left_out THEN 1 ELSE 0 END",
)
_KEYS: Final = {
    "claims": ("claims", _CLAIM, ""),
    "former": ("former_claims", ("m.source_id", "m.external_id", "m.end_time"), ""),
}
"""By which keys sources know a person, and knew one before."""


def remember(applier: Applier) -> None:
    """Make `kept` (user_id, memory) of everybody who is changed or deleted; before anything is written.

    Who is created was nothing before; of everybody else the keys and the owner are kept, whatever becomes of them.
    """
    applier.run(f"DROP TABLE IF EXISTS {applier.space.name('kept')}")
    parts = " UNION ALL ".join((_deleted(applier), _restored(applier), _changed(applier)))
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
    lists = {
        "memberships": ("memberships", ("m.group_id", "m.origin_source_id"), ""),
        **_KEYS,
        "invitations": ("invitations", ("m.id", "m.state"), f"AND m.state IN {OPEN_INVITATIONS}"),
    }
    return _of_users(applier, "'way_out', u.way_out", f"c.action = {DELETE}", lists)


def _changed(applier: Applier) -> str:
    """Whose a person was, by which keys, and whether the password was valid."""
    pairs = "'reset', CASE WHEN u.password_reset_required THEN 1 ELSE 0 END, 'owner', u.owner_source_id"
    others = f"c.action NOT IN ({CREATE}, {DELETE}, {RESTORE})"
    return _of_users(applier, pairs, others, _KEYS)


def _restored(applier: Applier) -> str:
    """How a person had left who is back."""
    return _of_users(
        applier,
        "'owner', u.owner_source_id, 'way_out', u.way_out, 'leave_time', u.leave_time",
        f"c.action = {RESTORE}",
        _KEYS,
    )


def _of_users(
    applier: Applier, pairs: str, condition: str, lists: Mapping[str, tuple[str, tuple[str, ...], str]]
) -> str:
    """Select people `c` of whom a condition holds, with values of their row `u` and lists of what other tables say."""
    dialect, joins = applier.dialect, ""
    for name, (table, columns, only) in lists.items():
        joins += (
            f" LEFT JOIN (SELECT m.user_id, {dialect.json_rows(dialect.json_row(*columns))} AS list FROM {table} m"
            f" JOIN {{changes}} c ON c.user_id = m.user_id WHERE m.tenant_id = {{t}} AND {condition} {only}"
            f" GROUP BY m.user_id) {name}_of ON {name}_of.user_id = c.user_id"
        )
        found = f"coalesce({name}_of.list, '[]')"
        pairs += f", '{name}', {dialect.as_json(found)}"
    return (
        f"SELECT c.user_id, {_object(applier, pairs)} AS memory FROM {{changes}} c"
        f" JOIN users u ON u.tenant_id = {{t}} AND u.id = c.user_id{joins} WHERE {condition}"
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
