"""Take queued messages to the transport: in turn, again after a while, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

import structlog

from services.notifier.cancellation import heed_cancellation
from services.notifier.compose import NoAddressError, compose
from services.notifier.messages import Message, MessageState, MessageStore
from services.notifier.safe import without_addresses
from services.notifier.smtp import (
    ConnectionLostError,
    DeferredError,
    RefusedError,
    ServerUnreachableError,
    Transport,
)
from services.notifier.turns import NOTHING_SENT, Turns

log = structlog.get_logger()

GIVE_UP_AFTER = timedelta(days=5)
"""How long a message may be put off (4xx) before it counts as refused, as mail servers do among themselves."""
CLAIM = timedelta(minutes=5)
"""How long a message that one replica has begun to send is left alone by the others."""

_FIRST_RETRY = timedelta(minutes=1)
_LAST_RETRY = timedelta(hours=1)
_FIRST_PAUSE = timedelta(seconds=2)
_LAST_PAUSE = timedelta(minutes=5)
_TROUBLES_BEFORE_PAUSE = 10
_LONGEST_NAP_S = 5.0  # what another replica queued, or left, is noticed after this long
_LAST_ATTEMPT_S = 4.0


class ObsoleteError(Exception):
    """What the message is about has ended, so nobody should get it any more; the text says why."""


class LinkMissingError(Exception):
    """The message's link cannot be made, and will not be by waiting; the text says why."""


class LinkLaterError(Exception):
    """The message's link cannot be had now: the directory does not answer."""


LinkOf = Callable[[Message], Awaitable[str]]
"""Gives the link that a message carries, or an empty text. Errors: ObsoleteError, LinkMissingError, LinkLaterError."""


async def no_links(_: Message) -> str:
    """Give no link."""
    return ""


