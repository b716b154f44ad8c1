"""The invented town of `muster demo`."""

import csv
import io
from datetime import UTC, datetime

from cli.demo.people import CROSS_GROUPS, DEPARTMENTS, PEOPLE, Department, export, hired, moved

NIGHT = datetime(2026, 3, 1, 2, tzinfo=UTC)


def test_two_thousand_different_people():
    people = hired(0, PEOPLE)
    assert len({person.unique_id for person in people}) == PEOPLE
    assert len({person.email for person in people}) == PEOPLE
    assert len({person.display_name for person in people}) > PEOPLE * 0.9
    assert all(person.email.isascii() for person in people)
    assert all(10 <= len(person.unique_id) <= 256 for person in people)


def test_departments_have_different_names_and_equal_shares():
    assert len({Department(number).name for number in range(DEPARTMENTS)}) == DEPARTMENTS
    shares = [sum(person.department == number for person in hired(0, PEOPLE)) for number in range(DEPARTMENTS)]
    assert set(shares) == {PEOPLE // DEPARTMENTS}


def test_the_export_is_the_same_each_time_and_reads_as_csv():
    file = export(hired(0, 60), NIGHT)
    assert file == export(hired(0, 60), NIGHT)
    rows = list(csv.DictReader(io.StringIO(file.decode(), newline="")))
    assert len(rows) == 60
    assert rows[0]["Groups"] == "DEPT-01," + ",".join(group_id for group_id, _, _ in CROSS_GROUPS)
    assert rows[0]["TimeStamp"] == "2026-03-01T02:00:00Z"


def test_a_mover_keeps_everything_but_the_department():
    (person,) = hired(7, 1)
    assert moved(person).department == person.department + 1
    assert moved(person).email == person.email
