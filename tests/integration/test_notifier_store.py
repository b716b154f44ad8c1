"""The notifier's store keeps messages and cursor together, on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from services.notifier.database import SCHEMA, downgrade, open_engine
from services.notifier.marks import STRANGER, named, unmarked
from services.notifier.messages import (
    Bundle,
    CursorMovedError,
    Draft,
    MessageKind,
    MessageState,
    MessageStore,
    Priority,
)
from services.notifier.tables import Table

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
TENANT = "tenants/ten_000017"
LEASE = timedelta(minutes=5)
_numbers = itertools.count(1)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/notifier.db"
        return
    postgres = request.getfixturevalue("stack").postgres()
    name = f"notifier_{os.getpid()}_{next(_numbers)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture
def store(url):
    made = MessageStore(url)
    made.migrate()
    yield made
    made.close()


def _draft(recipient="a@x.example", **changes):
    values = {
        "recipient": recipient,
        "kind": MessageKind.REPORT,
        "message_id": f"<{recipient or 'nobody'}>",
        "subject": "Ämne",
        "text": "Hej",
        "html": "<p>Hej</p>",
    }
    return Draft(**(values | changes))


def _queue(store, *drafts, event="evt_1", tenant=TENANT, now=NOW, **changes):
    return store.queue([Bundle(tenant, event, "run", drafts)], now=now, **changes)


def _all(store):
    return store.page(TENANT, before=None, limit=100)[::-1]


def _claim(store, now=NOW):
    return next(iter(store.take_turns((), wanted=1, now=now, lease=LEASE)), None)


def test_the_migrations_make_the_tables_the_code_speaks_of(url, store):
    engine = open_engine(url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
        schemas = sa.inspect(connection).get_schema_names()
        tables = sa.inspect(connection).get_table_names(schema=SCHEMA if SCHEMA in schemas else None)
    engine.dispose()
    assert differences == []
    assert set(tables) == {"alembic_version", "cursor", "mention", "message"}


def test_on_postgresql_the_tables_have_a_schema_of_their_own(stack):
    name = f"notifier_{os.getpid()}_{next(_numbers)}"
    url = stack.postgres().create_database(name)
    store = MessageStore(url)
    store.migrate()
    store.close()
    engine = sa.create_engine(url)
    assert sa.inspect(engine).get_table_names(schema="public") == []
    engine.dispose()
    stack.postgres().drop_database(name)


def test_two_replicas_may_migrate_at_once_and_again(url):
    stores = [MessageStore(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda store: store.migrate(), stores))
    stores[0].migrate()
    assert stores[0].cursor() == ""
    for store in stores:
        store.close()


def test_a_store_of_the_first_version_keeps_its_messages_up_and_down(url):
    store = MessageStore(url)
    store.migrate()
    _queue(store, _draft("a@x.example", text=named("Ada", USER), mentions=(USER,)), _draft("b@x.example"))
    engine = open_engine(url)
    downgrade(engine, "0001")
    with engine.connect() as connection:
        assert connection.scalars(sa.text("SELECT recipient FROM message ORDER BY key")).all() == [
            "a@x.example",
            "b@x.example",
        ]
    engine.dispose()
    store.migrate()
    assert [message.recipient for message in _all(store)] == ["a@x.example", "b@x.example"]
    first = _claim(store)
    assert (first.recipient, first.text) == ("a@x.example", "Ada"), "the older version would have shown the mark"
    store.close()


def test_messages_and_cursor_are_stored_together_or_not_at_all(store):
    with pytest.raises(sa.exc.DBAPIError):
        _queue(store, _draft(), _draft("b@x.example", subject=None), cursor="7")
    assert store.cursor() == ""
    assert _all(store) == []
    assert _queue(store, _draft(), _draft("b@x.example"), cursor="7") == 2
    assert store.cursor() == "7"


def test_of_two_replicas_with_the_same_events_one_stores_them_and_the_other_hears_of_it(store):
    assert _queue(store, _draft(), cursor="7") == 1
    with pytest.raises(CursorMovedError):
        _queue(store, _draft("other@x.example"), event="evt_2", cursor="9")  # it, too, began at the beginning
    assert store.cursor() == "7"
    assert len(_all(store)) == 1
    assert _queue(store, _draft("other@x.example"), event="evt_2", after="7", cursor="9") == 1


def test_an_event_that_is_replayed_queues_nothing_twice(store):
    assert _queue(store, _draft()) == 1
    assert _queue(store, _draft(subject="again")) == 0
    assert _queue(store, _draft(), event="evt_2") == 1
    assert [message.subject for message in _all(store)] == ["Ämne", "Ämne"]


def test_an_event_without_messages_moves_the_cursor(store):
    assert store.queue([], now=NOW, after="", cursor="3") == 0
    assert store.cursor() == "3"


def test_a_draft_with_an_error_is_kept_as_failed_and_never_due(store):
    _queue(store, _draft(error="no way"))
    (message,) = _all(store)
    assert (message.state, message.last_error) == (MessageState.FAILED, "no way")
    assert _claim(store) is None
    assert store.next_due() is None


def test_messages_come_due_by_priority_and_then_in_turn(store):
    _queue(store, _draft("p1@x.example", priority=Priority.INVITATION), event="evt_1", now=NOW - timedelta(days=1))
    _queue(store, _draft("r1@x.example"), event="evt_2")
    _queue(store, _draft("r2@x.example"), event="evt_3", now=NOW - timedelta(hours=1))
    _queue(store, _draft("reset@x.example", priority=Priority.AWAITED), event="evt_4")
    turns = [_claim(store).recipient for _ in range(4)]
    assert turns == ["reset@x.example", "r2@x.example", "r1@x.example", "p1@x.example"]
    assert _claim(store) is None


def test_what_one_has_claimed_no_other_gets_until_the_claim_runs_out(store):
    _queue(store, _draft(attachment=b"\xef\xbb\xbf1"))
    first = _claim(store)
    assert (first.attempts, first.possible_repeats, first.text, first.attachment) == (1, 0, "Hej", b"\xef\xbb\xbf1")
    assert _claim(store, NOW + LEASE - timedelta(seconds=1)) is None
    second = _claim(store, NOW + LEASE)
    assert (second.attempts, second.possible_repeats) == (2, 1)
    store.mark_failed(first, "late")  # by who had it first: its word no longer counts
    assert [message.state for message in _all(store)] == [MessageState.QUEUED]
    store.mark_sent(first.key, now=NOW + LEASE)  # but that it was sent is so
    (message,) = _all(store)
    assert (message.state, message.send_time, message.last_error) == (MessageState.SENT, NOW + LEASE, "")


def test_a_message_that_is_put_off_is_free_again_at_its_time_and_doubts_are_counted(store):
    _queue(store, _draft())
    later = NOW + timedelta(minutes=5)
    store.postpone(_claim(store), "later", until=later, in_doubt=True)
    assert _claim(store, later - timedelta(seconds=1)) is None
    assert store.next_due() == later
    again = _claim(store, later)
    assert (again.attempts, again.possible_repeats, again.last_error) == (2, 1, "later")


def test_eight_replicas_share_the_work_and_none_gets_what_another_has(url, store):
    for number in range(60):
        _queue(store, _draft(f"p{number}@x.example"), event=f"evt_{number}")
    replicas = [MessageStore(url) for _ in range(8)]

    def work(replica):
        return list(iter(lambda: getattr(_claim(replica), "recipient", None), None))

    with ThreadPoolExecutor(8) as threads:
        shares = list(threads.map(work, replicas))
    for replica in replicas:
        replica.close()
    assert sorted(itertools.chain(*shares)) == sorted(f"p{number}@x.example" for number in range(60))


def test_a_message_is_sent_again_when_somebody_asks_for_it(store):
    _queue(store, _draft())
    key = _all(store)[0].key
    claimed = _claim(store)
    assert store.queue_again(TENANT, key, now=NOW).next_attempt_at == NOW + LEASE  # it is on its way
    store.postpone(claimed, "later", until=NOW + timedelta(hours=1))
    assert store.queue_again(TENANT, key, now=NOW).next_attempt_at == NOW
    store.mark_sent(_claim(store).key, now=NOW)
    assert store.queue_again("tenants/ten_other", key, now=NOW) is None
    again = store.queue_again(TENANT, key, now=NOW + timedelta(days=9))
    assert (again.state, again.queue_time) == (MessageState.QUEUED, NOW + timedelta(days=9))
    assert _claim(store, NOW + timedelta(days=9)).message_id == "<a@x.example>"


USER, OTHER = f"{TENANT}/users/usr_1", f"{TENANT}/users/usr_2"


def _state(store):
    return {
        (message.subject, message.recipient, message.state, store.get(TENANT, message.key).text)
        for message in _all(store)
    }


def test_who_is_erased_is_gone_from_the_messages_whose_rows_stay(store):
    invitation = {"kind": MessageKind.INVITATION, "priority": Priority.INVITATION}
    _queue(store, _draft("ada@x.example", mentions=(USER,), **invitation), event="evt_1")
    store.mark_sent(_claim(store).key, now=NOW)
    _queue(store, _draft("ada@x.example", mentions=(USER,), **invitation), event="evt_2")
    _queue(store, _draft("bo@x.example", mentions=(OTHER,), **invitation), event="evt_3")
    store.queue([Bundle(TENANT, "evt_6", USER, erased_user=USER)], now=NOW)
    assert _state(store) == {
        ("", "", MessageState.SENT, ""),
        ("", "", MessageState.OBSOLETE, ""),
        ("Ämne", "bo@x.example", MessageState.QUEUED, "Hej"),
    }


def _a_report(subject, *, sent, store):
    names = f"{named('Ada', USER)}, {named('Bo', OTHER)}, {named('EMP-17')}"
    mentions = (USER, OTHER, STRANGER)
    values = {"subject": subject, "text": names, "html": f"<p>{names}</p>", "mentions": mentions}
    _queue(store, _draft("hr@x.example", attachment_name="rows.csv", attachment=b"Ada", **values), event=subject)
    if sent:
        store.mark_sent(_claim(store).key, now=NOW)


@pytest.mark.parametrize("sent", [False, True])
def test_a_report_that_waits_is_sent_without_the_person_who_was_erased(store, sent):
    _a_report("report", sent=sent, store=store)
    store.queue([Bundle(TENANT, "evt_7", USER, erased_user=USER)], now=NOW)
    (message,) = [store.get(TENANT, message.key) for message in _all(store)]
    assert unmarked(message.text) == "…, Bo, …", "a stranger may be the person"
    assert unmarked(message.html) == "<p>…, Bo, …</p>"
    assert (message.attachment_name, message.attachment) == ("", b"")
    assert message.state == (MessageState.SENT if sent else MessageState.QUEUED)
    store.queue([Bundle(TENANT, "evt_8", OTHER, erased_user=OTHER)], now=NOW)
    assert unmarked(store.get(TENANT, message.key).text) == "…, …, …"


@pytest.mark.parametrize("sent", [False, True])
def test_a_report_of_an_older_version_that_names_the_person_is_not_kept_and_not_sent(store, sent):
    _queue(store, _draft("hr@x.example", mentions=(USER,), subject="old"))
    if sent:
        store.mark_sent(_claim(store).key, now=NOW)
    store.queue([Bundle(TENANT, "evt_7", USER, erased_user=USER)], now=NOW)
    state = MessageState.SENT if sent else MessageState.OBSOLETE
    assert _state(store) == {("old", "hr@x.example", state, "")}


def test_an_erasure_of_another_tenants_person_touches_nobody(store):
    _queue(store, _draft("ada@x.example", mentions=(USER,), kind=MessageKind.INVITATION))
    store.queue([Bundle("tenants/ten_other", "evt_6", USER, erased_user=USER)], now=NOW)
    assert [message.recipient for message in _all(store)] == ["ada@x.example"]


def test_old_texts_are_forgotten_and_rows_and_waiting_messages_stay(store):
    _queue(store, _draft("old@x.example"), event="evt_1", now=NOW - timedelta(days=91))
    store.mark_sent(_claim(store).key, now=NOW)
    _queue(store, _draft("waits@x.example"), event="evt_2", now=NOW - timedelta(days=91))
    _queue(store, _draft("new@x.example", error="no"), event="evt_3")
    assert store.forget_bodies(before=NOW - timedelta(days=90)) == 1
    assert store.forget_bodies(before=NOW - timedelta(days=90)) == 0
    texts = {message.recipient: store.get(TENANT, message.key).text for message in _all(store)}
    assert texts == {"old@x.example": "", "waits@x.example": "Hej", "new@x.example": "Hej"}
    assert store.queue_again(TENANT, _all(store)[0].key, now=NOW) is None  # there is nothing left to send


def test_a_tenant_sees_its_own_messages_only(store):
    _queue(store, _draft())
    _queue(store, _draft(), tenant="tenants/ten_other", event="evt_9")
    (own,) = _all(store)
    (other,) = store.page("tenants/ten_other", before=None, limit=10)
    assert store.get(TENANT, other.key) is None
    assert store.get(TENANT, own.key).key == own.key
