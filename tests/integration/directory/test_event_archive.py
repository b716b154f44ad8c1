"""Events past their time leave the log for the archive: in order, and none that anybody still needs."""

from __future__ import annotations

from datetime import timedelta

import pytest
from muster.directory.v1 import events_pb2 as pb
from sqlmodel import col, select

from services.directory.operations.event_archive import archive_events
from services.directory.operations.subscriptions import acknowledge, delete_subscription, open_subscription
from services.directory.operations.users import NewUser, create_user
from services.directory.rules import names
from services.directory.store.events import has_changed
from services.directory.store.tables import Event
from tests.integration.directory.nights import SOMEBODY, hash_of
from tests.integration.directory.serving import START, Office, ServedDirectory
from tests.stack.waiting import wait_until


@pytest.fixture(autouse=True)
def _from_the_start(directory: ServedDirectory):
    directory.clock.now = START


@pytest.fixture
def office(directory: ServedDirectory, support) -> Office:
    """An office with the first events in the log: what other tests left is in the archive."""
    archive_all(directory.store, before=START + timedelta(days=10_000))
    return Office(support)


@pytest.fixture
def old(directory: ServedDirectory, office: Office) -> list[pb.Event]:
    """Three events of the office's, and two more a day later."""
    office.group("a")
    office.group("b")
    directory.clock.pass_hours(24)
    office.group("c")
    office.group("d")
    return office.events()


def archive(store, *, before=START + timedelta(hours=1), limit=1000) -> int:
    with store.write(None) as session:
        return archive_events(session, before=before, limit=limit)


def archive_all(store, **how) -> None:
    """Archive to the end; what somebody on the same server still writes may hold it up for a moment."""
    wait_until(lambda: archive(store, **how) == 0 and not left(store, **how), every_s=0.01)


def left(store, *, before=START + timedelta(hours=1), **_):
    with store.read(None) as session:
        oldest = session.exec(select(Event.time).order_by(col(Event.xid), col(Event.position)).limit(1)).first()
        return oldest is not None and oldest < before


def archived(office: Office, **request) -> list[pb.Event]:
    wanted = pb.ListEventsRequest(tenant=office.name, archived=True, **request)
    return list(office.support.events.ListEvents(wanted).events)


def place_of(store, event: pb.Event) -> tuple[int, int]:
    position = names.parse(names.EVENT, event.name, field="event")[1]
    with store.read(None) as session:
        return tuple(session.exec(select(Event.xid, Event.position).where(col(Event.position) == position)).one())


def test_old_events_are_read_from_the_archive_and_young_ones_from_the_log(store, office, old):
    archive_all(store)
    assert office.events() == old[3:]
    assert archived(office) == old[:3]
    assert archived(office, newest_first=True, kind="group.*") == [old[2], old[1]]
    assert archived(office, resource=old[1].resource) == [old[1]]


def test_a_few_go_at_a_time_the_oldest_first(store, office, old):
    wait_until(lambda: archive(store, limit=2) == 2)
    assert (archived(office), office.events()) == (old[:2], old[2:])
    archive_all(store, limit=2)
    assert archived(office) == old[:3]


def test_nothing_goes_that_a_subscription_has_not_acknowledged(directory, store, office, old):
    now = directory.clock()
    with store.write(None) as session:
        open_subscription(session, "slow", kinds=["run.*"], cursor=None, now=now)
    assert archive(store) == 0
    with store.write(None) as session:
        acknowledge(session, "slow", place_of(store, old[1]), now=now)
    wait_until(lambda: archive(store) and archived(office))
    assert (archived(office), office.events()) == (old[:2], old[2:])
    with store.write(None) as session:
        delete_subscription(session, "slow")
    archive_all(store)
    assert archived(office) == old[:3]


def test_an_old_event_behind_a_young_one_waits_for_it(directory, store, office, old):
    directory.clock.now = START  # a clock that was set back
    office.group("late")
    archive_all(store)
    assert archived(office) == old[:3]
    assert [event.kind for event in office.events()] == ["group.created"] * 3


def test_what_has_been_archived_still_counts_as_a_change(night, store, clock):
    """A plan whose basis is older than the archive is made again, and no row counts as settled."""
    night.apply(night.plan("anna"))
    planned = night.plan("anna", "bo", dry_run=True)
    basis = (planned.plan_xid, planned.plan_position)
    with store.read(night.tenant_id) as session:
        assert not has_changed(session, night.tenant_id, basis)
    with store.write(night.tenant_id) as session:
        by_hand = NewUser(night.account_id, "Carl", "carl@example.org")
        create_user(session, night.tenant_id, by_hand, actor=SOMEBODY, now=clock())
    run_id = night.open(dry_run=True)
    assert night.settled_hashes(run_id) == {hash_of("anna")}
    archive_all(store, before=clock() + timedelta(days=1))
    with store.read(night.tenant_id) as session:
        assert has_changed(session, night.tenant_id, basis)
    assert night.settled_hashes(run_id) == set()
