"""Serve the directory for a bench, by threads as it is released, or its servicers on an asyncio server to compare."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import grpc.aio
from muster.runtime.server import OPTIONS, ErrorInterceptor
from muster.runtime.telemetry import configure_logging

from services.directory.api.access import AccessInterceptor
from services.directory.api.registration import register_all
from services.directory.api.servicer import Resources
from services.directory.api.translate import translate
from services.directory.app import Directory, make_resources
from services.directory.operations.apply_worker import ApplyWorker
from services.directory.operations.housekeeping import Housekeeper
from services.directory.operations.imports import Imports
from services.directory.operations.tokens import create_token
from services.directory.rules.grants import Grant
from services.directory.settings import Settings
from services.directory.store.migrations import migrate

THREADS = 32


class Intercepted:
    """Takes servicers as a grpc.Server does, and lets the directory's interceptors stand before them."""

    def __init__(self, interceptors: Sequence[Any]) -> None:
        self._interceptors = interceptors
        self.handlers: list[Any] = []

    def add_generic_rpc_handlers(self, handlers: Sequence[Any]) -> None:
        """Keep the handlers of one service, intercepted."""
        self.handlers += [_Intercepted(handler, self._interceptors) for handler in handlers]

    def add_registered_method_handlers(self, *_: Any) -> None:
        """The same methods once more, which an asyncio server does not take."""


class _Intercepted(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # not generic at run time
    def __init__(self, inner: Any, interceptors: Sequence[Any]) -> None:
        self._inner = inner
        self._interceptors = interceptors

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        continuation = self._inner.service
        for interceptor in reversed(self._interceptors):
            continuation = _bind(interceptor, continuation)
        handler = continuation(handler_call_details)
        if handler is None or handler.request_streaming or handler.response_streaming:
            return handler
        inner: Any = handler.unary_unary
        return grpc.unary_unary_rpc_method_handler(
            lambda request, context: inner(request, _Context(context)),
            handler.request_deserializer,
            handler.response_serializer,
        )


class _Context:
    """The context of a call, with what threads have and asyncio's wrapper for threads has not."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def code(self) -> None:
        """None: the call has not been ended."""

    def is_active(self) -> bool:
        """Say that somebody waits."""
        return True

    def time_remaining(self) -> float | None:
        """Say that there is time."""
        return None

    def abort_with_status(self, status: grpc.Status) -> None:
        """End the call."""
        self._inner.abort(status.code, status.details, status.trailing_metadata)


def _bind(interceptor: Any, continuation: Any) -> Any:
    return lambda details: interceptor.intercept_service(continuation, details)


def main() -> int:
    """Serve until SIGTERM; prints where, and a token of vendor support's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--server", choices=["threads", "aio"], default="threads")
    options = parser.parse_args()
    os.environ.setdefault("DIRECTORY_LOG_LEVEL", "WARNING")
    settings = Settings()  # type: ignore[call-arg]  # read from the environment
    configure_logging("directory", level=settings.log_level)
    migrate(settings.database_url)
    resources = make_resources(settings)
    with resources.store.write(None) as session:
        token = create_token(session, Grant.SUPPORT, 0, pepper=resources.pepper, now=resources.clock())
    if options.server == "aio":
        asyncio.run(_serve_aio(resources, token))
        return 0
    directory = Directory(resources, "127.0.0.1:0")
    directory.start()
    _say(directory.port, token)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    while not ended.wait(0.5):
        pass
    directory.stop()
    return 0


async def _serve_aio(resources: Resources, token: str) -> None:
    taken = Intercepted(
        [
            ErrorInterceptor(translate),
            AccessInterceptor(resources.store, pepper=resources.pepper, clock=resources.clock),
        ]
    )
    imports = Imports(resources.store, resources.stages, clock=resources.clock)
    housekeeper = Housekeeper(imports, resources.seal, resources.event_retention)
    register_all(taken, resources, imports, ApplyWorker(imports), housekeeper)  # type: ignore[arg-type]  # all it needs
    server = grpc.aio.server(migration_thread_pool=ThreadPoolExecutor(THREADS), options=OPTIONS)
    server.add_generic_rpc_handlers(taken.handlers)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    _say(port, token)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()
    await server.stop(1.0)


def _say(port: int, token: str) -> None:
    sys.stdout.write(json.dumps({"directory": f"127.0.0.1:{port}", "token": token}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
