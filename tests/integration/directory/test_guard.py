"""The guard pauses a connection that puts out many people at once, before it has (S13)."""

from __future__ import annotations

import pytest
from muster.directory.v1 import events_pb2, sources_pb2, users_pb2

from tests.integration.directory.connection import Connection, connect, settle_in
from tests.integration.directory.serving import refused

ACTIVE, DORMANT = users_pb2.USER_STATE_ACTIVE, users_pb2.USER_STATE_DORMANT
PAUSED = sources_pb2.SOURCE_STATE_PAUSED


@pytest.fixture
def connection(directory, office) -> Connection:
    return connect(directory, office)


def source_of(connection):
    stub = connection.office.support.sources
    return stub.GetSource(sources_pb2.GetSourceRequest(name=connection.source)).source


def resume(connection) -> None:
    connection.office.support.sources.ResumeSource(sources_pb2.ResumeSourceRequest(name=connection.source))


def state_of(office, user_id):
    return office.read_user(f"{office.name}/users/{user_id}").state


def alarms(office) -> list[events_pb2.Event]:
    return [event for event in office.events("source.paused") if "by" in event.after.fields]


def test_the_request_that_passes_the_line_is_refused_whole_and_what_was_done_before_stays(connection, office):
    people = settle_in(connection, 200)
    crisis = connection.create_group("Crisis", members=people)
    connection.change_group(crisis.id, remove=people[:100])
    with refused("GUARD_TRIPPED") as tripped:
        connection.change_group(crisis.id, remove=people[100:102])
    assert tripped["failure"].retry_after_s == 1800
    assert [state_of(office, each) for each in people[99:102]] == [DORMANT, ACTIVE, ACTIVE]
    assert source_of(connection).state == PAUSED
    assert source_of(connection).HasField("guard_trip_time")
    with refused("GUARD_TRIPPED"):
        connection.get(people[150])
    (alarm,) = alarms(office)
    assert (alarm.after["people"], alarm.after["active"], alarm.actor) == (102, 200, "services/directory/guard")
    resume(connection)
    assert len(connection.members(crisis.id)) == 100
    connection.change_group(crisis.id, remove=people[100:102])
    assert not source_of(connection).HasField("guard_trip_time")


@pytest.mark.mostly("sqlite")
def test_over_a_hundred_people_are_no_alarm_while_they_are_a_fifth_at_most(connection, office):
    people = settle_in(connection, 600)
    crisis = connection.create_group("Crisis", members=people)
    connection.change_group(crisis.id, remove=people[:110])
    connection.change_group(crisis.id, remove=people[110:120])
    with refused("GUARD_TRIPPED"):
        connection.change_group(crisis.id, remove=people[120:121])
    assert alarms(office)[0].after["active"] == 600


@pytest.mark.mostly("sqlite")
@pytest.mark.parametrize("way", ["deactivated", "deleted", "group deleted"])
def test_every_way_out_counts(connection, office, way):
    people = settle_in(connection, 150)
    crisis = connection.create_group("Crisis", members=people)
    ann = connection.create("ann@example.org")
    other = connection.create_group("Other", members=[ann.id])
    connection.change_group(crisis.id, remove=people[:100])
    with refused("GUARD_TRIPPED"):
        if way == "deactivated":
            connection.set_active(ann, active=False)
        elif way == "deleted":
            connection.delete(ann.id)
        else:
            connection.delete_group(other.id)
    assert state_of(office, ann.id) == ACTIVE


def test_who_came_back_was_not_put_out(directory, connection):
    people = settle_in(connection, 150)
    crisis = connection.create_group("Crisis", members=people)
    directory.clock.pass_hours(1)
    for _ in range(2):
        connection.change_group(crisis.id, remove=people[:100])
        connection.change_group(crisis.id, add=people[:100])
    connection.change_group(crisis.id, remove=people[:100])
    with refused("GUARD_TRIPPED"):
        connection.change_group(crisis.id, remove=people[100:101])


@pytest.mark.mostly("sqlite")
def test_an_hour_later_the_guard_counts_anew(directory, connection):
    people = settle_in(connection, 150)
    crisis = connection.create_group("Crisis", members=people)
    connection.change_group(crisis.id, remove=people[:100])
    directory.clock.pass_hours(1)
    connection.change_group(crisis.id, remove=people[100:])
    assert source_of(connection).state == sources_pb2.SOURCE_STATE_ENABLED


@pytest.mark.mostly("sqlite")
def test_who_was_asleep_is_not_put_out_once_more(connection):
    people = settle_in(connection, 101)
    crisis = connection.create_group("Crisis", members=people)
    connection.change_group(crisis.id, remove=people[:100])
    connection.delete(people[0])


@pytest.mark.mostly("sqlite")
def test_a_source_may_have_no_guard(directory, office):
    connection = connect(directory, office, guard=sources_pb2.GUARD_OFF)
    people = settle_in(connection, 150)
    crisis = connection.create_group("Crisis", members=people)
    connection.change_group(crisis.id, replace=True)
    assert office.seats().seats_used == 0
    assert source_of(connection).guard == sources_pb2.GUARD_OFF


@pytest.mark.mostly("sqlite")
def test_a_file_has_limits_and_no_guard(office):
    source = sources_pb2.Source(display_name="File", kind=sources_pb2.SOURCE_KIND_SFTP, guard=sources_pb2.GUARD_ON)
    with refused("INVALID_ARGUMENT"):
        office.support.sources.CreateSource(sources_pb2.CreateSourceRequest(tenant=office.name, source=source))
