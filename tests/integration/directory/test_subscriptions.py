"""Subscriptions: the directory keeps how far a follower has come, over restarts of both."""

from __future__ import annotations

import base64
from datetime import UTC

import pytest
from muster.directory.v1 import events_pb2 as pb
from muster.runtime.errors import failure_of

from services.directory.api import events as api
from services.directory.rules.grants import Grant
from services.directory.store.session import Store
from tests.integration.directory.serving import START, Caller, Office, ServedDirectory, fields_of, refused
from tests.integration.directory.watching import Watcher, cursor_now
from tests.stack.waiting import wait_until

FAR = base64.urlsafe_b64encode(f"{2**60}.1".encode()).decode().rstrip("=")


@pytest.fixture(autouse=True)
def _quick_checkpoints(monkeypatch, directory: ServedDirectory):
    monkeypatch.setattr(api, "CHECKPOINT_S", 0.2)
    directory.clock.now = START


@pytest.fixture(scope="module")
def notifier(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.NOTIFIER)


@pytest.fixture
def watch(notifier):
    watchers = []

    def start(caller=notifier, **request):
        watchers.append(Watcher(caller, **request))
        return watchers[-1]

    yield start
    for watcher in watchers:
        watcher.stop()


@pytest.fixture
def subscription(request, notifier, watch):
    """A subscription at the end of the log, named after its test."""
    name = request.node.name.partition("[")[0].removeprefix("test_").replace("_", "-")[:64].rstrip("-")
    watcher = watch(subscription=name, cursor=cursor_now(notifier), kinds=["group.created"])
    wait_until(lambda: watcher.answers)
    watcher.stop()
    return name


def acknowledge(caller: Caller, subscription: str, cursor: str) -> None:
    caller.events.AcknowledgeEvents(pb.AcknowledgeEventsRequest(subscription=subscription, cursor=cursor))


def kept(caller: Caller, name: str):
    found = caller.events.ListSubscriptions(pb.ListSubscriptionsRequest()).subscriptions
    assert [each.name for each in found] == sorted(each.name for each in found)
    return next((each for each in found if each.name == name), None)


def groups_of(watcher: Watcher, count: int) -> list[str]:
    wait_until(lambda: len(watcher.events) >= count)
    return [dict(event.after)["display_name"] for event in watcher.events]


def test_a_watch_goes_on_after_what_was_acknowledged(office: Office, notifier, watch, subscription):
    for name in "abc":
        office.group(name)
    first = watch(subscription=subscription, kinds=["group.created"])
    assert groups_of(first, 3) == ["a", "b", "c"]
    acknowledge(notifier, subscription, first.cursors[1])
    first.stop()
    office.group("d")
    again = [watch(subscription=subscription, kinds=["group.created"]) for _ in range(2)]
    assert [groups_of(each, 2) for each in again] == [["c", "d"], ["c", "d"]]  # both are told all
    assert kept(notifier, subscription).cursor == first.cursors[1]


def test_a_subscription_moves_forward_only(office: Office, notifier, watch, subscription):
    office.group("a")
    office.group("b")
    watcher = watch(subscription=subscription, kinds=["group.created"])
    groups_of(watcher, 2)
    older, newer = watcher.cursors
    for cursor in (newer, older, newer, ""):
        acknowledge(notifier, subscription, cursor)
        assert kept(notifier, subscription).cursor == newer
    for wrong in (FAR, "!"):
        with refused("INVALID_ARGUMENT") as told:
            acknowledge(notifier, subscription, wrong)
        assert fields_of(told) == ["cursor"]
    with refused("NOT_FOUND"):
        acknowledge(notifier, "nobody", newer)


def test_a_subscription_begins_at_the_beginning_or_where_its_first_watch_says(notifier, office, watch):
    office.group("early")
    whole = watch(subscription="whole", kinds=["group.created"])
    assert groups_of(whole, 1)
    assert kept(notifier, "whole").cursor == ""
    start = cursor_now(notifier)
    later = watch(subscription="later", cursor=start, kinds=["group.created"])
    office.group("late")
    assert groups_of(later, 1) == ["late"]
    for request in (
        {"subscription": "later", "cursor": start},
        {"subscription": "far", "cursor": FAR},
        {"subscription": "Nö"},
        {"subscription": "x" * 65},
        {"subscription": "later", "kinds": ["group"]},
        {"subscription": "later", "tenant": office.name},
    ):
        with refused("INVALID_ARGUMENT"):
            next(iter(notifier.events.WatchEvents(pb.WatchEventsRequest(**request))))
    assert kept(notifier, "far") is None


