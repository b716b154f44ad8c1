"""A full disk, or a database that goes away in the middle of a write: try again, and nothing is half written."""

from __future__ import annotations

import uuid
from contextlib import contextmanager

import grpc
import pytest
from muster.directory.v1 import operations_pb2, provisioning_pb2
from muster.runtime.errors import failure_of
from sqlalchemy import create_engine, event, text

from tests.integration.directory.connection import connect, user_facts

A_BIG_DOCUMENT = {"nickName": "x" * 60_000}
"""Dozens of pages, of which a full disk takes the first few."""


@contextmanager
def full_disk(engine):
    """SQLite cannot make its file larger than a few pages more."""

    def cap(connection, _):
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")

    engine.dispose()
    event.listen(engine, "connect", cap)
    try:
        yield
    finally:
        event.remove(engine, "connect", cap)
        engine.dispose()


@contextmanager
def lost_connections(engine):
    """PostgreSQL ends every session that is about to write its events, the last thing of a transaction."""
    ended, outside = [], create_engine(engine.url)

    def end(connection, _cursor, statement, *_):
        if statement.startswith("INSERT INTO events"):
            ended.append(connection.connection.dbapi_connection.info.backend_pid)
            with outside.connect() as other:
                other.execute(text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": ended[-1]})

    event.listen(engine, "before_cursor_execute", end)
    try:
        yield
    finally:
        event.remove(engine, "before_cursor_execute", end)
        outside.dispose()
    assert ended


@pytest.fixture
def broken(store):
    return full_disk if store.is_sqlite else lost_connections


def test_a_write_that_the_database_loses_is_unavailable_leaves_nothing_and_is_done_by_its_repeat(
    directory, office, store, broken
):
    connection = connect(directory, office)
    facts = user_facts("ann@example.org", document=A_BIG_DOCUMENT)
    request = provisioning_pb2.CreateProvisionedUserRequest(facts=facts, request_id=str(uuid.uuid4()))
    events = len(office.events())
    stub = connection.stub
    stub.SearchProvisioned(provisioning_pb2.SearchProvisionedRequest(kinds=[1]))  # the key's last use is written here

    with broken(store.engine), pytest.raises(grpc.RpcError) as caught:
        stub.CreateProvisionedUser(request)

    failure = failure_of(caught.value)
    assert (failure.code, failure.reason) == (grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")
    assert failure.retry_after_s
    assert connection.find("userName", "ann@example.org") == []
    assert (office.seats().seats_used, len(office.events())) == (0, events)

    made = stub.CreateProvisionedUser(request)
    assert stub.CreateProvisionedUser(request) == made
    assert office.seats().seats_used == 1
    check = operations_pb2.CheckIntegrityRequest(tenant=office.name)
    assert list(office.support.operations.CheckIntegrity(check)) == []
