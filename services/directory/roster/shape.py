"""Say what the people of a source look like after a plan, and whether that departs from what they looked like.

The shape is that of the register's people whom the source owns, before the plan and after it: the register holds the
last file, and a shape that is kept with each applied run tells how it was before. Two tables beside the plan:

    domains       mail domains, with how many people have them and how many have each optional column, before and after
    shrunken      groups that lose people, with how many they lose and gain
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from sqlalchemy import text

from services.directory.roster.reach import MOST_GROUPS, GroupChange, changed_groups
from services.directory.roster.stage_sql import StageSql

COLUMNS: Mapping[str, str] = {
    "title": "Title",
    "phone": "TelephoneNumber",
    "secondary_phone": "SecondaryTelephoneNumber",
}
"""The register's name of each column that may be empty → the file's."""

COMMON = 0.5
"""The share of people from which on a column counts as filled, and a mail domain as theirs."""

LOOK_BACK = 5
"""Applied runs whose shapes a plan is compared with."""

_MOST_DOMAINS, _FEWEST_IN_DOMAIN = 10, 3


@dataclass(frozen=True)
class Shape:
    """What a source's people look like."""

    people: int = 0
    columns: Mapping[str, int] = field(default_factory=dict)
    """Of how many people each column is filled, by the file's name of it."""
    domains: Mapping[str, int] = field(default_factory=dict)
    """How many people have each of the most frequent mail domains; one of very few people may tell who they are."""


@dataclass(frozen=True)
class Shapes:
    """A source's people before a plan and after it, and the groups that lose many of theirs."""

    before: Shape
    after: Shape
    groups: tuple[GroupChange, ...] = ()

    def kept(self) -> dict[str, Any]:
        """Write what the run keeps."""
        return asdict(self.after) | {"groups": [asdict(group) for group in self.groups[:MOST_GROUPS]]}


@dataclass(frozen=True)
class ShapeLimit:
    """The alarm's figures: more people than `floor`, and more than `percent` of those who should have it."""

    floor: float = 10
    percent: float = 50.0

    def is_passed(self, missing: int, *, of: int) -> bool:
        """Whether so many missing are too many."""
        return missing > self.floor and missing * 100 > self.percent * of


def shape_of(kept: Mapping[str, Any]) -> Shape:
    """Read a shape as a run keeps it."""
    return Shape(kept["people"], kept["columns"], kept["domains"])


def measure(stage: StageSql, limit: ShapeLimit, *, departures: int) -> Shapes:
    """Measure the plan, of which so many `departures` are known (reach.py); the register is only read."""
    _find_domains(stage)
    sums = ", ".join(f"coalesce(sum({name}), 0)" for name in _figures())
    sql = f"SELECT {sums} FROM {{domains}}".format(**stage.words)
    found = dict(zip(_figures(), map(int, stage.connection.execute(text(sql)).one()), strict=True))
    before, after = (
        Shape(
            found[f"people_{when}"],
            {shown: found[f"{column}_{when}"] for column, shown in COLUMNS.items()},
            _most_frequent(stage, f"people_{when}"),
        )
        for when in ("before", "after")
    )
    return Shapes(before, after, tuple(_shrunken_groups(stage, limit)) if departures else ())


def _figures() -> list[str]:
    return [f"{what}_{when}" for when in ("before", "after") for what in ("people", *COLUMNS)]


