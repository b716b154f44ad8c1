"""Answer wrong passwords ever later, for each address from which they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

FIRST_S = 0.5
LONGEST_S = 8.0
FORGOTTEN_AFTER_S = 600.0
_MOST_ADDRESSES = 10_000


@dataclass
class Slowness:
    """Counts wrong passwords; `clock` counts seconds, `sleep` waits for them."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _wrong: dict[str, tuple[int, float]] = field(default_factory=dict)

    async def after_wrong(self, address: str) -> None:
        """Wait twice as long as after the last wrong password from this address, if that was lately."""
        now = self.clock()
        count, last = self._wrong.pop(address, (0, now))
        count = 1 if now - last > FORGOTTEN_AFTER_S else count + 1
        self._wrong[address] = (count, now)  # at the end: the first is the one that was wrong longest ago
        if len(self._wrong) > _MOST_ADDRESSES:
            del self._wrong[next(iter(self._wrong))]
        await self.sleep(min(FIRST_S * 2 ** min(count - 1, 10), LONGEST_S))
