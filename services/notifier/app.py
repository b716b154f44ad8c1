"""Put the notifier together and run it: the follower, the outbox and the gRPC door, until told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from datetime import UTC, datetime, timedelta

import grpc.aio
import stamina.instrumentation
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from jinja2 import TemplateError
from muster.notifier.v1 import messages_pb2_grpc
from muster.runtime.client import open_aio_channel
from muster.runtime.server import OPTIONS, announce
from muster.runtime.telemetry import configure_logging, fault_of

from services.notifier.api import SERVICE_NAME, MessageServicer
from services.notifier.authors import Authors
from services.notifier.chores import Chores
from services.notifier.consume import Follower
from services.notifier.deliver import Outbox
from services.notifier.links import Links
from services.notifier.mail import Templates
from services.notifier.messages import MessageStore
from services.notifier.notices import NoticeReader
from services.notifier.samples import check
from services.notifier.settings import Settings, SettingsError, load_settings
from services.notifier.smtp import transport_of
from services.notifier.turns import Turns

log = structlog.get_logger()

_GRACE_S = 3.0
_LAST_WORK_S = 5.0


def main() -> None:
    """Run until SIGTERM, SIGINT or, if asked for, the end of stdin; exit status 2 says that a setting is wrong."""
    configure_logging("notifier")
    stamina.instrumentation.set_on_retry_hooks([])  # they would log what a mail server says, addresses too
    try:
        settings = load_settings()
        check_templates(settings)
    except SettingsError as error:
        sys.exit(_complain(error))
    try:
        asyncio.run(serve(settings))
    except Exception as error:  # noqa: BLE001 - the outermost place: log it as every other fault, then be started anew
        log.error("notifier.fault", **fault_of(error))
        sys.exit(1)


def check_templates(settings: Settings) -> None:
    """Fill a vendor's templates once at start. Errors: SettingsError, which says what is wrong with them."""
    if settings.template_dir is None:
        return
    try:
        check(Templates(settings.template_dir))
    except (TemplateError, KeyError, ValueError) as error:  # ValueError: TOML that cannot be read, and odd blanks
        raise SettingsError(f"NOTIFIER_TEMPLATE_DIR: {type(error).__name__}: {error}") from error


def _complain(error: SettingsError) -> int:
    print(f"muster-notifier: {error}", file=sys.stderr)  # noqa: T201 - the one line an operator reads
    return 2


async def serve(settings: Settings) -> None:
    """Serve until told to end; an unexpected fault of a part ends the whole, so that it is started anew."""
    store = MessageStore(settings.database_url)
    await asyncio.to_thread(store.migrate)
    templates = Templates(settings.template_dir)
    async with open_aio_channel(settings.directory, settings.token.get_secret_value()) as channel:
        outboxes = _outboxes(settings, store, channel)

        def queued() -> None:
            for outbox in outboxes:
                outbox.wake()

        servicer = MessageServicer(store, channel, now=_now, queued=queued, templates=templates)
        server, port = await _open_door(settings, servicer)
        authors = Authors(channel, admin_url=settings.admin_url, templates=templates, now=_now)
        follower = Follower(channel, store, authors, sender=settings.sender, now=_now, queued=queued)
        chores = Chores(
            NoticeReader(channel, admin_url=settings.admin_url),
            store,
            sender=settings.sender,
            now=_now,
            queued=queued,
            keep=timedelta(days=settings.keep_days),
            templates=templates,
        )
        works = (follower.run(), chores.run(), *(outbox.run() for outbox in outboxes))
        parts = [asyncio.create_task(part) for part in (*works, _told_to_end(settings, port))]
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            for part in done:
                part.result()
        finally:
            for part in parts:
                part.cancel()
            await asyncio.wait(parts, timeout=_LAST_WORK_S)
            await server.stop(_GRACE_S)
            store.close()
    log.info("notifier.ended")


def _outboxes(settings: Settings, store: MessageStore, channel: grpc.aio.Channel) -> list[Outbox]:
    """Make one for each mail that may be handed over at a time."""
    turns = Turns(store, now=_now, lease=timedelta(seconds=settings.claim_s))
    return [
        Outbox(
            store,
            transport_of(settings),
            sender=settings.sender,
            now=_now,
            link_of=Links(channel).link_of,
            turns=turns,
        )
        for _ in range(settings.smtp_connections if settings.smtp_host else 1)
    ]


async def _open_door(settings: Settings, servicer: MessageServicer) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(options=OPTIONS)
    messages_pb2_grpc.add_MessageServiceServicer_to_server(servicer, server)
    checks = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs know the sync one
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    port = server.add_insecure_port(settings.listen)
    await server.start()
    for name in (SERVICE_NAME, ""):
        await checks.set(name, health_pb2.HealthCheckResponse.SERVING)
    return server, port


async def _told_to_end(settings: Settings, port: int) -> None:
    """Say that the service serves; wait for SIGTERM, SIGINT or, if asked for, the end of stdin: the parent is gone."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    if settings.exit_with_stdin:
        threading.Thread(target=_drain_stdin, args=(loop, ended), daemon=True).start()
    announce(settings.listen, port)
    await ended.wait()


def _drain_stdin(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(ended.set)


def _now() -> datetime:
    return datetime.now(UTC)


if __name__ == "__main__":
    main()
