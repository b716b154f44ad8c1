"""Give requests their turns at the directory, so that no tenant's flood keeps another's requests waiting (S13)."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from services.scim_gateway.errors import TryLaterException
from services.scim_gateway.slowing import digest_of

AT_ONCE: Final = 16
"""Requests that are served at one time: half of the directory's threads."""
ASSURED_PER_S: Final = 25.0
"""Requests a second that a tenant is never told to slow down for."""
MOST_WAITING: Final = 64
"""Requests of one tenant that wait while others are there, too, beyond those it is assured of."""
MOST_WAITING_IN_ALL: Final = 1_000
"""Beyond that, only requests that a tenant is assured of wait."""
LONGEST_WAIT_S: Final = 5.0
RETRY_S: Final = 1.0
MOST_REMEMBERED: Final = 10_000


@dataclass
class _Share:
    """A tenant's: requests being served, those that wait, and how many it is still assured of this second."""

    assured: float = ASSURED_PER_S
    at_s: float = 0.0
    served: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class Turns:
    """The tenants take turns, one request each, whenever more is asked than can be served; a lone one has them all.

    Keys are known to be a tenant's once the directory has said so (`learn`); the others share what their address has,
    so that inventing keys gains nothing.
    """

    def __init__(self, now: Callable[[], float], *, at_once: int = AT_ONCE) -> None:
        self._now = now
        self._at_once = self._free = at_once
        self._shares: OrderedDict[str, _Share] = OrderedDict()
        self._queue: OrderedDict[str, None] = OrderedDict()
        self._waiting = 0
        self._tenants: OrderedDict[bytes, str] = OrderedDict()

    def learn(self, key: str, tenant: str) -> None:
        """Remember whose key it is."""
        digest = digest_of(key)
        self._tenants[digest] = tenant
        self._tenants.move_to_end(digest)
        if len(self._tenants) > MOST_REMEMBERED:
            self._tenants.popitem(last=False)

    @property
    def is_anybody_waiting(self) -> bool:
        """Whether more is asked than can be served."""
        return self._waiting > 0

    @asynccontextmanager
    async def turn(self, key: str, address: str, *, is_begun: bool = False) -> AsyncIterator[Turn]:
        """Wait for the turn of a key's tenant, and hold it; what `is_begun` is not told to slow down.

        Errors: TryLaterException, 429 where the tenant alone asks for too much, 503 where there is too much of all.
        """
        name = self._tenants.get(digest_of(key), address)
        await self.take(name, is_begun=is_begun)
        turn = Turn(self, name)
        try:
            yield turn
        finally:
            if turn.is_held:
                self.give_back(name)

    async def take(self, name: str, *, is_begun: bool = False) -> None:
        """Wait for a tenant's turn; what `is_begun` is not told to slow down. Errors: TryLaterException."""
        share = self._share(name)
        is_assured = self._is_assured(share) or is_begun
        if self._free and not self._waiting:
            self._free -= 1
            share.served += 1
            return
        self._require_room(share, is_assured=is_assured)
        future = asyncio.get_running_loop().create_future()
        share.waiting.append(future)
        self._queue.setdefault(name)
        self._waiting += 1
        try:
            async with asyncio.timeout(LONGEST_WAIT_S):
                await future
        except (TimeoutError, asyncio.CancelledError) as error:
            if future.done() and not future.cancelled():
                self.give_back(name)  # the turn came at the moment of giving up
            else:
                self._forget(name, share, future)
            if isinstance(error, asyncio.CancelledError):
                raise
            raise TryLaterException(retry_after_s=RETRY_S) from None

    def give_back(self, name: str) -> None:
        """End a turn: the next tenant in the row has it."""
        self._shares[name].served -= 1
        self._free += 1
        while self._free and self._queue:
            next_name = next(iter(self._queue))
            share = self._shares[next_name]
            future = share.waiting.popleft()
            self._queue.move_to_end(next_name)
            if not share.waiting:
                del self._queue[next_name]
            self._waiting -= 1
            if not future.done():
                self._free -= 1
                share.served += 1
                future.set_result(None)
        self._tidy()

    def _share(self, name: str) -> _Share:
        share = self._shares.setdefault(name, _Share(at_s=self._now()))
        self._shares.move_to_end(name)
        return share

    def _is_assured(self, share: _Share) -> bool:
        now = self._now()
        share.assured = min(ASSURED_PER_S, share.assured + (now - share.at_s) * ASSURED_PER_S)
        share.at_s = now
        if share.assured < 1:
            return False
        share.assured -= 1
        return True

    def _require_room(self, share: _Share, *, is_assured: bool) -> None:
        if is_assured:
            return
        is_alone = share.served + self._free == self._at_once and len(share.waiting) == self._waiting
        if self._waiting < MOST_WAITING_IN_ALL and (is_alone or len(share.waiting) < MOST_WAITING):
            return
        raise TryLaterException(
            status=429,
            detail="Too many requests at once while others are waiting; nothing was changed. Send this one again a "
            "little later, and fewer at a time.",
            retry_after_s=RETRY_S,
        )

    def _forget(self, name: str, share: _Share, future: asyncio.Future[None]) -> None:
        if future in share.waiting:
            share.waiting.remove(future)
            self._waiting -= 1
            if not share.waiting:
                self._queue.pop(name, None)

    def _tidy(self) -> None:
        """Forget tenants that have nothing here, the longest unseen first."""
        while len(self._shares) > MOST_REMEMBERED:
            name = next((each for each, share in self._shares.items() if not share.served and not share.waiting), None)
            if name is None:
                return
            del self._shares[name]


@dataclass
class Turn:
    """A turn of a request."""

    turns: Turns
    name: str
    is_held: bool = True

    async def pass_on(self) -> None:
        """Let others go first, where they wait, and wait for the next turn: between the parts of a long request.

        Errors: TryLaterException.
        """
        if self.is_held and not self.turns.is_anybody_waiting:
            return
        if self.is_held:
            self.is_held = False
            self.turns.give_back(self.name)
        await self.turns.take(self.name, is_begun=True)
        self.is_held = True
