"""What the store throws, as a caller is told of it."""

from __future__ import annotations

import sqlite3

import psycopg
import pytest
from muster.runtime.errors import RpcError
from psycopg import errors as postgres
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.directory.api.translate import translate
from services.directory.store.session import TenantLockedError


def told_of(error) -> RpcError:
    told = translate(error)
    assert told is not None
    return told


def sqlite_error(code, kind=sqlite3.OperationalError):
    error = kind("what it said")
    error.sqlite_errorcode = code
    return error


def wrapped(original, kind=OperationalError, **how):
    return kind("SELECT 1", {}, original, **how)


def test_a_locked_tenant_is_busy_for_two_seconds():
    told = told_of(TenantLockedError())
    assert (told.reason, told.retry_after_s) == ("TENANT_BUSY", 2.0)


@pytest.mark.parametrize(
    "error",
    [
        wrapped(sqlite_error(sqlite3.SQLITE_FULL)),
        wrapped(sqlite_error(sqlite3.SQLITE_BUSY_SNAPSHOT)),
        wrapped(sqlite_error(sqlite3.SQLITE_IOERR_WRITE)),
        sqlite_error(sqlite3.SQLITE_FULL),
        wrapped(postgres.DiskFull("no room")),
        wrapped(postgres.AdminShutdown("going")),
        wrapped(postgres.DeadlockDetected("again")),
        wrapped(psycopg.OperationalError("connection refused")),
        wrapped(psycopg.InterfaceError("closed"), InterfaceError, connection_invalidated=True),
        PoolTimeoutError(),
    ],
)
def test_a_database_that_cannot_answer_now_is_unavailable_and_may_be_asked_again(error):
    told = told_of(error)
    assert told.reason == "STORE_UNAVAILABLE"
    assert told.retry_after_s
    assert "what it said" not in told.message


@pytest.mark.parametrize(
    "error",
    [
        wrapped(sqlite_error(sqlite3.SQLITE_ERROR)),
        wrapped(postgres.UndefinedTable("users"), ProgrammingError),
        wrapped(postgres.NotNullViolation("x"), DBAPIError),
        ValueError("ours"),
    ],
)
def test_a_fault_of_ours_stays_one(error):
    assert translate(error) is None
