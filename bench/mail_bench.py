"""Time how invitations drain: queued at once, handed over one at a time on each connection, reports in their midst.

    python -m bench.mail_bench [--messages 20000] [--connections 2] [--database-url postgresql+psycopg://…]

The mail server is aiosmtpd in a process of its own, which takes everything and keeps nothing: what is measured is the
notifier and its store. Each tenth of the messages is timed by itself: the last must go as fast as the first, in as
little memory.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import structlog
from pydantic import SecretStr

from services.notifier.deliver import CLAIM, Outbox
from services.notifier.mail import STANDARD
from services.notifier.messages import Bundle, Draft, Message, MessageKind, MessageState, MessageStore, Priority
from services.notifier.samples import samples
from services.notifier.settings import Settings
from services.notifier.smtp import SmtpTransport
from services.notifier.turns import Turns
from tests.stack.waiting import wait_until

_TENANT = "tenants/ten_000017"
_AT_ONCE = 200


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=2)
    parser.add_argument("--database-url", default="")
    asked = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with tempfile.TemporaryDirectory() as folder, _a_mail_server() as port:
        store = MessageStore(asked.database_url or f"sqlite:///{folder}/notifier.db")
        store.migrate()
        started = time.perf_counter()
        _queue(store, asked.messages)
        queued_s = time.perf_counter() - started
        print(f"{asked.messages} invitations queued in {queued_s:.1f} s: {asked.messages / queued_s:.0f} a second")
        asyncio.run(_drain(store, port, asked.messages, asked.connections))
        store.close()


@contextmanager
def _a_mail_server() -> Iterator[int]:
    port = 20_000 + time.time_ns() % 10_000
    command = [sys.executable, "-W", "ignore", "-m", "aiosmtpd", "-n", "-c", "aiosmtpd.handlers.Sink"]
    process = subprocess.Popen([*command, "-l", f"127.0.0.1:{port}"])
    try:
        wait_until(lambda: _answers(port), what="the mail server")
        yield port
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    import socket  # noqa: PLC0415

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _queue(store: MessageStore, count: int) -> None:
    """Queue as the follower does: some hundred events in one transaction."""
    (sample,) = (sample for sample in samples(language="en") if sample.name == "invitation")
    mail = sample.render(STANDARD)
    for start in range(0, count, _AT_ONCE):
        bundles = [
            Bundle(_TENANT, f"evt_{number}", f"inv_{number}", [_draft(number, mail.subject, mail.text, mail.html)])
            for number in range(start, min(start + _AT_ONCE, count))
        ]
        store.queue(bundles, now=_now())


def _draft(number: int, subject: str, text: str, html: str, *, priority: Priority = Priority.INVITATION) -> Draft:
    return Draft(
        recipient=f"p{number}@example.org",
        kind=MessageKind.INVITATION,
        message_id=f"<{number}@bench.example>",
        subject=subject,
        text=text,
        html=html,
        priority=priority,
        mentions=(f"{_TENANT}/users/usr_{number}",),
    )


async def _drain(store: MessageStore, port: int, count: int, connections: int) -> None:
    settings = Settings(
        directory="127.0.0.1:1",
        token=SecretStr("unused"),
        database_url="sqlite:////unused.db",
        smtp_host="127.0.0.1",
        smtp_port=port,
        smtp_tls="none",
    )
    turns, pace = Turns(store, now=_now, lease=CLAIM), _Pace(store, count)
    outboxes = [
        Outbox(store, SmtpTransport(settings), sender="muster@bench.example", now=_now, turns=turns, link_of=pace.count)
        for _ in range(connections)
    ]
    started, began_cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(outbox.drain() for outbox in outboxes))
    await asyncio.gather(*pace.reports)
    drained_s, cpu_s = time.perf_counter() - started, time.process_time() - began_cpu
    print(f"{count} invitations drained in {drained_s:.1f} s: {count / drained_s:.0f} a second")
    print(f"the notifier's part of a processor: {1000 * cpu_s / count:.2f} ms a message")


class _Pace:
    """Counts messages as they go; prints how each tenth went, and in the midst of each times a report."""

    def __init__(self, store: MessageStore, count: int) -> None:
        self._store = store
        self._tenth = max(1, count // 10)
        self._gone = 0
        self._since, self._since_cpu = time.perf_counter(), time.process_time()
        self.reports: list[asyncio.Task[None]] = []

    async def count(self, message: Message) -> str:
        """Be asked for each message's link just before it is handed over."""
        if message.priority != Priority.INVITATION:
            return ""
        self._gone += 1
        if self._gone % self._tenth == self._tenth // 2:
            self.reports.append(asyncio.create_task(self._time_a_report(self._gone)))
        if self._gone % self._tenth == 0:
            now, cpu = time.perf_counter(), time.process_time()
            rate, cpu_ms = self._tenth / (now - self._since), 1000 * (cpu - self._since_cpu) / self._tenth
            resident = _resident_mib()
            print(f"{self._gone}: {rate:.0f} a second, {cpu_ms:.2f} ms of a processor each, {resident} MiB", flush=True)
            self._since, self._since_cpu = now, cpu
        return "https://example.org/accept?token=mst_inv_0123456789012345678901234567890123456789"

    async def _time_a_report(self, number: int) -> None:
        draft = _draft(-number, "Report", "Text", "<p>", priority=Priority.REPORT)
        queued_at = time.perf_counter()
        await asyncio.to_thread(
            self._store.queue, [Bundle(_TENANT, f"evt_report_{number}", "run", [draft])], now=_now()
        )
        await asyncio.to_thread(wait_until, lambda: _newest(self._store).state == MessageState.SENT, every_s=0.005)
        waited_ms = 1000 * (time.perf_counter() - queued_at)
        print(f"a report queued after {number} of them went after {waited_ms:.0f} ms", flush=True)


def _resident_mib() -> int:
    """Read this process's memory as it is now."""
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * resource.getpagesize() // 2**20


def _newest(store: MessageStore) -> Message:
    return store.page(_TENANT, before=None, limit=1)[0]


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
