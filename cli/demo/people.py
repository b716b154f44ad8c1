"""Invent the people of a town and write them as the file that its personnel system would export."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

DOMAIN = "northlake.example"
DEPARTMENTS = 50
PEOPLE = 2000

_PLACES = ("Alder", "Birch", "Cedar", "Elm", "Hazel", "Juniper", "Maple", "Oak", "Rowan", "Willow")
_KINDS = ("School", "Preschool", "Care Home", "Library", "Clinic")
_FIRST = (
    *("Ada", "Åsa", "Amir", "Beatriz", "Bo", "Carl", "Chidi", "Dagny", "Deniz", "Ebba", "Emil", "Fatima", "Folke"),
    *("Greta", "Hanna", "Hugo", "Ida", "Ivo", "Jonas", "Juno", "Kaj", "Kerstin", "Lars", "Leila", "Liv", "Malte"),
    *("Mei", "Mila", "Nils", "Noor", "Olof", "Petra", "Quentin", "Ravi", "Rosa", "Sanna", "Søren", "Tove", "Tuva"),
    *("Ulla", "Vera", "Viggo", "Wilma", "Yara", "Ylva", "Zeb", "Zoë", "Örjan"),
)
_LAST = (
    *("Ahlgren", "Askew", "Bergdal", "Björkskog", "Brandvik", "Castellan", "Dahlmark", "Ekhult", "Farrow", "Fjällnäs"),
    *("Granholt", "Hallevik", "Hjelmar", "Ibsdal", "Järvelund", "Kallgren", "Kvistberg", "Lindhavn", "Lundmarker"),
    *("Malmvall", "Moberley", "Nordskog", "Nyhammar", "Okonda", "Ormsby", "Palmholt", "Quist", "Rosenkvist", "Rydfors"),
    *("Sandhamra", "Sjövall", "Stenhag", "Strandell", "Tallberg", "Tornquist", "Ulvaeng", "Vallgren", "Vestergard"),
    *("Wahlbeck", "Winterfelt", "Ytterby", "Zandgren", "Ågren", "Älvros", "Östmark"),
)
_TITLES = ("Teacher", "Nurse", "Caretaker", "Librarian", "Head of Department", "Assistant", "Cook", "Counsellor")
# (Group ID, name, how many people apart its members are): groups across departments, kept in the main account.
CROSS_GROUPS = (
    ("CRISIS-TEAM", "Crisis team", 50),
    ("FIRST-AID", "First aiders", 20),
    ("NIGHT-DUTY", "Night duty", 33),
)
COLUMNS = ("UniqueID", "Name", "Mail", "Title", "TelephoneNumber", "TimeStamp", "Groups")


@dataclass(frozen=True)
class Department:
    """One sub-account with the one group that the file feeds."""

    number: int

    @property
    def name(self) -> str:
        """What people call it: no two are the same."""
        return f"{_PLACES[self.number % len(_PLACES)]} {_KINDS[self.number // len(_PLACES)]}"

    @property
    def group_id(self) -> str:
        """Group ID of everyone who works there."""
        return f"DEPT-{self.number + 1:02d}"


@dataclass(frozen=True)
class Person:
    """One row of the file."""

    number: int
    department: int
    title: str
    mail: str = ""
    name: str = ""

    @property
    def unique_id(self) -> str:
        """The personnel system's key."""
        return f"EMP-{self.number:07d}"

    @cached_property
    def display_name(self) -> str:
        """First and last name, invented."""
        first, last = self.number % len(_FIRST), (self.number * 7 + self.number // len(_FIRST)) % len(_LAST)
        return self.name or f"{_FIRST[first]} {_LAST[last]}"

    @property
    def email(self) -> str:
        """The mail address in the file, which may be wrong."""
        return self.mail or f"{_ascii(self.display_name)}.{self.number}@{DOMAIN}"

    @property
    def phone(self) -> str:
        """A number of a range that is kept free for stories."""
        return f"+4670174{605 + self.number % 95:04d}"

    @property
    def group_ids(self) -> Sequence[str]:
        """The department's group, and those across departments that the number hits."""
        cross = [group_id for group_id, _, apart in CROSS_GROUPS if self.number % apart == 0]
        return [Department(self.department).group_id, *cross]


def hired(first: int, count: int) -> list[Person]:
    """Invent `count` people from number `first` on, spread over the departments."""
    return [
        Person(number=number, department=number % DEPARTMENTS, title=_TITLES[number * 3 % len(_TITLES)])
        for number in range(first, first + count)
    ]


def moved(person: Person) -> Person:
    """Move a person to the next department."""
    return replace(person, department=(person.department + 1) % DEPARTMENTS)


def export(people: Iterable[Person], moment: datetime) -> bytes:
    """Write the personnel system's file as of `moment`."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(COLUMNS)
    stamp = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    for each in people:
        groups = ",".join(each.group_ids)
        writer.writerow([each.unique_id, each.display_name, each.email, each.title, each.phone, stamp, groups])
    return text.getvalue().encode()


def _ascii(name: str) -> str:
    plain = name.lower().translate(str.maketrans("åäáëéöøü", "aaaeeoou"))
    return plain.replace(" ", ".")
