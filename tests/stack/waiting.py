"""Wait for something to become true, with a deadline and never a bare sleep."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
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


def wait_until_well(url: str, *, timeout_s: float, alive: Callable[[], bool]) -> None:
    """Block until an HTTP service answers 200 at `url`; TimeoutError after `timeout_s`, or when `alive` says no."""
    deadline = time.monotonic() + timeout_s
    while alive() and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
            if answer.status == 200:
                return
        time.sleep(0.05)
    raise TimeoutError(url)
