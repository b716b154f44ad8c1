"""Make two nights of a file: 11 columns, 1.5 groups each; 1 % join, 1 % change, 0.5 % leave, all are stamped anew."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

GROUPS = 2000
COLUMNS = (
    "UniqueID",
    "Name",
    "Mail",
    "Title",
    "TelephoneNumber",
    "SecondaryTelephoneNumber",
    "TimeStamp",
    "Groups",
    "Skip",
    "Office",
    "CostCentre",
)
Person = tuple[str, ...]
"""Values in the order of COLUMNS."""

_NOW = datetime.now(UTC)
_STAMPS = tuple(f"{_NOW - timedelta(hours=hours):%Y-%m-%d %H:%M:%S}" for hours in (26, 2))
"""When each night was exported: an older one would be warned about (R6), and so be read every night (R5)."""


def group_ids() -> list[str]:
    """The customer's Group IDs."""
    return [f"GRP-{number:05d}" for number in range(GROUPS)]


def first_night(count: int) -> Iterator[Person]:
    """Everyone, for the first time."""
    for number in range(count):
        yield _person(number, stamp=_STAMPS[0])


def second_night(count: int) -> Iterator[Person]:
    """The night after: every TimeStamp has moved; most people have not."""
    for number in range(count):
        if number % 200 != 3:
            yield _person(number, stamp=_STAMPS[1], has_new_title=number % 100 == 7)
    for number in range(count, count + count // 100):
        yield _person(number, stamp=_STAMPS[1])


def write_csv(path: Path, people: Iterator[Person]) -> None:
    """Write the file as a customer's system would."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(people)


def _person(number: int, *, stamp: str, has_new_title: bool = False) -> Person:
    groups = sorted({f"GRP-{_scattered(2 * number + place):05d}" for place in range(1 + number % 2)})
    return (
        f"EMP-{number:08d}",
        f"Given{number % 700} Family{number}",
        f"given.family{number}@bench.example",
        f"Title {number % 40 + (100 if has_new_title else 0)}",
        f"+4670{number % 10_000_000:07d}",
        f"+4673{number % 10_000_000:07d}" if number % 3 == 0 else "",
        stamp,
        ",".join(groups),
        "",
        f"Office {number % 90}",
        str(1000 + number % 500),
    )


def _scattered(number: int) -> int:
    """A group's number: the same for the same person every night, and no neighbour's (Knuth's multiplier)."""
    return (number * 2_654_435_761 % (1 << 32) >> 8) % GROUPS
