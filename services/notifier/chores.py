"""Do what no event asks for: warn of keys that end soon, and forget old texts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import parseaddr

import grpc.aio
import structlog
from muster.runtime.errors import failure_of

from services.notifier.consume import message_id
from services.notifier.mail import STANDARD, Templates
from services.notifier.messages import Bundle, Draft, MessageStore
from services.notifier.notice_mail import render_notice
from services.notifier.notices import Notice, NoticeReader

log = structlog.get_logger()

_EVERY_S = 3_600.0


class Chores:
    """Done once an hour; a second replica that does them too finds everything done."""

    def __init__(
        self,
        notices: NoticeReader,
        store: MessageStore,
        *,
        sender: str,
        now: Callable[[], datetime],
        queued: Callable[[], None],
        keep: timedelta,
        templates: Templates = STANDARD,
    ) -> None:
        self._notices = notices
        self._store = store
        self._domain = parseaddr(sender)[1].rpartition("@")[2]
        self._now = now
        self._queued = queued
        self._keep = keep
        self._templates = templates

    async def run(self) -> None:
        """Do them for ever."""
        while True:
            try:
                await self.do()
            except grpc.aio.AioRpcError as error:
                log.warning("chores.postponed", reason=failure_of(error).reason)
            await asyncio.sleep(_EVERY_S)

    async def do(self) -> None:
        """Do them once. Errors: AioRpcError."""
        while await asyncio.to_thread(self._store.forget_bodies, before=self._now() - self._keep):
            pass
        async for notice, warning in self._notices.old_keys(self._now()):
            await self._queue(notice, warning)

    async def _queue(self, notice: Notice, warning: timedelta) -> None:
        """Queue a warning unless it was before: what it is known by is the key, its end, and which warning it is."""
        assert notice.key_ends_at is not None
        event, mail = f"{notice.key}/ends/{warning.days}", render_notice(notice, self._templates)
        drafts = [
            Draft(
                recipient=recipient,
                kind=notice.kind,
                message_id=message_id(event, notice.key_ends_at, recipient, self._domain),
                subject=mail.subject,
                text=mail.text,
                html=mail.html,
                urgent=mail.urgent,
            )
            for recipient in notice.readers.addresses
        ]
        bundle = Bundle(notice.tenant, event, notice.about, drafts)
        if await asyncio.to_thread(self._store.queue, [bundle], now=self._now()):
            self._queued()