class Outbox:
    """Sends what is queued, one message at a time, those of the highest priority first.

    Messages wait in the store, so nothing is lost while the server or this process is down; any number of outboxes, in
    any number of replicas, may share it; those of one process share their `turns`, too. A process that is killed after
    the server accepted a message and before that was stored leaves a claim that runs out: the message is sent again,
    with the same Message-ID, and counted.
    """

    def __init__(
        self,
        store: MessageStore,
        transport: Transport,
        *,
        sender: str,
        now: Callable[[], datetime],
        link_of: LinkOf = no_links,
        turns: Turns | None = None,
    ) -> None:
        self._store = store
        self._transport = transport
        self._sender = sender
        self._now = now
        self.link_of = link_of
        self._turns = turns or Turns(store, now=now, lease=CLAIM)
        self._woken = asyncio.Event()
        self._troubles = 0
        self._pauses = 0
        self._paused_until: datetime | None = None

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
        sent = NOTHING_SENT
        try:
            while sent != NOTHING_SENT or not self._is_paused():
                message = await self._turn_to_the_end(sent)
                if message is None:
                    return
                sent = message.key if await self._attempt_to_the_end(message) else NOTHING_SENT
        finally:
            await self._transport.rest()

    def _is_paused(self) -> bool:
        return self._paused_until is not None and self._now() < self._paused_until

    async def _nap_s(self) -> float:
        if self._is_paused():
            due = self._paused_until
        else:
            due = await asyncio.to_thread(self._store.next_due)
        if due is None:
            return _LONGEST_NAP_S
        return min(_LONGEST_NAP_S, max(0.0, (due - self._now()).total_seconds()))

    async def _turn_to_the_end(self, sent: int) -> Message | None:
        """Let what was sent be noted even when we are told to end; what is given to us then is given back at once."""
        turn = asyncio.ensure_future(self._turns.next(sent=sent))
        try:
            return await asyncio.shield(turn)
        except asyncio.CancelledError:
            await asyncio.wait({turn}, timeout=_LAST_ATTEMPT_S)
            message = turn.result() if turn.done() and not turn.exception() else None
            if message is not None:
                await asyncio.to_thread(self._store.postpone, message, message.last_error, until=self._now())
            raise

    async def _attempt_to_the_end(self, message: Message) -> bool:
        """Let an attempt end and be stored even when we are told to end, so that a clean end repeats nothing."""
        attempt = asyncio.ensure_future(self._attempt(message))
        try:
            return await asyncio.shield(attempt)
        except asyncio.CancelledError:
            await asyncio.wait({attempt}, timeout=_LAST_ATTEMPT_S)
            if attempt.done() and not attempt.exception() and attempt.result():
                await asyncio.to_thread(self._store.mark_sent, message.key, now=self._now())
            attempt.cancel()
            raise

    async def _attempt(self, message: Message) -> bool:
        """Hand one message over, and store how that went unless it was taken; that, the next turn notes."""
        if message.possible_repeats:
            log.warning("message.may_be_repeated", message=message.key, times=message.possible_repeats)
        try:
            mail = compose(message, self._sender, link=await self.link_of(message))
            await self._transport.hand_over(mail, recipient=message.recipient)
        except NoAddressError:
            await self._end(message, "this is no mail address")
        except (RefusedError, LinkMissingError) as error:
            await self._end(message, str(error))
        except ObsoleteError as error:
            await self._end(message, str(error), state=MessageState.OBSOLETE)
        except LinkLaterError as error:
            await self._postpone(message, str(error), first=_FIRST_PAUSE, most=_LAST_PAUSE)
        except DeferredError as error:
            await self._deferred(message, error)
        except ConnectionLostError as error:
            await self._postpone(message, str(error), first=_FIRST_PAUSE, most=_LAST_PAUSE, in_doubt=error.in_doubt)
            self._trouble()
        except ServerUnreachableError as error:
            log.warning("mail_server.unreachable", error=without_addresses(str(error)))
            until = self._pause()
            await asyncio.to_thread(self._store.postpone, message, str(error), until=until)
        else:
            log.info("message.sent", message=message.key, attempts=message.attempts)
            self._troubles = self._pauses = 0
            return True
        return False

    async def _deferred(self, message: Message, error: DeferredError) -> None:
        if self._now() - (message.queue_time or message.create_time) >= GIVE_UP_AFTER:
            await self._end(message, f"given up after {GIVE_UP_AFTER.days} days: {error}")
        else:
            await self._postpone(message, str(error))
        self._trouble()

    async def _end(self, message: Message, error: str, *, state: MessageState = MessageState.FAILED) -> None:
        """Store that the message is not tried again: this says nothing against the server."""
        log.warning("message.failed", message=message.key, state=state.name.lower())
        await asyncio.to_thread(self._store.mark_failed, message, error, state=state)

    async def _postpone(
        self,
        message: Message,
        error: str,
        *,
        first: timedelta = _FIRST_RETRY,
        most: timedelta = _LAST_RETRY,
        in_doubt: bool = False,
    ) -> None:
        until = self._now() + _doubled(first, message.attempts, most=most)
        log.info("message.deferred", message=message.key, attempts=message.attempts, until=until.isoformat())
        await asyncio.to_thread(self._store.postpone, message, error, until=until, in_doubt=in_doubt)

    def _trouble(self) -> None:
        """Go on with the next message after one that failed for now; pause when all of them do."""
        self._troubles += 1
        if self._troubles >= _TROUBLES_BEFORE_PAUSE:
            self._pause()

    def _pause(self) -> datetime:
        """Leave the server alone for a while, longer each time; gives until when."""
        self._pauses, self._troubles = self._pauses + 1, 0
        until = self._paused_until = self._now() + _doubled(_FIRST_PAUSE, self._pauses, most=_LAST_PAUSE)
        log.warning("mail_server.left_alone", until=until.isoformat())
        return until


def _doubled(first: timedelta, times: int, *, most: timedelta) -> timedelta:
    factor: int = 2 ** min(times - 1, 30)
    return min(most, first * factor)
