"""Open a channel to a service: token, deadlines, retries and message sizes in one place."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any, NamedTuple

import grpc
import grpc.aio
from muster.runtime import identity

MAX_MESSAGE_BYTES = 8 * 1024 * 1024
DEFAULT_TIMEOUT_S = 30.0

# Retries are for reads and for methods that carry a request_id (or are idempotent by their nature): gRPC's own policy,
# so that every client has the same. CreateImportRun is left out: it waits a minute for its turn by itself (R44).
_RETRY = {
    "maxAttempts": 4,
    "initialBackoff": "0.2s",
    "maxBackoff": "2s",
    "backoffMultiplier": 2,
    "retryableStatusCodes": ["UNAVAILABLE"],
}
_RETRIED = {
    "muster.directory.v1.TenantService": [
        "CreateTenant",
        "GetTenant",
        "ListTenants",
        "UpdateTenant",
        "DeleteTenant",
    ],
    "muster.directory.v1.AccountService": [
        "CreateAccount",
        "GetAccount",
        "ListAccounts",
        "UpdateAccount",
        "MoveAccount",
        "DeleteAccount",
    ],
    "muster.directory.v1.GroupService": [
        "CreateGroup",
        "GetGroup",
        "ListGroups",
        "ListMemberships",
        "ModifyMemberships",
        "UpdateGroup",
        "DeleteGroup",
        "MoveGroup",
        "ReleaseGroupId",
        "ListReservedGroupIds",
    ],
    "muster.directory.v1.UserService": [
        "CreateUser",
        "GetUser",
        "BatchGetUsers",
        "ListUsers",
        "UpdateUser",
        "DeleteUser",
        "UndeleteUser",
        "ExportUser",
        "EraseUser",
    ],
    "muster.directory.v1.LicenseService": ["GetLicense", "UpdateLicense", "ListRefusals"],
    "muster.directory.v1.SourceService": [
        "CreateSource",
        "GetSource",
        "ListSources",
        "UpdateSource",
        "EnableSource",
        "DisableSource",
        "PauseSource",
        "ResumeSource",
        "DetachSource",
        "DeleteSource",
        "GetSourceSecret",
        "ListDropLogins",
        "ClaimDueSource",
        "RenewClaim",
        "ReleaseClaim",
    ],
    "muster.directory.v1.ImportService": [
        "RecordUnchangedFile",
        "AddImportIssues",
        "KeepRejectedRows",
        "DownloadRejectedRows",
        "RefuseImportRun",
        "PlanImport",
        "ApplyImport",
        "PlanUndo",
        "DiscardImportRun",
        "GetImportRun",
        "ListImportRuns",
        "ListImportChanges",
        "ListImportIssues",
        "ListImportRows",
    ],
    "muster.directory.v1.InvitationService": [
        "CreateInvitation",
        "BatchCreateInvitations",
        "GetInvitation",
        "ListInvitations",
        "RevokeInvitation",
        "MintInvitationLink",
        "AcceptInvitation",
    ],
    "muster.directory.v1.EventService": [
        "ListEvents",
        "AcknowledgeEvents",
        "ListSubscriptions",
        "DeleteSubscription",
    ],
    "muster.directory.v1.ApiKeyService": ["CreateApiKey", "ListApiKeys", "RotateApiKey", "RevokeApiKey", "FindApiKey"],
    "muster.directory.v1.AdministratorService": [
        "CreateAdministrator",
        "GetAdministrator",
        "ListAdministrators",
        "UpdateAdministrator",
        "DeleteAdministrator",
        "ResetAdministratorPassword",
        "SignOut",
        "GetSession",
    ],
    "muster.directory.v1.CredentialService": ["RequestPasswordReset", "MintPasswordResetLink", "ResetPassword"],
    "muster.directory.v1.ProvisioningService": [
        "GetProvisionedUser",
        "GetProvisionedGroup",
        "SearchProvisioned",
        "CreateProvisionedUser",
        "UpdateProvisionedUser",
        "DeleteProvisionedUser",
        "CreateProvisionedGroup",
        "UpdateProvisionedGroup",
        "DeleteProvisionedGroup",
        "BatchCall",
        "JudgeDepartures",
    ],
    "muster.directory.v1.ScimActivityService": ["ListActivity", "GetActivitySummary"],
    "muster.notifier.v1.MessageService": ["ListMessages", "GetMessage"],
}
SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": service, "method": method} for method in methods],
                "retryPolicy": _RETRY,
            }
            for service, methods in _RETRIED.items()
        ]
    }
)
OPTIONS: list[tuple[str, Any]] = [
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.enable_retries", 1),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
]


def open_channel(target: str, token: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> grpc.Channel:
    """Open a channel for threads. Unary calls without a deadline of their own get `timeout_s`; streams get none."""
    channel = grpc.insecure_channel(target, options=OPTIONS)
    return grpc.intercept_channel(channel, _Caller(token, timeout_s))


def open_aio_channel(target: str, token: str = "", *, timeout_s: float = DEFAULT_TIMEOUT_S) -> grpc.aio.Channel:
    """Open a channel for asyncio, with the same rules as `open_channel`."""
    interceptors: list[Any] = [
        _AioUnaryUnary(token, timeout_s),
        _AioUnaryStream(token, None),
        _AioStreamUnary(token, None),
        _AioStreamStream(token, None),
    ]
    return grpc.aio.insecure_channel(target, options=OPTIONS, interceptors=interceptors)


def open_forwarding_channel(target: str) -> grpc.aio.Channel:
    """Open a channel for asyncio whose calls each bring a key, a request id and a deadline of their own.

    Nothing is put in between: what `open_aio_channel` adds to a call costs as much as the rest of it.
    """
    return grpc.aio.insecure_channel(target, options=OPTIONS)


def wait_until_serving(target: str, *, timeout_s: float, alive: Callable[[], bool] = lambda: True) -> None:
    """Block until the service answers its health check; TimeoutError after `timeout_s`, or when `alive` says no."""
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415 - only those who wait need it

    deadline = time.monotonic() + timeout_s
    with grpc.insecure_channel(target, options=OPTIONS) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        while alive() and time.monotonic() < deadline:
            try:
                answer = check(health_pb2.HealthCheckRequest(), timeout=2.0)
            except grpc.RpcError:
                time.sleep(0.05)
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.05)
    raise TimeoutError(f"no healthy service at {target}")


class _Details(NamedTuple):
    """A call's details with what every call of ours carries."""

    method: str
    timeout: float | None
    metadata: Any
    credentials: Any
    wait_for_ready: Any
    compression: Any


