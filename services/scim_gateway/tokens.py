"""Give access tokens for clients' secrets: the OAuth 2.0 client credentials grant (RFC 6749 §4.4), and where it is."""

from __future__ import annotations

import base64
import binascii
import re
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlsplit

import grpc.aio
import structlog
from muster.directory.v1 import api_keys_pb2, api_keys_pb2_grpc
from muster.runtime import identity
from muster.runtime.errors import failure_of
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse

from services.scim_gateway.auth import SlowedKeyException
from services.scim_gateway.errors import TryLaterException, scim_error
from services.scim_gateway.gate import too_many_failures
from services.scim_gateway.slowing import Names, Slowing, TooManyFailuresError
from services.scim_gateway.storage import DEADLINE_S
from services.scim_gateway.turns import Turns

log = structlog.get_logger()

PATH = "/oauth2/token"
METADATA_PATH = "/.well-known/oauth-authorization-server"
DEFAULT_MINUTES = 60

_AT_ONCE = 4
_MOST_BYTES = 8 * 1024
_GRANT = "client_credentials"
_FORM = "application/x-www-form-urlencoded"
_PLAIN = re.compile(r"[\x20-\x7e]{0,512}")


class OAuthError(Exception):
    """A request that gets no token; `error` is one of RFC 6749 §5.2."""

    def __init__(
        self, error: str, description: str, *, status: int = 400, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(error)
        self.error, self.description, self.status = error, description, status
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Credentials:
    """What a client shows."""

    client_id: str
    client_secret: str


class TokenEndpoint:
    """Answers POST /oauth2/token, and says in its metadata (RFC 8414) that it does."""

    def __init__(
        self, channel: grpc.aio.Channel, slowing: Slowing, *, base_url: str = "", minutes: int = DEFAULT_MINUTES
    ) -> None:
        self._stub: Any = api_keys_pb2_grpc.ApiKeyServiceStub(channel)
        self._slowing = slowing
        self._turns = Turns(time.monotonic, at_once=_AT_ONCE)
        self._origin = "{0.scheme}://{0.netloc}".format(urlsplit(base_url)) if base_url else ""
        self._minutes = minutes

    async def token(self, request: Request) -> JSONResponse:
        """Give a token; 60 to 360 minutes long, as the settings say."""
        started, request_id = time.monotonic(), uuid.uuid4().hex
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            try:
                answer = JSONResponse(await self._issued(request, request_id))
            except OAuthError as error:
                said = {"error": error.error, "error_description": error.description}
                answer = JSONResponse(said, status_code=error.status, headers=error.headers)
            except ClientDisconnect:
                answer = JSONResponse({}, status_code=400)
            ms = round((time.monotonic() - started) * 1000, 1)
            log.info("scim.token", status=answer.status_code, ms=ms)
        answer.headers.update({"Cache-Control": "no-store", "Pragma": "no-cache", "X-Request-Id": request_id})
        return answer

    async def metadata(self, request: Request) -> JSONResponse:
        """Say where tokens are given and to whom (RFC 8414)."""
        origin = self._origin or str(request.base_url).rstrip("/")
        return JSONResponse(
            {
                "issuer": origin,
                "token_endpoint": origin + PATH,
                "grant_types_supported": [_GRANT],
                "response_types_supported": [],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            }
        )

    async def _issued(self, request: Request, request_id: str) -> dict[str, Any]:
        form = await _form_of(request)
        shown = _credentials_of(request.headers.get("Authorization"), form)
        if not form.get("grant_type"):
            raise OAuthError("invalid_request", f"grant_type is missing; it must be {_GRANT}.")
        if form["grant_type"] != _GRANT:
            raise OAuthError("unsupported_grant_type", f"grant_type must be {_GRANT}.")
        address = request.client.host if request.client else ""
        names: Names = (("client", shown.client_id[:64]), ("address", address))
        # Both count: a secret that is wrong for one client may be right for another.
        said = f"{shown.client_id}\n{shown.client_secret}"
        try:
            if self._slowing.is_known_to_be_wrong(said, names):
                raise _invalid_client()
            async with self._turns.turn("", address):
                issued = await self._ask(shown, request_id)
        except TryLaterException as error:
            raise _later(error) from None
        except OAuthError as error:
            if error.status == 401:
                await self._slow_down(said, names, error)
            raise
        self._slowing.passed(names[0])
        return {"access_token": issued.access_token, "token_type": "Bearer", "expires_in": issued.expires_in}

    async def _slow_down(self, said: str, names: Names, refused: OAuthError) -> None:
        try:
            if await self._slowing.failed(said, names):
                refused.headers["Retry-After"] = SlowedKeyException.retry_after
        except TooManyFailuresError as error:
            raise _later(too_many_failures(error)) from None

    async def _ask(self, shown: Credentials, request_id: str) -> api_keys_pb2.IssueAccessTokenResponse:
        wanted = api_keys_pb2.IssueAccessTokenRequest(
            client_id=shown.client_id, client_secret=shown.client_secret, lifetime_minutes=self._minutes
        )
        metadata = ((identity.REQUEST_ID, request_id),)
        try:
            answer: api_keys_pb2.IssueAccessTokenResponse = await self._stub.IssueAccessToken(
                wanted, metadata=metadata, timeout=DEADLINE_S
            )
        except grpc.RpcError as error:
            raise _refusal(error) from None
        return answer


async def _form_of(request: Request) -> dict[str, str]:
    """Read the form. Errors: OAuthError."""
    if request.headers.get("Content-Type", "").partition(";")[0].strip().lower() != _FORM:
        raise OAuthError("invalid_request", f"The request's Content-Type must be {_FORM}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise OAuthError("invalid_request", f"The request is larger than {_MOST_BYTES} bytes.")
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=50)
    except ValueError:
        raise OAuthError("invalid_request", "The request is no form.") from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise OAuthError("invalid_request", "A parameter is there twice.")
    return form


def _credentials_of(authorization: str | None, form: Mapping[str, str]) -> Credentials:
    """Read who asks, from the header (client_secret_basic) or the form (client_secret_post). Errors: OAuthError."""
    in_form = "client_secret" in form
    if authorization is None:
        if not in_form or not form.get("client_id"):
            raise _invalid_client()
        shown = Credentials(form["client_id"], form["client_secret"])
    elif in_form:
        raise OAuthError("invalid_request", "Show the client's secret in the header or in the form, and not in both.")
    else:
        shown = _basic(authorization)
        if form.get("client_id", shown.client_id) != shown.client_id:
            raise OAuthError("invalid_request", "The header and the form name two clients.")
    if not (_PLAIN.fullmatch(shown.client_id) and _PLAIN.fullmatch(shown.client_secret)):
        raise _invalid_client()
    return shown


def _basic(authorization: str) -> Credentials:
    """Read a header of the scheme Basic; each half is form-encoded in it (RFC 6749 §2.3.1). Errors: OAuthError."""
    scheme, _, encoded = authorization.strip().partition(" ")
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise _invalid_client() from None
    client_id, colon, secret = text.partition(":")
    if scheme.lower() != "basic" or not colon:
        raise _invalid_client()
    return Credentials(unquote_plus(client_id), unquote_plus(secret))


def _invalid_client() -> OAuthError:
    return OAuthError(
        "invalid_client",
        "The client or its secret is missing, not known, revoked or expired.",
        status=401,
        headers={"WWW-Authenticate": 'Basic realm="SCIM"'},
    )


def _refusal(error: grpc.RpcError) -> OAuthError:
    if failure_of(error).reason in {"UNAUTHENTICATED", "INVALID_ARGUMENT"}:
        return _invalid_client()
    told = scim_error(error)
    if isinstance(told, TryLaterException):
        return _later(told)
    log.error("scim.token_fault", reason=failure_of(error).reason)
    return OAuthError("server_error", "A fault of ours; the log has it under the request's id.", status=500)


def _later(told: TryLaterException) -> OAuthError:
    """Tell to wait: 429 after failed attempts, 503 while the register is away."""
    status = 503 if told.status == 503 else 429
    return OAuthError(
        "temporarily_unavailable", str(told.detail), status=status, headers={"Retry-After": told.retry_after}
    )
