"""Let the outboxes of one process share transactions: whoever waits at the same moment is served in one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta

from services.notifier.messages import Message, MessageStore

NOTHING_SENT = 0


class Turns:
    """Gives outboxes their next messages, and notes in the same transaction what they have sent.

    While one transaction is made durable, others wait, and the next one serves them all: a message costs one at most,
    and less the more connections there are. What was sent is noted in the next transaction that begins: nothing is
    put together that a killed process would send twice.
    """

    def __init__(self, store: MessageStore, *, now: Callable[[], datetime], lease: timedelta) -> None:
        self._store = store
        self._now = now
        self._lease = lease
        self._waiting: list[tuple[asyncio.Future[Message | None], int]] = []
        self._serving: asyncio.Task[None] | None = None

    async def next(self, *, sent: int = NOTHING_SENT) -> Message | None:
        """Note that the message `sent` was taken by the mail server, and give the message whose turn it is, if any."""
        turn: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._waiting.append((turn, sent))
        if self._serving is None or self._serving.done():
            self._serving = asyncio.create_task(self._serve())
        return await turn

    async def _serve(self) -> None:
        while self._waiting:
            served, self._waiting = self._waiting, []
            sent = [key for _, key in served if key != NOTHING_SENT]
            try:
                messages = await asyncio.to_thread(
                    self._store.take_turns, sent, wanted=len(served), now=self._now(), lease=self._lease
                )
            except Exception as error:  # noqa: BLE001 - it is raised where it was waited for
                for turn, _ in served:
                    turn.set_exception(error)
                continue
            for position, (turn, _) in enumerate(served):
                turn.set_result(messages[position] if position < len(messages) else None)
