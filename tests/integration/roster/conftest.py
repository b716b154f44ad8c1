"""The SQL engine on both databases, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from services.directory.store.session import Store
from tests.builders import PAYROLL, a_file
from tests.integration.roster.engine import SqlEngine
from tests.reference.values import Plan, Register, StagedRow
from tests.stack.databases import KINDS, Databases


@pytest.fixture(scope="package", params=KINDS)
def engine(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SqlEngine]:
    """The engine on one database that all tests of this folder share; each plan has a tenant of its own."""
    store = Store(databases.make(request.param))
    sql_engine = SqlEngine(store, tmp_path_factory.mktemp("stages"))
    yield sql_engine
    sql_engine.forget()
    store.close()


@pytest.fixture
def plan_of(engine: SqlEngine) -> Callable[..., Plan]:
    """Plan by the engine what the rules in tests/reference/rules speak of."""

    def plan(register: Register, *rows: StagedRow, **how: Any) -> Plan:
        return engine.plan(register, PAYROLL, a_file(*rows), **how)

    return plan


@pytest.fixture
def apply_plan(engine: SqlEngine) -> Callable[[Register, Plan], Register]:
    """Apply the newest plan by the engine."""
    return engine.apply
