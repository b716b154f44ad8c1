"""What end-to-end tests share beyond the system itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.stack.customer import Customer
from tests.stack.system import System


@pytest.fixture
def customer_on_sqlite(shared_systems: Callable[[str], System]) -> Customer:
    """A new tenant on the embedded database, for what no database makes a difference to."""
    return Customer(shared_systems("sqlite"))
