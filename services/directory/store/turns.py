"""Take turns at writing to SQLite, and let those who wait for a turn share one commit.

SQLite has one writer at a time, and a commit waits for the disk, mostly longer than all that a call has written took.
So a brief writer that ends while another one waits leaves its commit to that one; the last of them commits for all, and
only then is any of them told that it has written. Each works within a savepoint of its own: what one gives up is given
up alone. A commit that fails fails for all of them, as if each had been refused by the disk.
"""

from __future__ import annotations

import copy
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, cast

from sqlalchemy.engine import Connection, Engine

MOST_TOGETHER: Final = 32
"""How many writers share a commit at most."""

LONGEST_TOGETHER_S: Final = 0.05
"""After how long whoever ends commits, though others wait."""

_LOOKS_EVERY_S: Final = 0.05
"""How often a writer looks whether the one to whom it left its commit has gone away instead."""


class NoTurnError(Exception):
    """There was no turn within the wait."""


class SharedConnection(sqlite3.Connection):
    """The connection of those who commit together: what ends a transaction elsewhere ends a writer's savepoint here."""

    def commit(self) -> None:
        """Keep what the writer has written, until all commit."""
        if self.in_transaction:
            self.execute("RELEASE writer")

    def rollback(self) -> None:
        """Give up what the writer has written, and nothing of the others."""
        if self.in_transaction:
            self.execute("ROLLBACK TO writer")
            self.execute("RELEASE writer")

    def commit_all(self) -> None:
        """Commit what all have written. Errors: sqlite3.Error; then nothing of it is left."""
        try:
            self.execute("COMMIT")
        except sqlite3.Error:
            if self.in_transaction:
                self.execute("ROLLBACK")
            raise


class Turns:
    """Whose turn it is to write. `shared` is an engine of one SharedConnection, which begins with SAVEPOINT writer."""

    def __init__(self, shared: Engine, committed: Callable[[], None]) -> None:
        self._shared = shared
        self._committed = committed
        self._turn = threading.Lock()
        self._counting = threading.Lock()
        self._waiting = 0
        self._open: _Group | None = None  # for whoever has the turn
        self._of_thread = threading.local()

    @contextmanager
    def alone(self, wait_s: float) -> Iterator[None]:
        """Have the turn for a transaction of one's own. Errors: NoTurnError."""
        self._take(wait_s)
        try:
            self._end()  # who has written before does not wait for this one
            yield
        finally:
            self._turn.release()

    @contextmanager
    def together(self, wait_s: float) -> Iterator[Connection]:
        """Have the turn on the shared connection; once the block is left, all is committed that it has written.

        Errors: NoTurnError, and those of beginning and committing.
        """
        self._take(wait_s)
        group: _Group | None = None
        try:
            with self._shared.connect() as connection:
                kept = cast("SharedConnection", connection.connection.dbapi_connection)
                group = self._join(kept, wait_s)
                try:
                    yield connection
                finally:
                    connection.rollback()  # of a block that has not committed
                    if not kept.in_transaction:  # SQLite itself has given all up, as it does when the disk is full
                        group.error = group.error or sqlite3.OperationalError("the transaction was lost")
        finally:
            later: list[_Group] | None = getattr(self._of_thread, "kept", None)
            is_left = self._waiting or later is not None
            if group is not None and (not is_left or group.is_full or group.error is not None):
                self._end()
            self._turn.release()
            if group is not None and later is None:
                self._await(group)
            elif group is not None and later is not None and group not in later:
                later.append(group)

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Let what this thread writes in the block be committed at its end, or before, if others commit it with theirs.

        Errors: those of committing.
        """
        groups: list[_Group] = []
        self._of_thread.kept = groups
        try:
            yield
        finally:
            self._of_thread.kept = None
            for group in groups:
                self._see_ended(group)
        for error in filter(None, (group.error for group in groups)):
            raise copy.copy(error)

    def _take(self, wait_s: float) -> None:
        with self._counting:
            self._waiting += 1
        try:
            if not self._turn.acquire(timeout=wait_s):
                raise NoTurnError
        finally:
            with self._counting:
                self._waiting -= 1

    def _join(self, connection: SharedConnection, wait_s: float) -> _Group:
        if self._open is None:
            connection.execute(f"PRAGMA busy_timeout = {int(wait_s * 1000)}")
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                    raise NoTurnError from error
                raise
            self._open = _Group(connection)
        self._open.members += 1
        return self._open

    def _end(self) -> None:
        """Commit for all who have left their commits to whoever has the turn, and tell them."""
        group, self._open = self._open, None
        if group is None:
            return
        if group.error is None:
            try:
                group.connection.commit_all()
            except sqlite3.Error as error:
                group.error = error
        group.ended.set()
        if group.error is None:
            self._committed()

    def _await(self, group: _Group) -> None:
        """Wait until all is committed. Errors: those of committing."""
        if not group.ended.wait(_LOOKS_EVERY_S):
            self._see_ended(group)
        if group.error is not None:
            raise copy.copy(group.error)

    def _see_ended(self, group: _Group) -> None:
        """Wait until all is committed; by oneself, when nobody came to whom that was left."""
        while not group.ended.is_set():
            if self._turn.acquire(blocking=False):
                try:
                    if self._open is group:
                        self._end()
                finally:
                    self._turn.release()
            group.ended.wait(_LOOKS_EVERY_S)


class _Group:
    """Writers who commit together."""

    def __init__(self, connection: SharedConnection) -> None:
        self.connection = connection
        self.ended = threading.Event()
        self.error: sqlite3.Error | None = None
        self.members = 0
        self._until = time.monotonic() + LONGEST_TOGETHER_S

    @property
    def is_full(self) -> bool:
        """Whether whoever ends now commits."""
        return self.members >= MOST_TOGETHER or time.monotonic() >= self._until
