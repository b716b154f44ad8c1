"""Write the links that people are mailed: a tenant's own page, with a token that says what it is for."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit


def with_token(accept_url: str, token: str) -> str:
    """Put `?token=…` on a tenant's `accept_url`, beside whatever else its query holds (R36)."""
    parts = urlsplit(accept_url)
    query = [(name, value) for name, value in parse_qsl(parts.query, keep_blank_values=True) if name != "token"]
    return urlunsplit(parts._replace(query=urlencode([*query, ("token", token)])))
