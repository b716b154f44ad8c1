"""Wait for something to become true, with a deadline and never a bare sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_until(look: Callable[[], T], *, timeout_s: float = 20.0, every_s: float = 0.05, what: str = "") -> T:
    """Look until it gives something true, and give that; AssertionError after `timeout_s`, naming `what`."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout_s:g} s for {what or look}; last seen: {seen!r}")
        time.sleep(every_s)