def _dressed(details: Any, token: str, timeout_s: float | None) -> _Details:
    metadata = list(details.metadata or ())
    keys = {key for key, _ in metadata}
    if token and identity.AUTHORIZATION not in keys:
        metadata.append(identity.bearer(token))
    if identity.REQUEST_ID not in keys:
        metadata.append((identity.REQUEST_ID, uuid.uuid4().hex))
    timeout = details.timeout if details.timeout is not None else timeout_s
    return _Details(
        details.method,
        timeout,
        metadata,
        getattr(details, "credentials", None),
        getattr(details, "wait_for_ready", None),
        getattr(details, "compression", None),
    )


class _Caller(
    grpc.UnaryUnaryClientInterceptor,  # type: ignore[type-arg]  # not generic at run time
    grpc.UnaryStreamClientInterceptor,  # type: ignore[type-arg]  # not generic at run time
    grpc.StreamUnaryClientInterceptor,  # type: ignore[type-arg]  # not generic at run time
    grpc.StreamStreamClientInterceptor,  # type: ignore[type-arg]  # not generic at run time
):
    """Give every call of a sync channel its token, request id and deadline."""

    def __init__(self, token: str, timeout_s: float) -> None:
        self._token = token
        self._timeout_s = timeout_s

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(_dressed(client_call_details, self._token, self._timeout_s), request)

    def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return continuation(_dressed(client_call_details, self._token, None), request)

    def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(_dressed(client_call_details, self._token, None), request_iterator)

    def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return continuation(_dressed(client_call_details, self._token, None), request_iterator)


class _AioCaller:
    """The same for asyncio, where each kind of call wants an interceptor of its own class."""

    def __init__(self, token: str, timeout_s: float | None) -> None:
        self._token = token
        self._timeout_s = timeout_s

    def _details(self, details: Any) -> Any:
        dressed = _dressed(details, self._token, self._timeout_s)
        return grpc.aio.ClientCallDetails(
            dressed.method,
            dressed.timeout,
            grpc.aio.Metadata(*dressed.metadata),
            dressed.credentials,
            dressed.wait_for_ready,
        )


class _AioUnaryUnary(_AioCaller, grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._details(client_call_details), request)


class _AioUnaryStream(_AioCaller, grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        return await continuation(self._details(client_call_details), request)


class _AioStreamUnary(_AioCaller, grpc.aio.StreamUnaryClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_unary(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(self._details(client_call_details), request_iterator)


class _AioStreamStream(_AioCaller, grpc.aio.StreamStreamClientInterceptor):  # type: ignore[type-arg]
    async def intercept_stream_stream(self, continuation: Any, client_call_details: Any, request_iterator: Any) -> Any:
        return await continuation(self._details(client_call_details), request_iterator)
