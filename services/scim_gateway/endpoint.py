"""Take one HTTP request: read it, check that it shows a key, serve it, answer, and log one line."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import grpc.aio
import structlog
from muster.runtime.telemetry import fault_of
from scim2_models import NotFoundException, SCIMException
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation, Target
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from services.scim_gateway.activity import ActivityLog
from services.scim_gateway.auth import credential_of, key_id_of, key_of
from services.scim_gateway.gate import Gate
from services.scim_gateway.handler import GatewayHandler
from services.scim_gateway.notes import Notes
from services.scim_gateway.outline import body_outline, method_outline, path_outline
from services.scim_gateway.problems import problem_of
from services.scim_gateway.sending import send_answer, send_pieces
from services.scim_gateway.service import GatewayService
from services.scim_gateway.shortcuts import short_answer
from services.scim_gateway.storage import DirectoryStorage
from services.scim_gateway.streams import Streamed

log = structlog.get_logger()

PREFIX = "/scim/v2"
# Who sends too much reads our answer only after the last byte; but nobody is listened to for ever.
_MOST_DRAINED_BYTES = 64 * 1024 * 1024
_LONGEST_READ_S = 20.0
_NS = 1_000_000_000
_WITH_BODY = frozenset({"content-length", "transfer-encoding"})
# What a service can do is no secret (RFC 7644 §4), and identity providers ask for it before they have a key.
_OPEN = frozenset(
    {
        Operation.service_provider_config,
        Operation.resource_types,
        Operation.resource_type,
        Operation.schemas,
        Operation.schema,
    }
)


@dataclass
class _Served:
    """What is known of a request while it is served, for its line in the log and in the activity log."""

    started_s: float
    came_ns: int
    """Since 1970."""
    request_id: str
    notes: Notes = field(default_factory=Notes)
    said: tuple[str, Mapping[str, str], bytes] = ("", {}, b"")
    status: int = 0
    took_ms: float = 0.0
    is_broken_off: bool = False


class _Request(ScimRequest):
    """A request whose headers are looked up and not looked for."""

    headers: dict[str, str]

    def header(self, name: str) -> str | None:
        """Read a header, whatever the case of its name."""
        return self.headers.get(name.lower())


class ScimEndpoint:
    """Everything under /scim/v2. Between requests it keeps the channel to the directory and what the gate remembers."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        gate: Gate,
        *,
        base_url: str = "",
        activity: ActivityLog | None = None,
        with_shortcuts: bool = True,
    ) -> None:
        self._channel = channel
        self._gate = gate
        self._activity = activity or ActivityLog(channel)
        self._base_url = base_url.rstrip("/")
        self._service = GatewayService()
        self._with_shortcuts = with_shortcuts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        served = _Served(time.monotonic(), time.time_ns(), uuid.uuid4().hex)
        with structlog.contextvars.bound_contextvars(request_id=served.request_id):
            try:
                request = await self._read(scope, receive)
            except ClientDisconnect:
                return
            # As it came: what follows may rewrite it.
            served.said = request.path, request.query, request.body
            response = await self._serve(request, served.request_id, served.notes, address=address_of(scope))
            served.status = int(response.status)
            if isinstance(response.body, Streamed):
                await self._stream(scope, send, request, response, served)
                return
            self._log(request, served)
        try:
            await send_answer(send, response, served.request_id)
        finally:
            self._note(request, served)

    async def _stream(
        self, scope: Scope, send: Send, request: ScimRequest, response: ScimResponse, served: _Served
    ) -> None:
        """Send an answer piece by piece; where the rest cannot be had, break it off, and say so."""
        try:
            await send_pieces(send, response, served.request_id, is_head=scope["method"] == "HEAD")
        except Exception as error:  # noqa: BLE001 - the answer has begun, so that nobody can be told but the log
            problem = self._service.error_response(error)
            served.status, served.notes.problem = int(problem.status), problem_of(error, int(problem.status))
            served.is_broken_off = True
        finally:
            self._log(request, served)
            self._note(request, served)

    def _log(self, request: ScimRequest, served: _Served) -> None:
        served.took_ms = (time.monotonic() - served.started_s) * 1000
        log.info(
            "scim",
            method=request.method,
            route=self._route_of(request),
            status=served.status,
            ms=round(served.took_ms, 1),
            key_id=key_id_of(request.header("Authorization")),
            **({"broken_off": True} if served.is_broken_off else {}),
            **served.notes.fields(),
        )

    def _note(self, request: ScimRequest, served: _Served) -> None:
        """Tell the activity log of a request that showed a key, when it has its answer."""
        credential = credential_of(request.header("Authorization"))
        if not credential:
            return
        try:
            path, query, body = served.said
            kept = served.notes.request()
            kept.request_id, kept.status, kept.duration_ms = served.request_id, served.status, int(served.took_ms)
            kept.method, kept.path = method_outline(request.method), path_outline(path, query)
            kept.shape = body_outline(body)
            kept.time.seconds, kept.time.nanos = divmod(served.came_ns, _NS)
            self._activity.note(credential, kept)
        except Exception as error:  # noqa: BLE001 - whatever is asked, its answer is what counts
            log.error("activity.fault", **fault_of(error))

    async def _serve(self, request: ScimRequest, request_id: str, notes: Notes, *, address: str) -> ScimResponse:
        try:
            if self._service.match(request).operation in _OPEN:
                storage = DirectoryStorage(self._channel, "", request_id=request_id)
                return await GatewayHandler(self._service, storage, notes).handle(request)
            key = key_of(request.header("Authorization"))
            async with self._gate.entered(key, address) as turn:
                storage = DirectoryStorage(
                    self._channel,
                    key,
                    request_id=request_id,
                    learn_tenant=functools.partial(self._gate.turns.learn, key),
                    later_turn=functools.partial(self._gate.turns.turn, key, address, is_begun=True),
                )
                notes.effects = storage.effects
                if self._with_shortcuts:
                    answer = await short_answer(self._service, storage, request, notes.quirk)
                    if answer is not None:
                        return answer
                handler = GatewayHandler(self._service, storage, notes, between_turns=turn.pass_on)
                return await handler.handle(request)
        except Exception as error:  # noqa: BLE001 - the outermost place; error_of logs a fault
            if isinstance(error, SCIMException):
                notes.reason = error.scim_type
            response = self._service.error_response(error)
            notes.problem = problem_of(error, int(response.status))
            return response

    async def _read(self, scope: Scope, receive: Receive) -> ScimRequest:
        """Read a request, of its body at most one byte more than is taken, so that more is refused and not kept."""
        request = _Request(
            # HEAD is GET without the body (RFC 9110 §9.3.2), which the server leaves out.
            method="GET" if scope["method"] == "HEAD" else scope["method"],
            base_url=self._base_url,
            path=str(scope["path"]).removeprefix(PREFIX) or "/",
            headers=_headers_of(scope),
        )
        if scope["query_string"]:
            request.query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        if not self._base_url:
            request.base_url = _origin(scope, request.headers) + PREFIX
        if request.method == "GET" and not request.headers.keys() & _WITH_BODY:
            return request
        limit = self._service.max_body_size(request)
        assert limit is not None
        try:
            async with asyncio.timeout(_LONGEST_READ_S):
                request.body = await _body(receive, limit)
        except TimeoutError:
            raise ClientDisconnect from None  # whoever sends nothing for so long reads nothing either
        return request

    def _route_of(self, request: ScimRequest) -> str:
        """The request's path with ids left out."""
        try:
            target = self._service.match(request)
        except SCIMException:
            return "other"
        return f"{PREFIX}{self._template(target, request)}"

    def _template(self, target: Target, request: ScimRequest) -> str:
        if target.endpoint is None:
            return f"/{request.path.strip('/').partition('/')[0]}{'/{id}' if target.resource_id else ''}"
        kind = self._service.get_resource_type_by_endpoint(target.endpoint)
        endpoint = str(kind.endpoint) if kind else "/{endpoint}"
        if target.operation is Operation.search_with_body:
            return f"{endpoint}/.search"
        return f"{endpoint}/{{id}}" if target.resource_id else endpoint


