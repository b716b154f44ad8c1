"""The event log: a tenant's own, and the stream of all that skips nothing and repeats nothing."""

from __future__ import annotations

import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from muster.directory.v1 import events_pb2, users_pb2
from muster.runtime.errors import failure_of
from sqlalchemy import event
from sqlmodel import Session, col, select

from services.directory.api import events as api
from services.directory.operations.events import next_events
from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.store.events import Actor, Sought, append_event, newest_place
from services.directory.store.tables import Event
from tests.integration.directory.serving import Caller, Office, ServedDirectory, fields_of, refused
from tests.integration.directory.watching import Watcher, cursor_now
from tests.stack.waiting import wait_until


@pytest.fixture
def notifier(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.NOTIFIER)


@pytest.fixture
def watch(notifier):
    watchers = []

    def start(**how):
        watchers.append(Watcher(notifier, **how))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.stop()


@pytest.fixture(autouse=True)
def quick_checkpoints(monkeypatch):
    monkeypatch.setattr(api, "CHECKPOINT_S", 0.3)


def test_the_stream_gives_each_event_as_the_log_does(office: Office, watch, notifier):
    watcher = watch(cursor=cursor_now(notifier))
    group = office.group()
    office.user(groups=[group.name])
    wait_until(lambda: len(watcher.events) >= 3)
    seen = watcher.events
    assert [event.kind for event in seen] == ["group.created", "user.created", "membership.added"]
    assert seen == office.events()[1:]


def test_an_event_arrives_soon_after_its_commit(office: Office, watch, notifier):
    watcher = watch(cursor=cursor_now(notifier), kinds=["user.created"])
    office.user()
    wait_until(lambda: watcher.events, timeout_s=2)


def test_a_watcher_goes_on_from_its_cursor_and_gets_nothing_twice(office: Office, watch, notifier):
    start = cursor_now(notifier)
    for _ in range(3):
        office.user()
    first = watch(cursor=start)
    wait_until(lambda: len(first.events) == 6)
    middle = first.cursors[2]
    again = watch(cursor=middle)
    wait_until(lambda: len(again.events) == 3)
    assert again.events == first.events[3:]


def test_kinds_are_exact_or_whole_families(office: Office, watch, notifier):
    start = cursor_now(notifier)
    exact, family = watch(cursor=start, kinds=["group.created"]), watch(cursor=start, kinds=["user.*", "license.*"])
    office.user(groups=[office.group().name])
    wait_until(lambda: exact.events and family.events)
    assert [event.kind for event in exact.events] == ["group.created"]
    assert [event.kind for event in family.events] == ["user.created"]
    assert {event.kind for event in office.events("user.*")} == {"user.created"}
    for malformed in ("user", "user.", "*", "user.%", "user.gone", "people.*"):
        with refused("INVALID_ARGUMENT") as told:
            office.events(malformed)
        assert fields_of(told) == ["kind"]


def test_a_checkpoint_moves_past_events_that_were_not_asked_for(office: Office, watch, notifier):
    office.user()
    past = cursor_now(notifier)
    watcher = watch(cursor=past)
    office.group()
    wait_until(lambda: watcher.events)
    assert [event.kind for event in watcher.events] == ["group.created"]


def test_an_event_that_commits_late_is_not_skipped(directory: ServedDirectory, office: Office, watch, notifier):
    """Two transactions overlap: the one that began first commits last."""
    store = directory.store
    if store.is_sqlite:
        return  # writers take turns there
    watcher = watch(cursor=cursor_now(notifier))
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


def test_many_writers_at_once_lose_no_event_and_repeat_none(support: Caller, watch, notifier):
    office = Office(support, seats=1000)
    watcher = watch(cursor=cursor_now(notifier), kinds=["user.created"])
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


def test_the_log_is_read_from_either_end_page_by_page(office: Office, support: Caller):
    for _ in range(3):
        office.user()

    def pages(**request):
        request = events_pb2.ListEventsRequest(tenant=office.name, page_size=3, **request)
        found, count = [], 0
        while True:
            answer = support.events.ListEvents(request)
            found.extend(answer.events)
            count += 1
            if not answer.next_page_token:
                return found, count
            request.page_token = answer.next_page_token

    forward, count = pages()
    assert (len(forward), count) == (7, 3)
    assert pages(newest_first=True) == (forward[::-1], 3)
    request = events_pb2.ListEventsRequest(tenant=office.name, page_size=3)
    request.page_token = support.events.ListEvents(request).next_page_token
    request.newest_first = True
    with refused("INVALID_PAGE_TOKEN"):
        support.events.ListEvents(request)


