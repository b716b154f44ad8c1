"""Take what has come on a stream in one piece, so that a thousand small events cost a few transactions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")

_END = None


class ReadAhead(Generic[Item]):
    """Reads a stream in the background, a little ahead of who uses it."""

    def __init__(self, stream: AsyncIterable[Item], *, most: int, silence_s: float) -> None:
        self._stream = stream
        self._most = most
        self._silence_s = silence_s
        self._read: asyncio.Queue[Item | None] = asyncio.Queue(most)
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._reader = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reader is not None
        self._reader.cancel()
        await asyncio.wait({self._reader})

    async def next(self) -> list[Item]:
        """Give what has come, at least one; nothing at the stream's end. Errors: the stream's, TimeoutError."""
        async with asyncio.timeout(self._silence_s):
            items = [await self._read.get()]
        while len(items) < self._most and not self._read.empty():
            items.append(self._read.get_nowait())
        if items[-1] is _END and len(items) == 1:
            assert self._reader is not None
            await self._reader  # raises what ended the stream
        elif items[-1] is _END:
            self._read.put_nowait(_END)
        return [item for item in items if item is not _END]

    async def _run(self) -> None:
        try:
            async for item in self._stream:
                await self._read.put(item)
        finally:
            if not self._is_cancelled():
                await self._read.put(_END)

    def _is_cancelled(self) -> bool:
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0
