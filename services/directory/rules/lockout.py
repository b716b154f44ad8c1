"""How long wrong tries in a row lock a sign-in, and the memory of tries at names that nobody has."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from services.directory.rules.errors import SignInLocked

FREE_TRIES: Final = 4
"""Wrong tries in a row that lock nothing; the next one does."""
FIRST_LOCK: Final = timedelta(minutes=1)
LONGEST_LOCK: Final = timedelta(hours=1)
MOST_REMEMBERED: Final = 10_000


@dataclass(frozen=True)
class Tries:
    """Wrong tries in a row, and until when no other is looked at."""

    failures: int = 0
    locked_until: datetime | None = None

    def and_another(self, now: datetime) -> Tries:
        """Count one more: the fifth in a row locks for a minute, each further one for twice as long, at most an hour.

        Errors: SignInLocked, and then it does not count.
        """
        if self.locked_until is not None and self.locked_until > now:
            raise SignInLocked(retry_after_s=(self.locked_until - now).total_seconds())
        failures = self.failures + 1
        if failures <= FREE_TRIES:
            return Tries(failures)
        doublings = min(failures - FREE_TRIES - 1, 10)
        return Tries(failures, now + min(FIRST_LOCK * 2**doublings, LONGEST_LOCK))


class Guesses:
    """Tries at names that nobody has, so that they are answered like those at real ones; the newest are remembered."""

    def __init__(self, most: int = MOST_REMEMBERED) -> None:
        self._most = most
        self._tries: OrderedDict[Hashable, Tries] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, name: Hashable, now: datetime) -> None:
        """Count a try. Errors: SignInLocked."""
        with self._lock:
            self._tries[name] = self._tries.get(name, Tries()).and_another(now)
            self._tries.move_to_end(name)
            if len(self._tries) > self._most:
                self._tries.popitem(last=False)

    def forget(self, name: Hashable) -> None:
        """Forget the tries at a name, since one was right."""
        with self._lock:
            self._tries.pop(name, None)