def test_the_log_of_one_resource_is_its_own_history(office: Office, support: Caller):
    ann, _ = office.user(), office.user()
    seen = {
        resource: [
            event.kind
            for event in support.events.ListEvents(
                events_pb2.ListEventsRequest(tenant=office.name, resource=resource)
            ).events
        ]
        for resource in (ann.name, office.name, office.license)
    }
    assert seen == {
        ann.name: ["user.created", "membership.added"],
        office.name: ["tenant.created"],
        office.license: [],
    }
    for resource, reason in ((Office(support).user().name, "NOT_FOUND"), ("users/ann", "INVALID_ARGUMENT")):
        with refused(reason):
            support.events.ListEvents(events_pb2.ListEventsRequest(tenant=office.name, resource=resource))


_STEPS = st.lists(
    st.tuples(st.sampled_from(["write", "write", "commit", "roll back"]), st.integers(0, 2)), min_size=10, max_size=20
)


class Schedule:
    """Transactions that overlap as a test says, and followers who look while they do; all in one thread."""

    def __init__(self, store, tenant_id, example):
        self._store = store
        self._tenant_id = tenant_id
        self._example = example
        self._open: dict[int, tuple[ExitStack, Session, list[str]]] = {}
        self._written = 0
        self.committed: list[str] = []
        with store.read(None) as session:
            start = newest_place(session)
        self.followers = {reach: [Sought(tenant_id=reach), start, []] for reach in (None, tenant_id)}

    def write(self, slot):
        if self._store.is_sqlite and slot not in self._open and self._open:
            return  # writers take turns there
        if slot not in self._open:
            stack = ExitStack()
            self._open[slot] = (stack, stack.enter_context(self._store.write(self._tenant_id)), [])
        self._written += 1
        kind = f"example{self._example}.{self._written}"
        _, session, kinds = self._open[slot]
        about, who = ("ten", self._tenant_id), Actor("somebody")
        append_event(session, self._tenant_id, kind=kind, resource=about, actor=who, now=datetime.now(UTC))
        kinds.append(kind)

    def commit(self, slot):
        if slot in self._open:
            stack, _, kinds = self._open.pop(slot)
            stack.close()
            self.committed += kinds

    def roll_back(self, slot):
        if slot in self._open:
            stack, session, _ = self._open.pop(slot)
            with suppress(RuntimeError), stack:
                session.rollback()
                raise RuntimeError

    def read(self):
        for reach, (sought, cursor, seen) in self.followers.items():
            with self._store.read(reach) as session:
                batch = next_events(session, sought, after=cursor, limit=2)
            self.followers[reach][1] = batch.cursor
            seen.extend(event.kind for event in batch.events if event.kind.startswith(f"example{self._example}."))

    def end(self):
        """Commit what is open and read to the end; answers what was committed, in commit order."""
        for slot in list(self._open):
            self.commit(slot)

        def has_read_all():
            self.read()
            return all(len(seen) >= len(self.committed) for _, _, seen in self.followers.values())

        wait_until(has_read_all, every_s=0.01, timeout_s=5)
        self.read()
        with self._store.read(self._tenant_id) as session:
            query = select(Event.kind).where(col(Event.kind).in_(self.committed))
            return list(session.exec(query.order_by(col(Event.xid), col(Event.position))))


def test_followers_see_every_committed_event_once_and_in_order_however_transactions_overlap(
    directory: ServedDirectory, office: Office
):
    examples = itertools.count(1)

    @settings(max_examples=10, phases=[Phase.generate])
    @given(_STEPS)
    def overlap(steps):
        schedule = Schedule(directory.store, office.tenant_id, next(examples))
        do = {"write": schedule.write, "commit": schedule.commit, "roll back": schedule.roll_back}
        for what, slot in steps:
            do[what](slot)
            if what == "commit":
                schedule.read()
        in_order = schedule.end()
        assert sorted(in_order) == sorted(schedule.committed)
        for _, _, seen in schedule.followers.values():
            assert seen == in_order

    overlap()


def test_a_follower_does_not_look_at_each_of_many_commits(directory: ServedDirectory, office: Office, notifier: Caller):
    looks = []

    def look(_connection, _cursor, statement, *_):
        if statement.startswith("SELECT events.xid, events.position"):
            looks.append(time.monotonic())

    with watching(directory.store.engine, look):
        watcher = Watcher(notifier, kinds=["run.expired"])
        wait_until(lambda: looks)
        started, before = time.monotonic(), len(looks)
        for number in range(60):
            with directory.store.write(office.tenant_id) as session:
                about, who = ("ten", office.tenant_id), Actor("somebody")
                kind = f"example.burst{number}"
                append_event(session, office.tenant_id, kind=kind, resource=about, actor=who, now=datetime.now(UTC))
        ended = time.monotonic()
        watcher.stop()
    during = [at for at in looks[before:] if at <= ended]
    assert len(during) <= (ended - started) / api.LOOKS_APART_S + 1


@contextmanager
def watching(engine, tell):
    event.listen(engine, "before_cursor_execute", tell)
    yield
    event.remove(engine, "before_cursor_execute", tell)
