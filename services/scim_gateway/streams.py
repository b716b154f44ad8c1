"""Write groups with their members piece by piece, so that no group is ever in memory as a whole.

Members come a chunk at a time, each with a call of its own: nobody who reads slowly keeps anything in the directory
waiting. What is short is answered as one piece. The status is sent when the first chunk of members is there; when a
later one cannot be had, the connection is broken off, since half a group must not look like a whole one.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

import orjson
from muster.directory.v1 import provisioning_pb2 as pb
from scim2_models import ResponseParameters

from services.scim_gateway.answers import Json, Members, group_json, members_json, shown_of_members, user_json
from services.scim_gateway.schemas import provider
from services.scim_gateway.storage import DirectoryStorage

AT_ONCE: Final = 8
"""Groups of a list whose first members are asked for at one time."""
MOST_KEPT_BYTES: Final = 1024 * 1024
"""What is no longer than that is answered as one piece, with its length."""
_A_PIECE: Final = 1_000
"""Members that are written at one time: others have their turn in between."""

Pieces = AsyncGenerator[bytes, None]


class Streamed:
    """An answer of which the beginning is here, and of which the rest comes with time."""

    def __init__(self, beginning: bytes, rest: Pieces) -> None:
        self._beginning = beginning
        self._rest = rest

    async def pieces(self) -> AsyncIterator[bytes]:
        """Give it piece by piece. Errors: those of the directory."""
        async with aclosing(self._rest):
            yield self._beginning
            async for piece in self._rest:
                yield piece

    async def leave(self) -> None:
        """Ask for no more of it."""
        await self._rest.aclose()


async def begun(storage: DirectoryStorage, pieces: Pieces) -> bytes | Streamed:
    """Read as much of an answer as shows that it can be given, or all of it where it is short."""
    kept = bytearray()
    async for piece in pieces:
        kept += piece
        if len(kept) > MOST_KEPT_BYTES:
            storage.answer_has_begun()
            return Streamed(bytes(kept), pieces)
    return bytes(kept)


async def group_pieces(
    storage: DirectoryStorage,
    head: pb.ProvisionedGroup,
    first: Members,
    base_url: str,
    parameters: ResponseParameters[Any],
) -> Pieces:
    """Write a group of which the head and the first chunk of members have been read."""
    with provider():
        body, shown = encoded(group_json(head, (), base_url, parameters)), shown_of_members(parameters)
    lead = body[:-1] + (b"," if len(body) > 2 else b"") + b'"members":['
    has_any = False
    if not shown:  # no part of a member is asked for
        yield body
        return
    async with aclosing(storage.chunks_of_members(head.id, first)) as chunks:
        async for chunk in chunks:
            for start in range(0, len(chunk), _A_PIECE):
                entries = members_json(chunk[start : start + _A_PIECE], base_url, shown)
                if entries:
                    yield (b"," if has_any else lead) + orjson.dumps(entries)[1:-1]
                    has_any = True
    yield b"]}" if has_any else body


async def list_pieces(
    storage: DirectoryStorage,
    about: Json,
    resources: Sequence[pb.Provisioned],
    base_url: str,
    parameters: ResponseParameters[Any],
) -> Pieces:
    """Write a page of what was found, groups with members; `about` is what is said of the page itself."""
    yield encoded(about)[:-1] + b',"Resources":['
    between = b""
    async with aclosing(_with_first_members(storage, resources)) as found:
        async for each, first in found:
            if each.HasField("user"):
                with provider():
                    user = encoded(user_json(each.user, base_url, parameters))
                yield between + user
            else:
                async with aclosing(group_pieces(storage, each.group, first, base_url, parameters)) as pieces:
                    async for piece in pieces:
                        yield between + piece
                        between = b""
            between = b","
    yield b"]}"


def encoded(body: Json) -> bytes:
    """Write JSON."""
    try:
        return orjson.dumps(body)
    except TypeError:  # an error quotes half a character, or a number of more than 64 bits
        return json.dumps(body).encode()


async def _with_first_members(
    storage: DirectoryStorage, resources: Sequence[pb.Provisioned]
) -> AsyncGenerator[tuple[pb.Provisioned, Members], None]:
    """Give each with its first members, which are asked for while those before it are written."""
    waiting: deque[tuple[pb.Provisioned, asyncio.Task[Members] | None]] = deque()
    left = iter(resources)
    try:
        while True:
            while len(waiting) < AT_ONCE and (each := next(left, None)) is not None:
                ask = storage.first_members(each.group.id) if each.HasField("group") else None
                waiting.append((each, asyncio.ensure_future(ask) if ask else None))
            if not waiting:
                return
            found, first = waiting.popleft()
            yield found, await first if first else ()
    finally:
        for _, asked in waiting:
            if asked:
                asked.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await asked
