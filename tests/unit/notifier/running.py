"""Run the notifier's parts in a test's own event loop, by a clock that is set by hand."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from muster.runtime.client import open_aio_channel
from pydantic import SecretStr

from services.notifier.authors import Authors
from services.notifier.consume import Follower
from services.notifier.deliver import LinkOf, Outbox, no_links
from services.notifier.links import Links
from services.notifier.messages import Message, MessageStore
from services.notifier.settings import Settings
from services.notifier.smtp import FileTransport, Transport
from tests.unit.notifier.directory_double import NOTIFIER_TOKEN, TENANT

SENDER = "Muster <muster@vendor.example>"
START = datetime(2026, 3, 1, 2, 0, tzinfo=UTC)


class Clock:
    """Tells the time it was set to."""

    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> datetime:
        return self.time

    def pass_by(self, **amount: float) -> None:
        self.time += timedelta(**amount)


class Directory(Protocol):
    """A directory, the double or the real one: where it answers, and the notifier's token there."""

    @property
    def address(self) -> str: ...
    @property
    def token(self) -> str: ...


class Notifier:
    """The parts around one store, of which a test runs those it is about."""

    def __init__(self, database_url: str, directory: Directory, transport: Transport) -> None:
        self.clock = Clock()
        self.store = MessageStore(database_url)
        self.store.migrate()
        self.link_of: LinkOf | None = None
        """Where links come from, instead of from the directory."""
        self._outbox: Outbox | None = None
        self._directory = directory
        self._transport = transport

    def follow_until(self, done: Callable[[], bool], *, send: bool = False, timeout_s: float = 20.0) -> None:
        """Follow the stream (and send, if asked) until `done` says so; AssertionError when it never does."""
        asyncio.run(self._follow_until(done, send=send, timeout_s=timeout_s))

    def drain(self) -> None:
        """Send what is due, once."""
        asyncio.run(self._drain())

    def messages(self, tenant: str = TENANT) -> list[Message]:
        """All messages of the tenant, oldest first."""
        return self.store.page(tenant, before=None, limit=1_000)[::-1]

    async def _drain(self) -> None:
        async with open_aio_channel(self._directory.address, self._directory.token) as channel:
            await self._make_outbox(self.link_of or Links(channel).link_of).drain()

    def _make_outbox(self, link_of: LinkOf = no_links) -> Outbox:
        """The same one each time: it remembers that it leaves the mail server alone for a while."""
        if self._outbox is None:
            self._outbox = Outbox(self.store, self._transport, sender=SENDER, now=self.clock)
        self._outbox.link_of = link_of
        return self._outbox

    async def _follow_until(self, done: Callable[[], bool], *, send: bool, timeout_s: float) -> None:
        async with open_aio_channel(self._directory.address, self._directory.token) as channel:
            outbox = self._make_outbox(self.link_of or Links(channel).link_of)
            authors = Authors(channel, now=self.clock)
            follower = Follower(channel, self.store, authors, sender=SENDER, now=self.clock, queued=outbox.wake)
            parts = [asyncio.create_task(part) for part in (follower.run(), *((outbox.run(),) if send else ()))]
            try:
                deadline = time.monotonic() + timeout_s
                while not await asyncio.to_thread(done):
                    assert time.monotonic() < deadline, "the notifier did not get there"
                    for part in parts:
                        assert not part.done(), part
                    await asyncio.sleep(0.02)
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.gather(*parts, return_exceptions=True)


def smtp_settings(host: str, port: int, **changes: Any) -> Settings:
    return Settings(
        directory="127.0.0.1:1",
        token=SecretStr(NOTIFIER_TOKEN),
        database_url="sqlite:////unused.db",
        sender=SENDER,
        smtp_host=host,
        smtp_port=port,
        smtp_tls="none",
        **changes,
    )


def to_files(folder: Path) -> FileTransport:
    return FileTransport(folder)
