"""Serve gRPC: health, reflection, errors as the table says, one canonical log line a call, a clean end."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent import futures
from typing import Any, Self

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from muster.runtime import errors, identity, telemetry
from muster.runtime.client import MAX_MESSAGE_BYTES

log = structlog.get_logger()

OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
]

Translate = Callable[[Exception], errors.RpcError | None]
"""Turns an exception of the service's own (a lost database, say) into an error to tell, or None."""


class Server:
    """A gRPC server for threads, with health per service name and reflection.

    `register` gets the grpc.Server and adds the servicers; `service_names` are their full names.
    """

    def __init__(
        self,
        register: Callable[[grpc.Server], None],
        *,
        service_names: Sequence[str],
        address: str,
        threads: int = 32,
        interceptors: Sequence[Any] = (),
        translate: Translate = lambda _: None,
    ) -> None:
        self._threads = futures.ThreadPoolExecutor(threads, thread_name_prefix="rpc")
        self._server = grpc.server(
            self._threads,
            interceptors=[ErrorInterceptor(translate), *interceptors],
            options=OPTIONS,
        )
        register(self._server)
        self._names = [*service_names, ""]
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            [*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME], self._server
        )
        self.port = self._server.add_insecure_port(address)

    def start(self) -> None:
        """Begin to answer, and say so in health."""
        self._server.start()
        for name in self._names:
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)

    def stop(self, *, grace_s: float = 3.0) -> None:
        """Stop taking calls, let those under way end within `grace_s`, then cut them.

        A call that is cut has still a thread that works for it: it gets as long again to end, since what it works with
        is about to be closed.
        """
        self._health.enter_graceful_shutdown()
        self._server.stop(grace_s).wait()
        ending = threading.Thread(target=self._threads.shutdown, kwargs={"cancel_futures": True}, daemon=True)
        ending.start()
        ending.join(grace_s)


def wait_for_end(*, with_stdin: bool, ready: Callable[[], None] = lambda: None) -> None:
    """Block until SIGTERM, SIGINT or, if `with_stdin`, until stdin closes because the parent is gone.

    `ready` tells the world that the service serves; it is called once signals are heeded, so that an end that comes
    right after it is a clean one.
    """
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    ready()
    if with_stdin:
        threading.Thread(target=_drain_stdin, args=(ended,), daemon=True).start()
    while not ended.wait(0.5):  # a bounded wait lets Python run signal handlers
        pass


def announce(listen: str, port: int) -> None:
    """Tell whoever started this process where it listens: `{"listening": "host:port"}`, one line on stdout."""
    sys.stdout.write(json.dumps({"listening": f"{listen.rpartition(':')[0]}:{port}"}) + "\n")
    sys.stdout.flush()


def _drain_stdin(ended: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    ended.set()


class ErrorInterceptor(grpc.ServerInterceptor):  # type: ignore[type-arg]  # not generic at run time
    """Tell errors as the table says and log one line a call, with ids and never with what a person is called."""

    def __init__(self, translate: Translate) -> None:
        self._translate = translate
        self._wrapped: dict[str, Any] = {}

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Wrap each method's handler, once; health and reflection stay as they are."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = continuation(handler_call_details)
            if handler is None or method.startswith("/grpc."):
                return handler
            wrapped = self._wrapped[method] = self._wrap(handler, method)
        return wrapped

    def _wrap(self, handler: Any, method: str) -> Any:
        if handler.response_streaming:
            wrap = grpc.stream_stream_rpc_method_handler if handler.request_streaming else _unary_stream
            inner = handler.stream_stream or handler.unary_stream
            return wrap(self._streaming(inner, method), handler.request_deserializer, handler.response_serializer)
        wrap = (
            grpc.stream_unary_rpc_method_handler if handler.request_streaming else grpc.unary_unary_rpc_method_handler
        )
        inner = handler.stream_unary or handler.unary_unary
        return wrap(self._single(inner, method), handler.request_deserializer, handler.response_serializer)

    def _single(self, inner: Callable[[Any, Any], Any], method: str) -> Callable[[Any, Any], Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            with _logged(method, context) as line:
                try:
                    return inner(request, context)
                except Exception as error:  # noqa: BLE001 - the outermost place; it logs
                    self._tell(error, context, line)

        return call

    def _streaming(
        self, inner: Callable[[Any, Any], Iterator[Any]], method: str
    ) -> Callable[[Any, Any], Iterator[Any]]:
        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with _logged(method, context) as line:
                try:
                    yield from inner(request, context)
                except Exception as error:  # noqa: BLE001 - the outermost place; it logs
                    self._tell(error, context, line)

        return call

    def _tell(self, error: Exception, context: grpc.ServicerContext, line: _CallLine) -> None:
        if context.code() is not None:  # type: ignore[attr-defined]  # abort() was called inside
            raise error
        told = _known(error, self._translate)
        if told is None and not context.is_active():
            line.fields["reason"] = "CANCELLED"
            return
        told = told or _fault(error, method=line.method, request_id=line.request_id)
        line.fields["reason"] = told.reason
        context.abort_with_status(errors.to_status(told))


def told_of(error: Exception, translate: Translate, *, method: str, request_id: str) -> errors.RpcError:
    """Say what to tell for an exception; a fault of ours is logged, and told by no more than its request's id."""
    return _known(error, translate) or _fault(error, method=method, request_id=request_id)


def _known(error: Exception, translate: Translate) -> errors.RpcError | None:
    return error if isinstance(error, errors.RpcError) else translate(error)


def _fault(error: Exception, *, method: str, request_id: str) -> errors.RpcError:
    log.error("rpc.fault", method=method, request_id=request_id, **telemetry.fault_of(error))
    return errors.RpcError(f"internal fault, request id {request_id}")


_unary_stream = grpc.unary_stream_rpc_method_handler


class _CallLine:
    """The one log line of one call."""

    def __init__(self, method: str, context: grpc.ServicerContext) -> None:
        self.method = method
        self.request_id = identity.request_id_of(context.invocation_metadata())
        self.fields: dict[str, str] = {"reason": "OK"}
        self._started = 0.0

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        return self

    def __exit__(self, *_: object) -> None:
        log.info("rpc", method=self.method, ms=round((time.monotonic() - self._started) * 1000, 1), **self.fields)
        structlog.contextvars.unbind_contextvars("request_id")


_logged = _CallLine
