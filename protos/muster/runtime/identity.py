"""Who calls: the bearer token and the request's id in gRPC metadata, on both sides."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

AUTHORIZATION = "authorization"
REQUEST_ID = "x-request-id"
TENANT = "muster-tenant"
Metadata = Iterable[tuple[str, str | bytes]]


def bearer(token: str) -> tuple[str, str]:
    """Write a token as a metadata entry."""
    return (AUTHORIZATION, f"Bearer {token}")


def token_of(metadata: Metadata | None) -> str | None:
    """Read the bearer token; None when there is none."""
    for key, value in metadata or ():
        if key == AUTHORIZATION and isinstance(value, str) and value.startswith("Bearer "):
            return value.removeprefix("Bearer ").strip()
    return None


def tenant_of(metadata: Metadata | None) -> str:
    """Read whose call the directory says it was, of a connection that shows no tenant by itself; empty: not told."""
    return next((value for key, value in metadata or () if key == TENANT and isinstance(value, str)), "")


def request_id_of(metadata: Metadata | None) -> str:
    """Read the id that joins one request's log lines, or make one."""
    for key, value in metadata or ():
        if key == REQUEST_ID and isinstance(value, str) and value:
            return value[:64]
    return uuid.uuid4().hex
