"""Take queued messages to the transport: in turn, again after a while, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from services.notifier.cancellation import heed_cancellation
from services.notifier.messages import MessageStore
from services.notifier.smtp import DeferredError, RefusedError, ServerUnreachableError, Transport, compose

log = structlog.get_logger()

GIVE_UP_AFTER = timedelta(days=5)
"""How long a server may put one message off (4xx) before it counts as refused, as mail servers do among themselves."""

_FIRST_RETRY = timedelta(minutes=1)
_LAST_RETRY = timedelta(hours=1)
_FIRST_PAUSE = timedelta(seconds=2)
_LAST_PAUSE = timedelta(minutes=5)
_LONGEST_NAP_S = 30.0
_LAST_ATTEMPT_S = 4.0


class Outbox:
    """Sends what is queued. Messages wait in the store, so nothing is lost while the server or this process is down.

    A process killed after the server accepted a message and before that was stored sends it again, with the same
    Message-ID.
    """

    def __init__(self, store: MessageStore, transport: Transport, *, sender: str, now: Callable[[], datetime]) -> None:
        self._store = store
        self._transport = transport
        self._sender = sender
        self._now = now
        self._woken = asyncio.Event()
        self._failures_in_a_row = 0

    def wake(self) -> None:
        """Say that something was queued."""
        self._woken.set()

    async def run(self) -> None:
        """Send for ever; sleep while nothing is due."""
        while True:
            self._woken.clear()
            await self.drain()
            heed_cancellation()
            nap_s = await self._nap_s()
            with suppress(TimeoutError):
                async with asyncio.timeout(nap_s):
                    await self._woken.wait()

    async def drain(self) -> None:
        """Try each message that is due once; stop early when the server does not answer at all."""
        try:
            while due := await asyncio.to_thread(self._store.due, self._now()):
                for key in due:
                    if not await self._attempt_to_the_end(key):
                        return
        finally:
            await self._transport.rest()

    async def _nap_s(self) -> float:
        next_due = await asyncio.to_thread(self._store.next_due)
        if next_due is None:
            return _LONGEST_NAP_S
        return min(_LONGEST_NAP_S, max(0.0, (next_due - self._now()).total_seconds()))

    async def _attempt_to_the_end(self, key: int) -> bool:
        """Let an attempt end and be stored even when we are told to end, so that a clean end repeats nothing."""
        attempt = asyncio.ensure_future(self._attempt(key))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await asyncio.wait({attempt}, timeout=_LAST_ATTEMPT_S)
            attempt.cancel()
            raise

    async def _attempt(self, key: int) -> bool:
        """Hand one message over and store how that went; False when the server does not answer at all."""
        message = await asyncio.to_thread(self._store.begin_attempt, key)
        try:
            mail = compose(message, self._sender)
            await self._transport.hand_over(mail, recipient=message.recipient)
        except RefusedError as error:
            await self._fail(key, str(error))
        except DeferredError as error:
            if self._now() - message.create_time >= GIVE_UP_AFTER:
                await self._fail(key, f"given up after {GIVE_UP_AFTER.days} days: {error}")
            else:
                until = self._now() + _doubled(_FIRST_RETRY, message.attempts, most=_LAST_RETRY)
                log.info("message.deferred", message=key, attempts=message.attempts, until=until.isoformat())
                await asyncio.to_thread(self._store.postpone, key, str(error), until=until)
        except ServerUnreachableError as error:
            await self._pause(key, str(error))
            return False
        else:
            log.info("message.sent", message=key, attempts=message.attempts)
            await asyncio.to_thread(self._store.mark_sent, key, now=self._now())
        self._failures_in_a_row = 0
        return True

    async def _fail(self, key: int, error: str) -> None:
        log.warning("message.failed", message=key)
        await asyncio.to_thread(self._store.mark_failed, key, error)

    async def _pause(self, key: int, error: str) -> None:
        """Leave everything that is queued alone for a while, longer each time."""
        self._failures_in_a_row += 1
        until = self._now() + _doubled(_FIRST_PAUSE, self._failures_in_a_row, most=_LAST_PAUSE)
        log.warning("mail_server.unreachable", error=error, until=until.isoformat())
        await asyncio.to_thread(self._store.postpone, key, error, until=until)
        await asyncio.to_thread(self._store.postpone_all, until=until)


def _doubled(first: timedelta, times: int, *, most: timedelta) -> timedelta:
    factor: int = 2 ** min(times - 1, 30)
    return min(most, first * factor)
