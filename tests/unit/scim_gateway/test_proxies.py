"""Where a request comes from, when a proxy brings it."""

from __future__ import annotations

import asyncio

import pytest

from services.scim_gateway.app import behind_proxies
from services.scim_gateway.endpoint import address_of

TRUSTED = "10.0.0.0/8,192.0.2.7"


def seen(trusted, peer, forwarded):
    """Address and scheme of a request that `peer` brings."""
    scopes = []

    async def app(scope, receive, send):
        scopes.append(scope)

    headers = [(b"x-forwarded-for", forwarded.encode()), (b"x-forwarded-proto", b"https")]
    scope = {"type": "http", "scheme": "http", "client": (peer, 4711), "headers": headers}
    asyncio.run(behind_proxies(app, trusted)(scope, None, None))
    return address_of(scopes[0]), scopes[0]["scheme"]


@pytest.mark.parametrize(
    ("trusted", "peer", "forwarded", "address", "scheme"),
    [
        (TRUSTED, "10.1.2.3", "203.0.113.9", "203.0.113.9", "https"),
        (TRUSTED, "192.0.2.7", "203.0.113.9, 10.9.9.9", "203.0.113.9", "https"),
        (
            TRUSTED,
            "10.1.2.3",
            "198.51.100.1, 203.0.113.9",
            "203.0.113.9",
            "https",
        ),  # the first: anybody says it
        (TRUSTED, "203.0.113.9", "198.51.100.1", "203.0.113.9", "http"),
        ("", "10.1.2.3", "203.0.113.9", "10.1.2.3", "http"),
    ],
)
def test_only_a_trusted_proxy_says_where_a_request_comes_from(trusted, peer, forwarded, address, scheme):
    assert seen(trusted, peer, forwarded) == (address, scheme)