def test_other_kinds_take_the_place_of_those_that_were_kept(office: Office, notifier, watch, subscription):
    office.user()
    office.group("a")
    watcher = watch(subscription=subscription, kinds=["user.*", "group.created"])
    wait_until(lambda: len(watcher.events) == 2)
    assert watcher.kinds == ["user.created", "group.created"]
    assert list(kept(notifier, subscription).kinds) == ["user.*", "group.created"]


def test_how_far_behind_a_subscription_is_can_be_seen(directory, office: Office, notifier, watch, subscription):
    assert kept(notifier, subscription).behind_seconds == 0
    office.group("a")
    directory.clock.pass_hours(1)
    office.group("b")
    wait_until(lambda: kept(notifier, subscription).behind_seconds == 3600)
    watcher = watch(subscription=subscription, kinds=["group.created"])
    groups_of(watcher, 2)
    acknowledge(notifier, subscription, watcher.cursors[0])
    assert kept(notifier, subscription).behind_seconds == 0
    acknowledge(notifier, subscription, watcher.cursors[1])
    moved = kept(notifier, subscription)
    assert moved.behind_seconds == 0
    assert moved.update_time.ToDatetime(UTC) == directory.clock()
    assert moved.create_time.ToDatetime(UTC) == START


def test_a_deleted_subscription_is_made_anew_by_its_next_watch(office: Office, notifier, watch, subscription):
    request = pb.DeleteSubscriptionRequest(subscription=subscription, request_id=f"once-{subscription[:40]}")
    for _ in range(2):
        notifier.events.DeleteSubscription(request)  # a retry has no second effect
    assert kept(notifier, subscription) is None
    with refused("NOT_FOUND"):
        notifier.events.DeleteSubscription(pb.DeleteSubscriptionRequest(subscription=subscription))
    office.group("a")
    assert groups_of(watch(subscription=subscription, kinds=["group.created"]), 1)
    assert kept(notifier, subscription).cursor == ""


def test_a_subscription_outlives_its_directory(store, support, tmp_path):
    """The server ends in the middle; the next one goes on after what was acknowledged."""
    office = Office(support, seats=100)
    url = store.engine.url.render_as_string(hide_password=False)
    stores = [Store(url), Store(url)]
    first = ServedDirectory(stores[0], tmp_path)
    caller = first.caller(Grant.NOTIFIER)
    watcher = Watcher(caller, subscription="survivor", cursor=cursor_now(caller), kinds=["group.created"])
    for number in range(6):
        office.group(f"g{number}")
    assert groups_of(watcher, 6) == [f"g{number}" for number in range(6)]
    acknowledge(caller, "survivor", watcher.cursors[2])
    first.stop()
    wait_until(lambda: watcher.error)
    office.group("g6")
    second = ServedDirectory(stores[1], tmp_path)
    again = Watcher(second.caller(Grant.NOTIFIER), subscription="survivor", kinds=["group.created"])
    assert groups_of(again, 4) == ["g3", "g4", "g5", "g6"]
    again.stop()
    second.stop()
    for each in stores:  # a watch that ended late may have opened another connection
        each.close()


def test_a_tenants_token_follows_its_own_tenant_and_no_other(directory, support, office: Office, watch):
    other = Office(support)
    own = directory.caller(Grant.TENANT, office.name)
    watcher = watch(own, tenant=office.name, kinds=["group.created"])
    other.group("theirs")
    office.group("ours")
    assert groups_of(watcher, 1) == ["ours"]
    checkpoint = wait_until(lambda: [each for each in watcher.answers if not each.HasField("event")])[0]
    office.group("more")
    assert groups_of(watch(own, tenant=office.name, cursor=checkpoint.cursor), 1) == ["more"]
    for request, reason in (({"tenant": other.name}, "PERMISSION_DENIED"), ({}, "INVALID_ARGUMENT")):
        with refused(reason):
            next(iter(own.events.WatchEvents(pb.WatchEventsRequest(**request))))
    for call in (
        lambda: acknowledge(own, "whole", ""),
        lambda: own.events.ListSubscriptions(pb.ListSubscriptionsRequest()),
        lambda: own.events.DeleteSubscription(pb.DeleteSubscriptionRequest(subscription="whole")),
    ):
        with refused("PERMISSION_DENIED"):
            call()


def test_tenants_who_watch_leave_room_for_services(directory, office: Office, watch):
    own = directory.caller(Grant.TENANT, office.name)
    watchers = [watch(own, tenant=office.name) for _ in range(api.MOST_TENANT_WATCHERS)]
    wait_until(lambda: all(watcher.answers for watcher in watchers))
    fifth = watch(own, tenant=office.name)
    assert failure_of(wait_until(lambda: fifth.error)).reason == "TOO_MANY_WATCHERS"
    service = watch()
    wait_until(lambda: service.answers)
