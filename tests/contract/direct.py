"""Call the gateway as an ASGI application, without a socket: any header, any escape, and thousands of requests soon."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import unquote

from muster.runtime.client import open_forwarding_channel
from starlette.types import ASGIApp

from services.scim_gateway.activity import ActivityLog
from services.scim_gateway.app import make_app

BASE = "/scim/v2"


@dataclass(frozen=True)
class Request:
    """A request as it goes over the wire; `target` is path and query under the base URL, escaped."""

    method: str
    target: str
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """What came back, and how long it took."""

    status: int
    headers: dict[str, str]
    body: bytes
    seconds: float


class Direct:
    """The gateway over one channel to a directory, with an event loop of its own."""

    def __init__(self, app: ASGIApp, runner: asyncio.Runner, activity: ActivityLog):
        self._app = app
        self._runner = runner
        self._activity = activity

    def ask(self, request: Request) -> Response:
        """Make one request and wait for its whole answer."""
        return self._runner.run(self._ask(request))

    def flush(self) -> None:
        """Let the activity log send what waits."""
        self._runner.run(self._activity.flush(within_s=30))

    async def _ask(self, request: Request) -> Response:
        path, _, query = (BASE + request.target).partition("?")
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "scheme": "http",
            "method": request.method,
            "path": unquote(path),  # as uvicorn does
            "raw_path": path.encode("ascii"),
            "query_string": query.encode("ascii"),
            "root_path": "",
            "headers": [
                (name.lower().encode("latin-1"), text.encode("latin-1")) for name, text in request.headers.items()
            ],
            "client": ("127.0.0.1", 40000),
            "server": ("127.0.0.1", 8080),
        }
        came = [{"type": "http.request", "body": request.body, "more_body": False}]
        sent = []

        async def receive():
            return came.pop(0) if came else {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        started = time.monotonic()
        await self._app(scope, receive, send)
        head, *rest = sent
        headers = {name.decode("latin-1").lower(): text.decode("latin-1") for name, text in head["headers"]}
        body = b"".join(each.get("body", b"") for each in rest)
        return Response(head["status"], headers, body, time.monotonic() - started)


@contextmanager
def direct(directory: str, *, with_shortcuts: bool = True) -> Iterator[Direct]:
    """Open a gateway that is called directly."""
    with asyncio.Runner() as runner:

        async def opened():
            channel = open_forwarding_channel(directory)
            activity = ActivityLog(channel)
            return channel, activity, make_app(channel, activity=activity, with_shortcuts=with_shortcuts)

        channel, activity, app = runner.run(opened())
        try:
            yield Direct(app, runner, activity)
        finally:
            runner.run(activity.flush(within_s=30))
            runner.run(channel.close())
