"""Write and read service tokens, `mst_svc_<id>_<secret><crc>`, and make the HMAC that is kept of one."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib

_FORM = re.compile(r"mst_svc_(?P<token_id>[0-9a-z]{12})_[0-9a-f]{64}(?P<crc>[0-9a-f]{8})")


def write_token(token_id: str, secret: bytes) -> str:
    """Write a token of a 12-character id and a secret of 32 bytes; its end is the CRC-32 of what stands before."""
    text = f"mst_svc_{token_id}_{secret.hex()}"
    return f"{text}{_crc(text)}"


def token_id_of(token: str) -> str | None:
    """Read the id; None for what is no token or has been mistyped."""
    form = _FORM.fullmatch(token)
    if form is None or _crc(token[:-8]) != form["crc"]:
        return None
    return form["token_id"]


def token_hmac(token: str, *, pepper: bytes) -> bytes:
    """Make what is kept of a token: HMAC-SHA-256 under the server's pepper."""
    return hmac.new(pepper, token.encode(), hashlib.sha256).digest()


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
