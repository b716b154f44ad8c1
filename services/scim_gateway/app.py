"""Put the gateway together and run it until told to end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import grpc.aio
import structlog
import uvicorn
import uvloop
from muster.runtime.client import open_forwarding_channel
from muster.runtime.server import announce
from muster.runtime.telemetry import configure_logging, fault_of
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from services.scim_gateway.activity import ActivityLog
from services.scim_gateway.endpoint import PREFIX, ScimEndpoint, not_found
from services.scim_gateway.gate import Gate
from services.scim_gateway.protocol import HttpProtocol
from services.scim_gateway.settings import GatewaySettings, InvalidSettingsError, load_settings
from services.scim_gateway.slowing import Slowing
from services.scim_gateway.tokens import DEFAULT_MINUTES, METADATA_PATH, TokenEndpoint
from services.scim_gateway.tokens import PATH as TOKEN_PATH
from services.scim_gateway.turns import Turns

log = structlog.get_logger()

_GRACE_S = 5
_KEEP_ALIVE_S = 75


def main() -> None:
    """Run until SIGTERM, SIGINT or, if asked for, the end of stdin; exit status 2 says that a setting is wrong."""
    try:
        settings = load_settings()
    except InvalidSettingsError as error:
        print(f"muster-scim-gateway: {error}", file=sys.stderr)  # noqa: T201 - the one line an operator reads
        sys.exit(2)
    configure_logging("scim_gateway", level=settings.log_level)
    try:
        uvloop.run(serve(settings))
    except Exception as error:  # noqa: BLE001 - the outermost place: log it as every other fault, then be started anew
        log.error("scim_gateway.fault", **fault_of(error))
        sys.exit(1)


async def serve(settings: GatewaySettings) -> None:
    """Serve until told to end."""
    listener = listen_on(settings.listen)
    port = listener.getsockname()[1]
    async with open_forwarding_channel(settings.directory) as channel:
        activity = ActivityLog(channel)
        app = make_app(channel, base_url=settings.base_url, token_minutes=settings.token_minutes, activity=activity)
        app = behind_proxies(app, settings.trusted_proxies)
        server = GatewayServer(app, ready=lambda: announce(settings.listen, port))
        _end_when_told(server, with_stdin=settings.exit_with_stdin)
        await server.serve(sockets=[listener])
        await activity.flush(within_s=_GRACE_S)
    log.info("scim_gateway.ended")


def make_app(
    channel: grpc.aio.Channel,
    *,
    base_url: str = "",
    token_minutes: int = DEFAULT_MINUTES,
    activity: ActivityLog | None = None,
    with_shortcuts: bool = True,
) -> ASGIApp:
    """The web application over one channel to the directory; without shortcuts scim2-server answers everything."""
    slowing = Slowing(time.monotonic)
    gate = Gate(Turns(time.monotonic), slowing)
    endpoint = ScimEndpoint(channel, gate, base_url=base_url, activity=activity, with_shortcuts=with_shortcuts)
    tokens = TokenEndpoint(channel, slowing, base_url=base_url, minutes=token_minutes)
    others = Starlette(
        routes=[
            Route("/healthz", _healthy, methods=["GET"]),
            Route(TOKEN_PATH, tokens.token, methods=["POST"]),
            Route(METADATA_PATH, tokens.metadata, methods=["GET"]),
        ]
    )
    others.router.redirect_slashes = False
    others.router.default = not_found

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        """Take SCIM straight to its endpoint: nearly every request is one."""
        is_scim = scope["type"] == "http" and (scope["path"] == PREFIX or scope["path"].startswith(PREFIX + "/"))
        await (endpoint if is_scim else others)(scope, receive, send)

    return app


def behind_proxies(app: ASGIApp, trusted: str) -> ASGIApp:
    """Let a request come from where a trusted proxy says it came from, and by the scheme that it came to the proxy.

    Of X-Forwarded-For the last address counts that is no trusted proxy's: anybody may have written those before it.
    """
    if not trusted:
        return app
    wrapped: Any = ProxyHeadersMiddleware(app, trusted_hosts=trusted.split(","))  # type: ignore[arg-type]  # the same
    return cast("ASGIApp", wrapped)


async def _healthy(_: Request) -> JSONResponse:
    return JSONResponse({"status": "ok"})


class GatewayServer(uvicorn.Server):
    """uvicorn that says when it serves and leaves signals to us, so that its process ends with status 0."""

    def __init__(self, app: ASGIApp, *, ready: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                http=HttpProtocol,
                ws="none",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to serve, and say so."""
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals as they are."""
        yield


def listen_on(address: str) -> socket.socket:
    """Open the socket to serve on, `host:port`; port 0 takes a free one."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, int(port)), family=family, backlog=2048)
    # Each connection inherits it. asyncio sets it only on sockets that name their protocol, which these do not; without
    # it an answer's body waits 40 ms for the acknowledgement of its head.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _end_when_told(server: uvicorn.Server, *, with_stdin: bool) -> None:
    """Heed SIGTERM, SIGINT and, if asked for, the end of stdin: the parent is gone."""
    loop = asyncio.get_running_loop()

    def end() -> None:
        server.should_exit = True

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)
    if with_stdin:
        threading.Thread(target=_drain_stdin, args=(loop, end), daemon=True).start()


def _drain_stdin(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    loop.call_soon_threadsafe(end)


if __name__ == "__main__":
    main()
