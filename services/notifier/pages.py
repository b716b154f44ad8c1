"""Read all pages of what the directory lists."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

PAGE = 1_000
"""How many resources a page has."""


async def every(method: Callable[[Any], Awaitable[Any]], request: Any, field: str) -> AsyncIterator[Any]:
    """Yield each resource in `field` of a list method's answers; raises grpc.aio.AioRpcError."""
    request.page_size = PAGE
    while True:
        page = await method(request)
        for each in getattr(page, field):
            yield each
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token
