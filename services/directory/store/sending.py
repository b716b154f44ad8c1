"""Send PostgreSQL what need not be waited for: it goes to work at once, and answers with whatever is waited for next.

A write of a few rows takes PostgreSQL about as long as the way there and back. What is sent without waiting is on its
way while the next one is made ready; what it fails with is raised by the next statement that is waited for, or by the
commit. What it gives can be read from then on.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import psycopg


class SendingConnection(psycopg.Connection[Any]):
    """A connection that can send. Whatever is asked of it in the usual way waits for what has been sent before."""

    _under_way: ExitStack | None = None

    @property
    def is_sending(self) -> bool:
        """Whether something has been sent that has not been waited for."""
        return self._under_way is not None

    def send(self, text: str, values: Any = None) -> psycopg.Cursor[Any]:
        """Send a statement within the transaction, and do not wait for it; its cursor has rows when all is settled."""
        if self._under_way is None:
            self._under_way = ExitStack()
            self._under_way.enter_context(self.pipeline())
        return super().cursor().execute(text, values)

    def ask(self, text: str, values: Any = None) -> psycopg.Cursor[Any]:
        """Execute a statement behind what has been sent, and wait for all of it at once. Errors: of any of them."""
        cursor = super().cursor()
        with self._settling():
            cursor.execute(text, values)
        return cursor

    def settle(self) -> None:
        """Wait for what has been sent. Errors: of any of it."""
        under_way, self._under_way = self._under_way, None
        if under_way is not None:
            under_way.close()

    def cursor(self, *arguments: Any, **options: Any) -> Any:
        """Open a cursor, for one that waits."""
        self.settle()
        return super().cursor(*arguments, **options)

    def commit(self) -> None:
        """Commit, with what has been sent. Errors: of any of it; nothing is under way then, as after any COMMIT."""
        try:
            with self._settling():
                super().commit()
        except psycopg.Error:
            with suppress(psycopg.Error):
                super().rollback()
            raise

    def rollback(self) -> None:
        """Give up, also what has been sent."""
        with suppress(psycopg.Error):
            self.settle()
        super().rollback()

    @contextmanager
    def _settling(self) -> Iterator[None]:
        """Wait for what has been sent when the block is left. Errors: the first one, which has caused all others."""
        try:
            yield
        except psycopg.Error:
            with suppress(psycopg.Error):
                self.settle()
            raise
        self.settle()
