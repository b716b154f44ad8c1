"""Send an answer over ASGI: in one piece with its length, or piece by piece as it comes."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from scim2_server.responses import ScimResponse
from starlette.types import Send

from services.scim_gateway.streams import Streamed, encoded

LONGEST_PIECE_S: Final = 20.0
"""How long one piece of an answer may take to be read, before nobody is thought to be there."""
_WITHOUT_LENGTH: Final = frozenset({204, 304})


async def send_answer(send: Send, response: ScimResponse, request_id: str) -> None:
    """Send an answer that is here as a whole."""
    body: Any = response.body
    content = b"" if body is None else body if isinstance(body, bytes) else encoded(body)
    headers = _headers(response, request_id)
    if int(response.status) not in _WITHOUT_LENGTH:
        headers.append((b"content-length", str(len(content)).encode()))
    await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
    await send({"type": "http.response.body", "body": content})


async def send_pieces(send: Send, response: ScimResponse, request_id: str, *, is_head: bool) -> None:
    """Send an answer that comes with time; of one to HEAD no more than its beginning is asked for.

    Errors: the directory's, and TimeoutError of who does not read. The answer's end has not been sent then, so that the
    server closes the connection.
    """
    answer: Any = response.body
    assert isinstance(answer, Streamed)
    headers = _headers(response, request_id)
    await send({"type": "http.response.start", "status": int(response.status), "headers": headers})
    if is_head:
        await answer.leave()
    else:
        async for piece in answer.pieces():
            async with asyncio.timeout(LONGEST_PIECE_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _headers(response: ScimResponse, request_id: str) -> list[tuple[bytes, bytes]]:
    named = {**response.headers, "Cache-Control": "no-store", "X-Request-Id": request_id}
    if response.body is None:
        named.pop("Content-Type", None)
    return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in named.items()]
