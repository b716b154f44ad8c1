"""Answer what cannot be read as HTTP as everything else is answered: with SCIM's own JSON."""

from __future__ import annotations

from typing import Final

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

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's words, which are plain text
        """Answer, and close the connection: where the next request would begin is not known."""
        self.transport.write(_ANSWER)
        self.transport.close()
