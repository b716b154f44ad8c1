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

from services.notifier.database import SCHEMA, open_engine
from services.notifier.messages import Draft, MessageKind, MessageState, MessageStore, Table

NOW = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)
TENANT = "tenants/ten_000017"
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
    values = {"recipient": recipient, "kind": MessageKind.REPORT, "message_id": "<1@x>", "subject": "Ämne"}
    return Draft(**(values | changes))


def _queue(store, *drafts, event="evt_1", cursor="1", tenant=TENANT, now=NOW):
    return store.queue(drafts, tenant=tenant, event=event, about="run", cursor=cursor, now=now)


def test_the_migrations_make_the_tables_the_code_speaks_of(url, store):
    engine = open_engine(url)
    with engine.connect() as connection:
        differences = compare_metadata(MigrationContext.configure(connection), Table.metadata)
        schemas = sa.inspect(connection).get_schema_names()
        tables = sa.inspect(connection).get_table_names(schema=SCHEMA if SCHEMA in schemas else None)
    engine.dispose()
    assert differences == []
    assert set(tables) == {"alembic_version", "cursor", "message"}


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


def test_messages_and_cursor_are_stored_together_or_not_at_all(store):
    with pytest.raises(sa.exc.DBAPIError):
        _queue(store, _draft(), _draft("b@x.example", subject=None), cursor="7")
    assert store.cursor() == ""
    assert store.page(TENANT, before=None, limit=10) == []
    assert _queue(store, _draft(), _draft("b@x.example"), cursor="7") == 2
    assert store.cursor() == "7"


def test_an_event_that_is_replayed_queues_nothing_twice(store):
    assert _queue(store, _draft()) == 1
    assert _queue(store, _draft(subject="again")) == 0
    assert _queue(store, _draft(), event="evt_2") == 1
    assert [message.subject for message in store.page(TENANT, before=None, limit=10)] == ["Ämne", "Ämne"]


def test_an_event_without_messages_moves_the_cursor(store):
    assert _queue(store, cursor="3") == 0
    store.advance("4")
    assert store.cursor() == "4"


def test_a_draft_with_an_error_is_kept_as_failed_and_never_due(store):
    _queue(store, _draft(error="no way"))
    (message,) = store.page(TENANT, before=None, limit=10)
    assert (message.state, message.last_error) == (MessageState.FAILED, "no way")
    assert store.due(NOW) == []
    assert store.next_due() is None


def test_messages_come_due_in_turn(store):
    _queue(store, _draft(), event="evt_1")
    _queue(store, _draft(), event="evt_2", now=NOW - timedelta(hours=1))
    first, second = store.due(NOW)
    assert second < first
    store.postpone(first, "later", until=NOW + timedelta(minutes=5))
    assert store.due(NOW) == [second]
    store.mark_sent(second, now=NOW)
    assert store.due(NOW) == []
    assert store.next_due() == NOW + timedelta(minutes=5)


def test_everything_queued_waits_while_the_server_is_away(store):
    _queue(store, _draft(), event="evt_1")
    _queue(store, _draft(), event="evt_2")
    (late, _) = store.due(NOW)
    store.postpone(late, "x", until=NOW + timedelta(hours=2))
    store.postpone_all(until=NOW + timedelta(minutes=1))
    assert len(store.due(NOW + timedelta(minutes=1))) == 1
    assert len(store.due(NOW + timedelta(hours=2))) == 2


def test_an_attempt_is_counted_before_it_is_made(store):
    _queue(store, _draft(text="Hej", attachment=b"\xef\xbb\xbf1"))
    (key,) = store.due(NOW)
    store.begin_attempt(key)
    message = store.begin_attempt(key)
    assert (message.attempts, message.text, message.attachment) == (2, "Hej", b"\xef\xbb\xbf1")
    assert message.create_time == NOW
    store.mark_sent(key, now=NOW + timedelta(seconds=1))
    sent = store.get(TENANT, key)
    assert (sent.state, sent.send_time, sent.last_error) == (MessageState.SENT, NOW + timedelta(seconds=1), "")


def test_a_tenant_sees_its_own_messages_only(store):
    _queue(store, _draft())
    _queue(store, _draft(), tenant="tenants/ten_other", event="evt_9")
    (own,) = store.page(TENANT, before=None, limit=10)
    (other,) = store.page("tenants/ten_other", before=None, limit=10)
    assert store.get(TENANT, other.key) is None
    assert store.get(TENANT, own.key).key == own.key