def address_of(scope: Scope) -> str:
    """Read where a request comes from."""
    return str(scope["client"][0]) if scope.get("client") else ""


async def _body(receive: Receive, limit: int) -> bytes:
    """Read a body, and keep one byte more than `limit` at most. Errors: ClientDisconnect."""
    body, received, more = bytearray(), 0, True
    while more and received <= _MOST_DRAINED_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        received += len(message.get("body", b""))
        if len(body) <= limit:
            body += message.get("body", b"")
        more = message.get("more_body", False)
    return bytes(body[: limit + 1])


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001 - ASGI's signature
    """Answer for every other path, in SCIM's own form: an HTML page tells an identity provider nothing."""
    error = NotFoundException(detail=f"Nothing is here. SCIM is served under {PREFIX}; check the base URL.").to_error()
    await send_answer(send, ScimResponse(404, error.model_dump()), uuid.uuid4().hex)  # type: ignore[arg-type]


def _headers_of(scope: Scope) -> dict[str, str]:
    """Read the headers; repeated ones are one, with commas between (RFC 9110 §5.3)."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _origin(scope: Scope, headers: Mapping[str, str]) -> str:
    host = headers.get("host", "")
    if not host and scope.get("server"):
        host = "{}:{}".format(*scope["server"])
    return f"{scope['scheme']}://{host}"
