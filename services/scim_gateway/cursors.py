"""Cursors of RFC 9865 made of the directory's page tokens, tied to the query that they were issued for."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from scim2_models import InvalidCountException, InvalidCursorException


class DirectoryCursors:
    """Writes and reads cursors in the manner of scim2-server's, without its secret.

    A page token shows nothing but where a page begins, is checked by the directory, and opens nothing without the
    caller's key; so sealing it once more would guard nothing.
    """

    def seal(self, query: str, count: int | None, position: Any) -> str:
        """Write the cursor of a page token."""
        content = orjson.dumps([query, count, position])
        return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

    def open(self, cursor: str, query: str, count: int | None, timeout: int | None) -> str:  # noqa: ARG002 - as there
        """Read the page token; InvalidCursorException for another query's, InvalidCountException for another size's."""
        try:
            content = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        except ValueError:
            raise InvalidCursorException from None
        if not isinstance(content, list) or len(content) != 3:
            raise InvalidCursorException
        of_query, of_count, token = content
        if of_query != query or not isinstance(token, str) or not token:
            raise InvalidCursorException
        if of_count != count:
            raise InvalidCountException
        return token
