"""The gateway over a directory, on one database or both: a module says which in DATABASES."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from services.directory.rules.grants import Grant
from services.directory.store.session import Store
from tests.contract.serving import Provider, ServedGateway
from tests.integration.directory.serving import Caller, Office, ServedDirectory
from tests.stack.databases import KINDS, Databases


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a module's tests on each database that it names, else on both."""
    if "store" in metafunc.fixturenames:
        kinds = getattr(metafunc.module, "DATABASES", KINDS)
        metafunc.parametrize("store", kinds, indirect=True, scope="module")


@pytest.fixture(scope="module")
def store(request: pytest.FixtureRequest, databases: Databases) -> Iterator[Store]:
    """A fresh migrated database; the tests of a module share it, each with its own tenant."""
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


@pytest.fixture(scope="module")
def support(directory: ServedDirectory) -> Caller:
    """Vendor support."""
    return directory.caller(Grant.SUPPORT)


@pytest.fixture(scope="module")
def gateway(directory: ServedDirectory) -> Iterator[ServedGateway]:
    """The gateway, serving from this process."""
    served = ServedGateway(directory.target)
    yield served
    served.stop()


@pytest.fixture
def a_provider(gateway: ServedGateway, support: Caller) -> Callable[..., Provider]:
    """Make a tenant with so many seats and an identity provider connected to it."""
    return lambda seats=100: Provider(gateway, Office(support, seats=seats))


@pytest.fixture
def provider(a_provider: Callable[..., Provider]) -> Provider:
    """An identity provider of a new tenant with 100 seats."""
    return a_provider()
