"""Slow failed attempts at keys and secrets, by key and by address, without ever keeping a right one out (S13)."""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Final

FREE_FAILURES: Final = 10
"""Failures in a row that are answered at once."""
STEP_S: Final = 1.0
"""From then on a key, and an address, has one failure answered in so long."""
LONGEST_HOLD_S: Final = 5.0
"""How long an answer is held back at most; whoever would have to wait longer is sent away (429)."""
FORGOTTEN_AFTER_S: Final = 900.0
KNOWN_FOR_S: Final = 60.0
"""How long a wrong key is remembered."""
MOST_REMEMBERED: Final = 10_000
"""Names, and wrong keys, of which the newest are remembered."""

Names = tuple[Hashable, ...]


class TooManyFailuresError(Exception):
    """More failures than are slowed: the next one may come in `wait_s`."""

    def __init__(self, wait_s: float) -> None:
        super().__init__("too many failed attempts")
        self.wait_s = wait_s


@dataclass
class _Failures:
    count: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


class Slowing:
    """What is remembered of failures, in this process.

    Only failures are slowed, so that whoever tries keys keeps nobody out who has a right one, whatever the address.
    A key that is known to be wrong is not asked about again while its name or its address is slowed.
    """

    def __init__(
        self,
        now: Callable[[], float],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        most: int = MOST_REMEMBERED,
    ) -> None:
        self._now = now
        self._sleep = sleep
        self._most = most
        self._failures: OrderedDict[Hashable, _Failures] = OrderedDict()
        self._wrong: OrderedDict[bytes, float] = OrderedDict()

    def is_known_to_be_wrong(self, secret: str, names: Names) -> bool:
        """Say whether a secret need not be asked about: it was wrong a moment ago, and there are many such."""
        seen_s = self._wrong.get(digest_of(secret))
        return seen_s is not None and self._now() - seen_s <= KNOWN_FOR_S and self._is_slowed(names)

    async def failed(self, secret: str, names: Names) -> bool:
        """Count a failure, and hold its answer back as long as it must wait; says whether it had to.

        Errors: TooManyFailuresError.
        """
        self._remember(secret)
        hold_s = max(map(self._count, names), default=0.0)
        if hold_s > LONGEST_HOLD_S:
            raise TooManyFailuresError(hold_s)
        if hold_s > 0:
            await self._sleep(hold_s)
        return hold_s > 0

    def passed(self, name: Hashable) -> None:
        """Forget the failures of a key that was right."""
        self._failures.pop(name, None)

    def _is_slowed(self, names: Names) -> bool:
        return any(name in self._failures and self._failures[name].count >= FREE_FAILURES for name in names)

    def _remember(self, secret: str) -> None:
        digest = digest_of(secret)
        self._wrong[digest] = self._now()
        self._wrong.move_to_end(digest)
        if len(self._wrong) > self._most:
            self._wrong.popitem(last=False)

    def _count(self, name: Hashable) -> float:
        """Count a failure of a name; gives how long its answer must wait for those of the failures before it."""
        now = self._now()
        failures = self._failures.setdefault(name, _Failures())
        if now - failures.last_s > FORGOTTEN_AFTER_S:
            failures.count = 0
        failures.count += 1
        failures.last_s = now
        if failures.count > FREE_FAILURES:
            failures.until_s = min(max(failures.until_s, now) + STEP_S, now + 2 * LONGEST_HOLD_S)
        self._failures.move_to_end(name)
        if len(self._failures) > self._most:
            self._failures.popitem(last=False)
        return failures.until_s - now


def digest_of(secret: str) -> bytes:
    """Make of a key what may be remembered of it."""
    return hashlib.blake2b(secret.encode(), digest_size=16).digest()
