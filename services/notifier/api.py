"""Answer MessageService: read a tenant's messages, if the directory lets the caller see the tenant."""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
import time
from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import wraps
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog
from google.protobuf.timestamp_pb2 import Timestamp
from muster.directory.v1 import tenants_pb2, tenants_pb2_grpc
from muster.notifier.v1 import messages_pb2, messages_pb2_grpc
from muster.runtime import identity
from muster.runtime.errors import RpcError, failure_of, to_status
from muster.runtime.names import InvalidNameError, decode_id, encode_id
from muster.runtime.telemetry import fault_of

from services.notifier.mail import STANDARD, Templates
from services.notifier.marks import readable
from services.notifier.messages import Message, MessageState, MessageStore
from services.notifier.samples import Sample, samples

log = structlog.get_logger()

SERVICE_NAME = "muster.notifier.v1.MessageService"
_DEFAULT_PAGE = 100
_MOST_PAGE = 1_000
_PREFIX = "msg"
_TENANT = re.compile(r"tenants/[^/]+")
_PASSED_ON = {"UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "INVALID_ARGUMENT"}

Request = TypeVar("Request")
Response = TypeVar("Response")


class UnauthenticatedError(RpcError):
    """The call carries no token."""

    reason = "UNAUTHENTICATED"


class MessageNotFoundError(RpcError):
    """The tenant has no such message."""

    reason = "NOT_FOUND"


class NothingToSendError(RpcError):
    """The message has no text any more."""

    reason = "FAILED_PRECONDITION"


class InvalidPageTokenError(RpcError):
    """The page token was not made by this method for this tenant."""

    reason = "INVALID_PAGE_TOKEN"


class InvalidArgumentError(RpcError):
    """A field of the request is malformed."""

    reason = "INVALID_ARGUMENT"


class DirectoryUnavailableError(RpcError):
    """The directory, which knows what a caller may, does not answer."""

    reason = "STORE_UNAVAILABLE"
    retry_after_s = 1.0


class DirectoryRefusedError(RpcError):
    """The directory said no, with its own reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def _told(
    method: Callable[[Any, Request, Any], Awaitable[Response]],
) -> Callable[[Any, Request, Any], Awaitable[Response]]:
    """Tell errors as the table says and log one line a call."""

    @wraps(method)
    async def call(servicer: Any, request: Request, context: Any) -> Response:
        started, told = time.monotonic(), None
        request_id = identity.request_id_of(context.invocation_metadata())
        try:
            return await method(servicer, request, context)
        except RpcError as error:
            told = error
        except Exception as error:  # noqa: BLE001 - outermost; it logs
            log.error("rpc.fault", method=method.__name__, request_id=request_id, **fault_of(error))
            told = RpcError(f"internal fault, request id {request_id}")
        finally:
            milliseconds = round((time.monotonic() - started) * 1000, 1)
            reason = told.reason if told else "OK"
            log.info("rpc", method=method.__name__, ms=milliseconds, reason=reason, request_id=request_id)
        status = to_status(told)
        await context.abort(status.code, status.details, status.trailing_metadata)
        raise AssertionError("abort returned")

    return call


class MessageServicer(messages_pb2_grpc.MessageServiceServicer):
    """Reads the store; the caller's own token decides, shown to the directory on every call."""

    def __init__(
        self,
        store: MessageStore,
        channel: grpc.aio.Channel,
        *,
        now: Callable[[], datetime],
        queued: Callable[[], None],
        templates: Templates = STANDARD,
    ) -> None:
        self._store = store
        self._now = now
        self._queued = queued
        self._templates = templates
        self._tenants = tenants_pb2_grpc.TenantServiceStub(channel)

    @_told
    async def ListMessages(  # noqa: N802 - the contract's name
        self, request: messages_pb2.ListMessagesRequest, context: Any
    ) -> messages_pb2.ListMessagesResponse:
        """Page through a tenant's messages, newest first."""
        await self._authorize(request.tenant, context)
        if request.page_size < 0:
            raise InvalidArgumentError("page_size is negative", violations=[("page_size", "at least 0")])
        size = min(request.page_size or _DEFAULT_PAGE, _MOST_PAGE)
        before = _read_page_token(request.page_token, request.tenant)
        rows = await asyncio.to_thread(self._store.page, request.tenant, before=before, limit=size + 1)
        page = rows[:size]
        return messages_pb2.ListMessagesResponse(
            messages=[_to_proto(row) for row in page],
            next_page_token=_page_token(request.tenant, page[-1].key) if len(rows) > size else "",
        )

    @_told
    async def GetMessage(  # noqa: N802 - the contract's name
        self, request: messages_pb2.GetMessageRequest, context: Any
    ) -> messages_pb2.GetMessageResponse:
        """Read one message with its bodies."""
        row = await self._authorized_row(request.name, context)
        message = _to_proto(row)
        message.text, message.html = readable(row.text), readable(row.html)
        return messages_pb2.GetMessageResponse(message=message)

    @_told
    async def ResendMessage(  # noqa: N802 - the contract's name
        self, request: messages_pb2.ResendMessageRequest, context: Any
    ) -> messages_pb2.ResendMessageResponse:
        """Queue a message once more."""
        row = await self._authorized_row(request.name, context)
        again = await asyncio.to_thread(self._store.queue_again, row.tenant, row.key, now=self._now())
        if again is None:
            raise NothingToSendError("the text of this message was erased; nothing is left to send")
        self._queued()
        return messages_pb2.ResendMessageResponse(message=_to_proto(again))

    @_told
    async def PreviewMessages(  # noqa: N802 - the contract's name
        self, request: messages_pb2.PreviewMessagesRequest, context: Any
    ) -> messages_pb2.PreviewMessagesResponse:
        """Render mails with made-up values."""
        tenant = await self._authorize(request.tenant, context)
        shown = samples(language=request.language or tenant.language, tenant_name=tenant.display_name)
        wanted = [sample for sample in shown if request.kind in {messages_pb2.MESSAGE_KIND_UNSPECIFIED, sample.kind}]
        return messages_pb2.PreviewMessagesResponse(previews=[self._preview(sample) for sample in wanted])

    def _preview(self, sample: Sample) -> messages_pb2.Preview:
        mail = sample.render(self._templates)
        kind = messages_pb2.MessageKind.ValueType(sample.kind)
        text, html = readable(mail.text), readable(mail.html)
        return messages_pb2.Preview(name=sample.name, kind=kind, subject=mail.subject, text=text, html=html)

    async def _authorized_row(self, name: str, context: Any) -> Message:
        tenant, _, identifier = name.rpartition("/messages/")
        await self._authorize(tenant, context)
        try:
            key = decode_id(_PREFIX, identifier)
        except InvalidNameError:
            raise MessageNotFoundError(f"no message {name}") from None
        row = await asyncio.to_thread(self._store.get, tenant, key)
        if row is None:
            raise MessageNotFoundError(f"no message {name}")
        return row

    async def _authorize(self, tenant: str, context: Any) -> tenants_pb2.Tenant:
        """Ask the directory as the caller, and never with the notifier's own token."""
        if not _TENANT.fullmatch(tenant):
            raise InvalidArgumentError("no tenant is named", violations=[("tenant", "must be tenants/{tenant}")])
        token = identity.token_of(context.invocation_metadata())
        if not token:
            raise UnauthenticatedError("the call carries no token")
        try:
            request = tenants_pb2.GetTenantRequest(name=tenant)
            answer = await self._tenants.GetTenant(request, metadata=(identity.bearer(token),))
        except grpc.aio.AioRpcError as error:
            failure = failure_of(error)
            if failure.reason in _PASSED_ON:
                raise DirectoryRefusedError(failure.reason, failure.message) from error
            raise DirectoryUnavailableError("the directory does not answer; try again") from error
        return answer.tenant


def _to_proto(row: Message) -> messages_pb2.Message:
    """Write a message without its bodies."""
    return messages_pb2.Message(
        name=f"{row.tenant}/messages/{encode_id(_PREFIX, row.key)}",
        kind=messages_pb2.MessageKind.ValueType(row.kind),
        to=row.recipient,
        subject=row.subject,
        state=messages_pb2.MessageState.ValueType(row.state),
        attempts=row.attempts,
        last_error=row.last_error,
        message_id=row.message_id,
        about=row.about,
        create_time=_timestamp(row.create_time),
        send_time=_timestamp(row.send_time) if row.send_time else None,
        possible_repeats=row.possible_repeats,
        next_attempt_time=_timestamp(row.next_attempt_at) if row.state == MessageState.QUEUED else None,
        attachment_name=row.attachment_name,
    )


def _timestamp(moment: Any) -> Timestamp:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def _page_token(tenant: str, key: int) -> str:
    return base64.urlsafe_b64encode(f"messages {tenant} {key}".encode()).decode()


def _read_page_token(token: str, tenant: str) -> int | None:
    if not token:
        return None
    try:
        kind, of_tenant, key = base64.urlsafe_b64decode(token.encode()).decode().split(" ")
        number = int(key)
    except (ValueError, binascii.Error):
        raise InvalidPageTokenError("the page token was not made here") from None
    if (kind, of_tenant) != ("messages", tenant) or not 0 < number < 2**63:
        raise InvalidPageTokenError("the page token is another list's")
    return number
