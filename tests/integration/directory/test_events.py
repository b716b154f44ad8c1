"""The event log: a tenant's own, and the stream of all that skips nothing and repeats nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import grpc
import pytest
from muster.directory.v1 import events_pb2, users_pb2
from muster.runtime.errors import failure_of

from services.directory.api import events as api
from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.store.events import Actor, append_event
from tests.integration.directory.serving import Caller, Office, ServedDirectory, fields_of, refused
from tests.stack.waiting import wait_until


@pytest.fixture
def notifier(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.NOTIFIER)


class Watcher:
    """Follows the stream in a thread of its own."""

    def __init__(self, caller: Caller, *, cursor: str = "", kinds=()):
        request = events_pb2.WatchEventsRequest(cursor=cursor, kinds=kinds)
        self.stream = caller.events.WatchEvents(request)
        self.answers: list[events_pb2.WatchEventsResponse] = []
        self.error: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        try:
            for answer in self.stream:
                self.answers.append(answer)
        except grpc.RpcError as error:
            self.error = error

    @property
    def events(self):
        return [answer.event for answer in list(self.answers) if answer.HasField("event")]

    def stop(self):
        self.stream.cancel()
        self._thread.join(10)


@pytest.fixture
def watch(notifier):
    watchers = []

    def start(**how):
        watchers.append(Watcher(notifier, **how))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.stop()


def cursor_now(watch):
    """A cursor past all that has happened: that of the first checkpoint when no kind matches."""
    watcher = watch(kinds=["nothing.*"])
    (checkpoint,) = wait_until(lambda: list(watcher.answers))
    watcher.stop()
    assert not checkpoint.HasField("event")
    return checkpoint.cursor


@pytest.fixture(autouse=True)
def quick_checkpoints(monkeypatch):
    monkeypatch.setattr(api, "CHECKPOINT_S", 0.3)


def test_the_stream_gives_each_event_as_the_log_does(office: Office, watch):
    watcher = watch(cursor=cursor_now(watch))
    group = office.group()
    office.user(groups=[group.name])
    wait_until(lambda: len(watcher.events) >= 3)
    seen = watcher.events
    assert [event.kind for event in seen] == ["group.created", "user.created", "membership.added"]
    assert seen == office.events()[1:]


def test_an_event_arrives_soon_after_its_commit(office: Office, watch):
    watcher = watch(cursor=cursor_now(watch), kinds=["user.created"])
    office.user()
    wait_until(lambda: watcher.events, timeout_s=2)


def test_a_watcher_goes_on_from_its_cursor_and_gets_nothing_twice(office: Office, watch):
    start = cursor_now(watch)
    for _ in range(3):
        office.user()
    first = watch(cursor=start)
    wait_until(lambda: len(first.events) == 6)
    middle = first.answers[2].cursor
    again = watch(cursor=middle)
    wait_until(lambda: len(again.events) == 3)
    assert again.events == first.events[3:]


def test_kinds_are_exact_or_whole_families(office: Office, watch):
    start = cursor_now(watch)
    exact, family = watch(cursor=start, kinds=["group.created"]), watch(cursor=start, kinds=["user.*", "license.*"])
    office.user(groups=[office.group().name])
    wait_until(lambda: exact.events and family.events)
    assert [event.kind for event in exact.events] == ["group.created"]
    assert [event.kind for event in family.events] == ["user.created"]
    assert {event.kind for event in office.events("user.*")} == {"user.created"}
    for malformed in ("user", "user.", "*", "user.%"):
        with refused("INVALID_ARGUMENT") as told:
            office.events(malformed)
        assert fields_of(told) == ["kind"]


def test_a_checkpoint_moves_past_events_that_were_not_asked_for(office: Office, watch, notifier):
    office.user()
    past = cursor_now(watch)
    watcher = watch(cursor=past)
    office.group()
    wait_until(lambda: watcher.events)
    assert [event.kind for event in watcher.events] == ["group.created"]


def test_an_event_that_commits_late_is_not_skipped(directory: ServedDirectory, office: Office, watch):
    """Two transactions overlap: the one that began first commits last."""
    store = directory.store
    if store.is_sqlite:
        return  # writers take turns there
    watcher = watch(cursor=cursor_now(watch))
    tenant_id = names.parse_tenant(office.name, field="tenant")
    began, go_on = threading.Event(), threading.Event()

    def write_late():
        with store.write(tenant_id) as session:
            about, late = ("ten", tenant_id), Actor("late")
            append_event(session, tenant_id, kind="late.one", resource=about, actor=late, now=datetime.now(UTC))
            began.set()
            assert go_on.wait(20)

    with ThreadPoolExecutor(1) as pool:
        late = pool.submit(write_late)
        assert began.wait(20)
        office.group()
        answered = len(watcher.answers)
        wait_until(lambda: len(watcher.answers) > answered + 1)  # checkpoints only: the group's event waits
        assert watcher.events == []
        go_on.set()
        late.result()
    wait_until(lambda: len(watcher.events) == 2)
    assert [event.kind for event in watcher.events] == ["late.one", "group.created"]


def test_many_writers_at_once_lose_no_event_and_repeat_none(support: Caller, watch):
    office = Office(support, seats=1000)
    watcher = watch(cursor=cursor_now(watch), kinds=["user.created"])
    with ThreadPoolExecutor(16) as writers:
        made = list(writers.map(lambda _: office.user().name, range(120)))
    wait_until(lambda: len(watcher.events) >= 120)
    assert sorted(event.resource for event in watcher.events) == sorted(made)
    logged = [event.resource for event in office.events("user.created")]
    page = events_pb2.ListEventsRequest(tenant=office.name, kind="user.created", page_size=1000)
    logged = [event.resource for event in support.events.ListEvents(page).events]
    assert logged == [event.resource for event in watcher.events]


def test_the_ninth_watcher_is_refused_until_one_has_gone(watch):
    watchers = [watch() for _ in range(8)]
    wait_until(lambda: all(watcher.answers for watcher in watchers))
    ninth = watch()
    error = wait_until(lambda: ninth.error)
    failure = failure_of(error)
    assert (failure.reason, failure.retry_after_s) == ("TOO_MANY_WATCHERS", 5.0)
    watchers[0].stop()

    def is_let_in():
        another = watch()
        wait_until(lambda: another.answers or another.error)
        return bool(another.answers)

    wait_until(is_let_in)


def test_a_cursor_that_was_not_made_here_is_refused(notifier: Caller):
    for cursor in ("!", "MQ", "YS5i", "é", "OTk5OTk5OTk5OTk5OTk5OTk5OTk5OTkuMQ"):
        with refused("INVALID_ARGUMENT") as told:
            next(iter(notifier.events.WatchEvents(events_pb2.WatchEventsRequest(cursor=cursor))))
        assert fields_of(told) == ["cursor"]


def test_one_tenants_log_holds_nothing_of_another(office: Office, support: Caller):
    Office(support).user()
    user = office.user()
    assert [event.kind for event in office.events()] == ["tenant.created", "user.created", "membership.added"]
    assert {event.name.rpartition("/events/")[0] for event in office.events()} == {office.name}
    shown = office.support.users.GetUser(users_pb2.GetUserRequest(name=user.name)).user
    assert shown.name == office.events()[1].resource
