"""Let a request in when its tenant's turn has come, and slow those whose keys are wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from scim2_models import UnauthorizedException

from services.scim_gateway.auth import REFUSED, SlowedKeyException, id_of
from services.scim_gateway.errors import TryLaterException
from services.scim_gateway.slowing import Names, Slowing, TooManyFailuresError
from services.scim_gateway.turns import Turn, Turns


class Gate:
    """Every request with a key passes it."""

    def __init__(self, turns: Turns, slowing: Slowing) -> None:
        self.turns = turns
        self._slowing = slowing

    @asynccontextmanager
    async def entered(self, key: str, address: str) -> AsyncIterator[Turn]:
        """Hold a turn. Errors: TryLaterException; UnauthorizedException of what is done inside, or in its place."""
        names: Names = (("key", id_of(key)), ("address", address))
        try:
            if self._slowing.is_known_to_be_wrong(key, names):
                raise UnauthorizedException(detail=REFUSED)  # noqa: TRY301 - as if the directory had said so
            async with self.turns.turn(key, address) as turn:
                yield turn
        except UnauthorizedException:
            try:
                was_held = await self._slowing.failed(key, names)
            except TooManyFailuresError as error:
                raise too_many_failures(error) from None
            if was_held:
                raise SlowedKeyException(detail=REFUSED) from None
            raise
        self._slowing.passed(names[0])


def too_many_failures(error: TooManyFailuresError) -> TryLaterException:
    """Send away whoever fails faster than that can be slowed."""
    detail = f"Too many failed attempts at once; wait before the next one. {REFUSED}"
    return TryLaterException(status=429, detail=detail, retry_after_s=error.wait_s)
