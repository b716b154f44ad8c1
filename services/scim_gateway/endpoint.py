"""Take one HTTP request: read it, check that it shows a key, serve it, answer, and log one line."""

from __future__ import annotations

import asyncio
import functools
import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import grpc.aio
import orjson
import structlog
from muster.runtime.telemetry import fault_of
from scim2_models import NotFoundException, SCIMException
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation, Target
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from services.scim_gateway.activity import ActivityLog
from services.scim_gateway.auth import credential_of, key_id_of, key_of
from services.scim_gateway.gate import Gate
from services.scim_gateway.handler import GatewayHandler
from services.scim_gateway.notes import Notes
from services.scim_gateway.outline import body_outline, method_outline, path_outline
from services.scim_gateway.problems import problem_of
from services.scim_gateway.service import GatewayService
from services.scim_gateway.shortcuts import short_answer
from services.scim_gateway.storage import DirectoryStorage

log = structlog.get_logger()

PREFIX = "/scim/v2"
# Who sends too much reads our answer only after the last byte; but nobody is listened to for ever.
_MOST_DRAINED_BYTES = 64 * 1024 * 1024
_LONGEST_READ_S = 20.0
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
        started, request_id, notes = time.monotonic(), uuid.uuid4().hex, Notes()
        came = datetime.now(UTC)
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                request = await self._read(scope, receive)
            except ClientDisconnect:
                return
            asked = replace(request)  # as it came: what follows may rewrite it
            response = await self._serve(request, request_id, notes, address=address_of(scope))
            took_ms = (time.monotonic() - started) * 1000
            log.info(
                "scim",
                method=request.method,
                route=self._route_of(request),
                status=int(response.status),
                ms=round(took_ms, 1),
                key_id=key_id_of(request.header("Authorization")),
                **notes.fields(),
            )
        try:
            await _answer(response, request_id)(scope, receive, send)
        finally:
            try:
                self._note(asked, notes, request_id=request_id, came=came, status=int(response.status), took_ms=took_ms)
            except Exception as error:  # noqa: BLE001 - whatever is asked, its answer is what counts
                log.error("activity.fault", **fault_of(error))

    def _note(
        self, asked: ScimRequest, notes: Notes, *, request_id: str, came: datetime, status: int, took_ms: float
    ) -> None:
        """Tell the activity log of a request that showed a key, when it has its answer."""
        credential = credential_of(asked.header("Authorization"))
        if not credential:
            return
        request = notes.request()
        request.request_id, request.status, request.duration_ms = request_id, status, int(took_ms)
        request.method = method_outline(asked.method)
        request.path, request.shape = path_outline(asked.path, asked.query), body_outline(asked.body)
        request.time.FromDatetime(came)
        self._activity.note(credential, request)

    async def _serve(self, request: ScimRequest, request_id: str, notes: Notes, *, address: str) -> ScimResponse:
        try:
            if self._service.match(request).operation in _OPEN:
                storage = DirectoryStorage(self._channel, "", request_id=request_id)
                return await GatewayHandler(self._service, storage, notes).handle(request)
            key = key_of(request.header("Authorization"))
            async with self._gate.entered(key, address) as turn:
                learn = functools.partial(self._gate.turns.learn, key)
                storage = DirectoryStorage(self._channel, key, request_id=request_id, learn_tenant=learn)
                notes.effects = storage.effects
                answer = await short_answer(self._service, storage, request) if self._with_shortcuts else None
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
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        request = ScimRequest(
            # HEAD is GET without the body (RFC 9110 §9.3.2), which the server leaves out.
            method="GET" if scope["method"] == "HEAD" else scope["method"],
            base_url=self._base_url or _origin(scope, headers) + PREFIX,
            path=str(scope["path"]).removeprefix(PREFIX) or "/",
            query=dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)),
            headers=headers,
        )
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


async def not_found(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer for every other path, in SCIM's own form: an HTML page tells an identity provider nothing."""
    error = NotFoundException(detail=f"Nothing is here. SCIM is served under {PREFIX}; check the base URL.").to_error()
    await _answer(ScimResponse(404, error.model_dump()), uuid.uuid4().hex)(scope, receive, send)  # type: ignore[arg-type]


def _origin(scope: Scope, headers: Iterable[tuple[str, str]]) -> str:
    host = next((value for name, value in headers if name == "host"), "")
    if not host and scope.get("server"):
        host = "{}:{}".format(*scope["server"])
    return f"{scope['scheme']}://{host}"


def _answer(response: ScimResponse, request_id: str) -> Response:
    content = b"" if response.body is None else _encoded(response.body)
    headers = {**response.headers, "Cache-Control": "no-store", "X-Request-Id": request_id}
    if response.body is None:
        headers.pop("Content-Type", None)
    return Response(content, status_code=int(response.status), headers=headers)


def _encoded(body: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(body)
    except TypeError:  # an error quotes half a character, or a number of more than 64 bits
        return json.dumps(body).encode()
