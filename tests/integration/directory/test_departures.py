"""Calls that are one request are judged by its end state (S7), and nobody is forgotten when its end never comes."""

from __future__ import annotations

import pytest
from muster.directory.v1 import sources_pb2, users_pb2

from services.directory.operations.overdue_departures import judge_overdue
from services.directory.operations.provisioning.departures import JUDGED_WITHIN
from tests.integration.directory.connection import Connection, connect, settle_in
from tests.integration.directory.serving import Office, refused

ACTIVE, DORMANT = users_pb2.USER_STATE_ACTIVE, users_pb2.USER_STATE_DORMANT


@pytest.fixture
def connection(directory, office) -> Connection:
    return connect(directory, office)


def states(connection, *users) -> list[int]:
    office = connection.office
    return [office.read_user(f"{office.name}/users/{user.id}").state for user in users]


def test_who_is_moved_from_the_last_group_to_another_was_never_out(connection, office):
    ann, ben = connection.create(), connection.create()
    first, second = connection.create_group("First", members=[ann.id, ben.id]), connection.create_group("Second")
    connection.change_group(first.id, remove=[ann.id, ben.id], unit="u-1")
    assert states(connection, ann, ben) == [ACTIVE, ACTIVE]
    connection.change_group(second.id, add=[ann.id], unit="u-1")
    assert connection.judge("u-1") == 1
    assert states(connection, ann, ben) == [ACTIVE, DORMANT]
    assert [event.resource.rpartition("/")[2] for event in office.events("user.dormant")] == [ben.id]
    assert connection.judge("u-1") == 0


def test_a_deleted_group_lets_its_people_go_at_the_end_of_the_request(connection):
    ann = connection.create()
    crisis = connection.create_group("Crisis", members=[ann.id])
    connection.delete_group(crisis.id, unit="u-1")
    assert states(connection, ann) == [ACTIVE]
    connection.judge("u-1")
    assert states(connection, ann) == [DORMANT]


def test_who_is_deleted_and_made_again_in_the_request_stays(connection):
    """What the request took from it before it was deleted is of no account: it came back without a group."""
    ann = connection.create("ann@example.org")
    crisis = connection.create_group("Crisis", members=[ann.id])
    connection.delete_group(crisis.id, unit="u-1")
    connection.delete(ann.id)
    assert connection.create("ann@example.org", unit="u-1").id == ann.id
    assert connection.judge("u-1") == 0
    assert states(connection, ann) == [ACTIVE]


def test_what_nobody_ends_is_judged_a_minute_later(directory, connection):
    ann, ben = connection.create(), connection.create()
    crisis = connection.create_group("Crisis", members=[ann.id, ben.id])
    connection.change_group(crisis.id, remove=[ann.id, ben.id], unit="u-1")
    connection.change_group(crisis.id, add=[ben.id], unit="u-1")
    soon = directory.clock() + JUDGED_WITHIN
    judge_overdue(directory.store, now=soon.replace(microsecond=0) - JUDGED_WITHIN)
    assert states(connection, ann, ben) == [ACTIVE, ACTIVE]
    judge_overdue(directory.store, now=soon)
    assert states(connection, ann, ben) == [DORMANT, ACTIVE]


def test_a_seat_that_the_request_frees_is_there_for_whom_it_brings(directory, support):
    office = Office(support, seats=1)
    connection = connect(directory, office)
    ann = connection.create()
    crisis = connection.create_group("Crisis", members=[ann.id])
    connection.change_group(crisis.id, remove=[ann.id], unit="u-1")
    with refused("LICENSE_LIMIT_REACHED"):
        connection.create()
    ben = connection.create(unit="u-1")
    assert states(connection, ann, ben) == [DORMANT, ACTIVE]
    assert office.events("license.refused") != []


def test_a_unit_that_the_guard_stops_waits_for_the_administrator(directory, connection, office):
    people = settle_in(connection, 101)
    crisis = connection.create_group("Crisis", members=people)
    connection.change_group(crisis.id, replace=True, unit="u-1")
    with refused("GUARD_TRIPPED"):
        connection.judge("u-1")
    judge_overdue(directory.store, now=directory.clock() + JUDGED_WITHIN)
    assert office.seats().seats_used == 101
    office.support.sources.ResumeSource(sources_pb2.ResumeSourceRequest(name=connection.source))
    judge_overdue(directory.store, now=directory.clock() + JUDGED_WITHIN)
    assert office.seats().seats_used == 0


@pytest.mark.mostly("sqlite")
def test_a_silent_unit_trips_the_guard_as_well(directory, connection, office):
    people = settle_in(connection, 101)
    crisis = connection.create_group("Crisis", members=people)
    connection.change_group(crisis.id, replace=True, unit="u-1")
    judge_overdue(directory.store, now=directory.clock() + JUDGED_WITHIN)
    source = office.support.sources.GetSource(sources_pb2.GetSourceRequest(name=connection.source)).source
    assert source.state == sources_pb2.SOURCE_STATE_PAUSED
    assert office.seats().seats_used == 101


@pytest.mark.mostly("sqlite")
@pytest.mark.parametrize("unit", ["", "a b", "a" * 65])
def test_a_unit_has_a_name(connection, unit):
    with refused("INVALID_ARGUMENT"):
        connection.judge(unit)