def _find_domains(stage: StageSql) -> None:
    """Make `domains` in one pass over the source's people and one over the changes."""
    domain = "substr(q.email, instr(q.email, '@') + 1)" if stage.dialect.is_sqlite else "split_part(q.email, '@', 2)"
    sums = ", ".join(
        f"sum(q.{when}) AS people_{when}, "
        + ", ".join(
            f"sum(CASE WHEN q.{column} <> '' THEN q.{when} ELSE 0 END) AS {column}_{when}" for column in COLUMNS
        )
        for when in ("before", "after")
    )
    columns = ", ".join(COLUMNS)
    old = ", ".join(f"old_{column}" for column in COLUMNS)
    stage.make(
        "domains",
        f"""
        SELECT {domain} AS domain, {sums} FROM (
            SELECT email, {columns}, 1 AS before, 1 AS after FROM users
            WHERE tenant_id = {{t}} AND owner_source_id = {{s}} AND state = 1
            UNION ALL
            SELECT old_email, {old}, 0, -1 FROM {{changes}}
            WHERE action NOT IN (1, 5) AND old_owner_source_id = {{s}}
            UNION ALL
            SELECT email, {columns}, 0, 1 FROM {{changes}}
            WHERE action <> 4 AND owner_source_id = {{s}}
        ) q GROUP BY 1
        """,
    )


def _most_frequent(stage: StageSql, figure: str) -> dict[str, int]:
    sql = f"""
        SELECT domain, {figure} FROM {{domains}} WHERE {figure} >= {_FEWEST_IN_DOMAIN}
        ORDER BY {figure} DESC, domain LIMIT {_MOST_DOMAINS}
    """
    return {str(domain): int(people) for domain, people in stage.connection.execute(text(sql.format(**stage.words)))}


def _shrunken_groups(stage: StageSql, limit: ShapeLimit) -> Iterator[GroupChange]:
    """Find groups that lose too many people by deletion and by leaving together, those that lose most first."""
    sql = f"""
        SELECT l.group_id, l.lost, coalesce(g.gained, 0) AS gained
        FROM (SELECT group_id, count(*) AS lost FROM {{departures}} GROUP BY group_id
              HAVING count(*) > {limit.floor}) l
        LEFT JOIN (
            SELECT v.group_id, count(*) AS gained FROM {{moves}} v WHERE v.is_added
              AND v.group_id IN (
                  SELECT d.group_id FROM {{departures}} d GROUP BY d.group_id HAVING count(*) > {limit.floor})
              AND NOT EXISTS (SELECT 1 FROM memberships o WHERE o.tenant_id = {{t}} AND o.group_id = v.group_id
                              AND o.user_id = v.user_id)
            GROUP BY v.group_id
        ) g ON g.group_id = l.group_id
    """
    if not stage.make("shrunken", sql):
        return
    changed = changed_groups(stage, "shrunken", "u.state = 1", share=limit.percent / 100)
    changed.sort(key=lambda group: (group.after - group.before, group.group_id))
    for group in changed:
        if limit.is_passed(group.before - group.after, of=group.before):
            yield group


def alarms(found: Shapes, recent: Sequence[Shape], limit: ShapeLimit) -> list[str]:
    """Say in sentences how the people after a plan depart from those before it and after recent runs; [] when little.

    Each is compared with the best that was: what is lost a little every night is lost in the end, too.
    """
    shapes = [shape for shape in (found.before, *recent) if shape.people]
    after = found.after
    said = []
    for column, filled in after.columns.items():
        usual = _usual([shape.columns.get(column, 0) / shape.people for shape in shapes], after.people)
        if limit.is_passed(usual - filled, of=usual):
            said.append(f"{filled} of {after.people} people would have a {column}, where {usual} usually have one.")
    for domain in sorted({domain for shape in shapes for domain in shape.domains}):
        usual = _usual([shape.domains.get(domain, 0) / shape.people for shape in shapes], after.people)
        there = after.domains.get(domain, 0)
        if limit.is_passed(usual - there, of=usual):
            said.append(
                f"{there} of {after.people} people would have a mail address at {domain}, where {usual} usually do."
            )
    said += (
        f'The group "{group.display_name}" would shrink from {group.before} people to {group.after}.'
        for group in found.groups[:3]
    )
    if len(found.groups) > 3:
        said.append(f"So would {len(found.groups) - 3} more groups.")
    return said


def _usual(shares: Sequence[float], people: int) -> int:
    """How many of these people have what most had at their best; 0 for what most never had."""
    best = max(shares, default=0.0)
    return round(best * people) if best >= COMMON else 0
