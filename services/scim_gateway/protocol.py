"""HTTP as uvicorn speaks it; but an answer is one packet, and what cannot be read as HTTP hears SCIM's own JSON."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

from scim2_models import Error
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from services.scim_gateway.streams import encoded

_DETAIL: Final = "This is no HTTP request, or its method is none of HTTP's. Check the base URL in the provider."
_BODY: Final = encoded(Error(status=400, detail=_DETAIL).model_dump())
_ANSWER: Final = b"\r\n".join(
    (
        b"HTTP/1.1 400 Bad Request",
        b"content-type: application/scim+json",
        b"content-length: %d" % len(_BODY),
        b"cache-control: no-store",
        b"connection: close",
        b"",
        _BODY,
    )
)


class HttpProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which knows the methods of HTTP alone: an invented one reaches no application."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin a connection."""
        super().connection_made(cast("asyncio.Transport", _Joining(transport)))

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, which are plain text
        """Answer, and close the connection: where the next request would begin is not known."""
        self.transport.write(_ANSWER)
        self.transport.close()


class _Joining:
    """A transport that sends an answer's head with what follows it at once; uvicorn writes them one after the other.

    Each write is a packet, and takes as long as a tenth of all that the gateway does for a request.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._head = b""

    def write(self, data: bytes) -> None:
        """Send, but keep a head for what comes with it in the same step of the loop."""
        if self._head:
            data, self._head = self._head + data, b""
        elif data.startswith(b"HTTP/"):
            self._head = data
            asyncio.get_running_loop().call_soon(self._flush)
            return
        self._transport.write(data)

    def close(self) -> None:
        """Send what has been kept, and close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            self._transport.write(self._head)
            self._head = b""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
