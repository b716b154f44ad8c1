"""Turn what the store throws into what a caller is told."""

from __future__ import annotations

import sqlite3
from typing import Final

import structlog
from muster.runtime.errors import RpcError
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from services.directory.rules.errors import StoreUnavailable, TenantBusy
from services.directory.store.session import TenantLockedError

log = structlog.get_logger()

_SQLITE_CODES: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
    }
)
_SQLSTATE_CLASSES: Final = frozenset({"08", "40", "53", "55", "57", "58"})
"""Connection lost, rolled back by the server, out of room, lock not free, shutting down, system error."""


def translate(error: Exception) -> RpcError | None:
    """Say what to tell for an exception of the store's; None for one that is a fault of ours."""
    if isinstance(error, TenantLockedError):
        return TenantBusy()
    if isinstance(error, PoolTimeoutError) or _is_unavailable(error):
        log.warning("store.unavailable", error=type(error).__name__, code=_code(error))
        return StoreUnavailable()
    return None


def _is_unavailable(error: Exception) -> bool:
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    cause = error.orig if isinstance(error, DBAPIError) else error
    if isinstance(cause, sqlite3.OperationalError):
        return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _SQLITE_CODES
    if not isinstance(error, DBAPIError):
        return False
    sqlstate = getattr(cause, "sqlstate", None)
    if sqlstate is None:  # psycopg could not even connect
        return isinstance(error, OperationalError)
    return str(sqlstate)[:2] in _SQLSTATE_CLASSES


def _code(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", ""))
