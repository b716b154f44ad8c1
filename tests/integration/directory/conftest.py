"""A directory that serves gRPC on both databases, and who calls it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select

from services.directory.rules.grants import Grant
from services.directory.store.event_kinds import EVENT_KINDS
from services.directory.store.session import Store
from services.directory.store.tables import Event
from tests.integration.directory.nights import Clock, Night
from tests.integration.directory.serving import Caller, Office, ServedDirectory
from tests.stack.databases import KINDS, Databases


@pytest.fixture(scope="module", params=KINDS)
def store(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Store]:
    """A fresh migrated database on each engine; the tests of a module share it, each with its own tenant."""
    url = databases.make(request.param)
    opened = Store(url)
    yield opened
    opened.close()
    databases.drop(url)


@pytest.fixture(scope="module")
def directory(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedDirectory]:
    """The directory, serving from this process."""
    served = ServedDirectory(store, tmp_path_factory.mktemp("stages"))
    yield served
    served.stop()
    with store.read(None) as session:
        written = set(session.exec(select(Event.kind).distinct()))
    assert {kind for kind in written - EVENT_KINDS.keys() if not kind.startswith(("late.", "example"))} == set()


@pytest.fixture(scope="module")
def support(directory: ServedDirectory) -> Caller:
    """Vendor support."""
    return directory.caller(Grant.SUPPORT)


@pytest.fixture
def office(support: Caller) -> Office:
    """A new tenant with ten seats."""
    return Office(support)


@pytest.fixture
def clock() -> Clock:
    """A time that stands still."""
    return Clock()


@pytest.fixture
def night(store: Store, tmp_path: Path, clock: Clock) -> Night:
    """A tenant's nights without a server in between."""
    return Night(store, tmp_path, clock)
