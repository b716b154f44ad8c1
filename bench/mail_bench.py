"""Time how invitations drain: queued at once, handed over one at a time on each connection, a report in their midst.

    python -m bench.mail_bench [--messages 20000] [--connections 2] [--database-url postgresql+psycopg://…]

The mail server is aiosmtpd in a process of its own, which takes everything and keeps nothing: what is measured is the
notifier and its store. On SQLite, each message costs two durable transactions: the claim, and that it was sent.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

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
    turns = Turns(store, now=_now, lease=CLAIM)
    outboxes = [
        Outbox(store, SmtpTransport(settings), sender="muster@bench.example", now=_now, turns=turns)
        for _ in range(connections)
    ]
    started, began_cpu = time.perf_counter(), time.process_time()
    work = [asyncio.create_task(outbox.drain()) for outbox in outboxes]
    await asyncio.sleep(2.0)
    report = Bundle(_TENANT, "evt_report", "run", [_draft(count, "Report", "Text", "<p>", priority=Priority.REPORT)])
    queued_at = time.perf_counter()
    await asyncio.to_thread(store.queue, [report], now=_now())
    await asyncio.to_thread(wait_until, lambda: _newest(store).state == MessageState.SENT, every_s=0.005)
    print(f"a report that was queued in their midst went after {1000 * (time.perf_counter() - queued_at):.0f} ms")
    await asyncio.gather(*work)
    drained_s, cpu_s = time.perf_counter() - started, time.process_time() - began_cpu
    print(f"{count} invitations drained in {drained_s:.1f} s: {count / drained_s:.0f} a second")
    print(f"the notifier's part of a processor: {1000 * cpu_s / count:.2f} ms a message")


def _newest(store: MessageStore) -> Message:
    return store.page(_TENANT, before=None, limit=1)[0]


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
