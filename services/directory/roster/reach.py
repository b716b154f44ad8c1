"""Say how a plan changes who can be reached: an active user with a phone, primary or secondary.

Two tables beside the plan, each made by one statement:

    departures    memberships that end with the plan, whatever their origin: of who is deleted, or leaves a group
    thinned       groups that lose reachable people, with how many they lose and gain
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import text

from services.directory.roster.stage_sql import StageSql

FEW = 2
"""A group with fewer reachable people than this has nobody to stand in for another."""

MOST_GROUPS = 20
"""Groups that are named."""

SMALLEST_BAND = 16
A_BAND = 4
"""Groups are looked at by how many people they lose: up to 16, then up to four times as many, and so on. Of none are
more counted than its losses make interesting: of a main group of a million that loses some thousands not the million.
"""


@dataclass(frozen=True)
class GroupChange:
    """How many people of some kind a group has before the plan, and after it."""

    group_id: int
    display_name: str
    before: int
    after: int


@dataclass(frozen=True)
class Reach:
    """How a plan changes who can be reached."""

    lost_phone: int = 0
    """Users who had a phone and have none after it, though they stay."""
    gained_phone: int = 0
    came_without_phone: int = 0
    groups_below: int = 0
    """Groups that had at least two reachable people, and have fewer after it."""
    groups: tuple[GroupChange, ...] = field(default=())
    """The first of them."""

    def kept(self) -> dict[str, Any]:
        """Write it as the run keeps it."""
        return asdict(self)


_STAYS = "c.action NOT IN (1, 4, 5)"
_HAD = "(c.old_phone <> '' OR c.old_secondary_phone <> '')"
_HAS = "(c.phone <> '' OR c.secondary_phone <> '')"
_IS_REACHABLE = "u.state = 1 AND (u.phone <> '' OR u.secondary_phone <> '')"
_STILL_THERE = "EXISTS (SELECT 1 FROM {shared} o WHERE o.group_id = v.group_id AND o.user_id = v.user_id)"
"""Somebody else, too, has put the person of a move into its group."""


def find_departures(stage: StageSql, counts: Mapping[str, int]) -> int:
    """Make `departures` and answer how many there are; who is put into a group by somebody else, too, stays in it."""
    left = []
    if counts["deleted"]:
        left.append("""
            SELECT DISTINCT m.user_id, m.group_id FROM memberships m JOIN {changes} c ON c.user_id = m.user_id
            WHERE m.tenant_id = {t} AND c.action = 4
        """)
    if counts["updated"] or counts["claims_dropped"]:
        left.append(f"SELECT v.user_id, v.group_id FROM {{moves}} v WHERE NOT v.is_added AND NOT {_STILL_THERE}")
    nobody = "SELECT user_id, group_id FROM {moves} WHERE false"
    found = stage.make("departures", " UNION ALL ".join(left) or nobody)
    stage.index("departures", "group_id")
    return found


def measure(stage: StageSql, counts: Mapping[str, int]) -> Reach:
    """Measure the plan, whose `departures` are known; the register is only read."""
    sql = f"""
        SELECT count(CASE WHEN {_STAYS} AND {_HAD} AND NOT {_HAS} THEN 1 END),
               count(CASE WHEN {_STAYS} AND NOT {_HAD} AND {_HAS} THEN 1 END),
               count(CASE WHEN c.action IN (1, 5) AND NOT {_HAS} THEN 1 END)
        FROM {{changes}} c
    """
    lost, gained, without = stage.connection.execute(text(sql.format(**stage.words))).one()
    groups: list[GroupChange] = []
    if (counts["deleted"] or counts["updated"] or counts["claims_dropped"]) and _find_thinned(stage):
        groups = [
            group for group in changed_groups(stage, "thinned", _IS_REACHABLE) if group.after < FEW <= group.before
        ]
    groups.sort(key=lambda group: (group.after, group.group_id))
    return Reach(int(lost), int(gained), int(without), len(groups), tuple(groups[:MOST_GROUPS]))


def _find_thinned(stage: StageSql) -> int:
    """Make `thinned`: the reachable people whom groups lose and gain; answers how many groups lose any."""
    lost = f"""
        SELECT d.group_id, d.user_id FROM {{departures}} d
        JOIN users u ON u.tenant_id = {{t}} AND u.id = d.user_id WHERE {_IS_REACHABLE}
        UNION
        SELECT m.group_id, m.user_id FROM {{changes}} c
        JOIN memberships m ON m.tenant_id = {{t}} AND m.user_id = c.user_id
        WHERE {_STAYS} AND {_HAD} AND NOT {_HAS}
    """
    gained = f"""
        SELECT v.group_id, v.user_id FROM {{moves}} v JOIN {{changes}} c ON c.user_id = v.user_id
        WHERE v.is_added AND {_HAS} AND NOT ({_STAYS} AND {_HAD} AND {_STILL_THERE})
        UNION
        SELECT m.group_id, m.user_id FROM {{changes}} c
        JOIN memberships m ON m.tenant_id = {{t}} AND m.user_id = c.user_id
        WHERE {_STAYS} AND NOT {_HAD} AND {_HAS}
          AND NOT EXISTS (SELECT 1 FROM {{departures}} d WHERE d.group_id = m.group_id AND d.user_id = m.user_id)
    """
    return stage.make(
        "thinned",
        f"""
        SELECT l.group_id, l.lost, coalesce(g.gained, 0) AS gained
        FROM (SELECT group_id, count(*) AS lost FROM ({lost}) q GROUP BY group_id) l
        LEFT JOIN (SELECT group_id, count(*) AS gained FROM ({gained}) q GROUP BY group_id) g ON g.group_id = l.group_id
        """,
    )


def changed_groups(stage: StageSql, table: str, condition: str, *, share: float = 1.0) -> list[GroupChange]:
    """Read what a table of groups with their losses and gains comes to, of people `u` under a condition.

    Of groups that lose less than `share` of their people no more than that is found out: they are left away.
    """
    found: list[GroupChange] = []
    for least, below in _bands(stage, table):
        most = min(int(below / share) + FEW, 1 << 60) if share else 1 << 60
        sql = f"""
            SELECT q.group_id, g.display_name, q.before, q.before - q.lost + q.gained FROM (
                SELECT p.group_id, p.lost, p.gained, (
                    SELECT count(*) FROM (
                        SELECT m.user_id FROM memberships m
                        JOIN users u ON u.tenant_id = m.tenant_id AND u.id = m.user_id
                        WHERE m.tenant_id = {{t}} AND m.group_id = p.group_id AND {condition}
                        GROUP BY m.user_id LIMIT {most}
                    ) n
                ) AS before
                FROM {{{table}}} p WHERE p.lost >= {least} AND p.lost < {below}
            ) q JOIN groups g ON g.tenant_id = {{t}} AND g.id = q.group_id
            WHERE q.before < {most}
        """
        rows = stage.connection.execute(text(sql.format(**stage.words)))
        found += (GroupChange(int(group), str(name), int(before), int(after)) for group, name, before, after in rows)
    return found


def _bands(stage: StageSql, table: str) -> Iterator[tuple[int, int]]:
    """Give the bands of losses from the least on, as far as there are groups."""
    highest = stage.connection.execute(text(f"SELECT max(lost) FROM {{{table}}}".format(**stage.words))).scalar()
    least, below = 0, SMALLEST_BAND
    while highest is not None and least <= highest:
        yield least, below
        least, below = below, below * A_BAND
