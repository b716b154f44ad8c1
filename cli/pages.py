"""Read keyset pages to their end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

PAGE_SIZE = 1000


def every(method: Callable[[Any], Any], request: Any, items: str) -> Iterator[Any]:
    """Yield each of the answer's `items` over all pages; `request` must have page_size and page_token."""
    request.page_size = PAGE_SIZE
    while True:
        answer = method(request)
        yield from getattr(answer, items)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token
