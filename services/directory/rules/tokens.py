"""Write and read tokens, `<family>_<id>_<secret><crc>`, and make the HMAC that is kept of one."""

from __future__ import annotations

import hashlib
import hmac
import re
import zlib
from dataclasses import dataclass
from typing import Final

ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
"""What ids are made of."""

ID_LENGTH: Final = 12
_ID: Final = re.compile(r"[0-9a-z]{12}")


@dataclass(frozen=True)
class Form:
    """A family of tokens; `prefix` is how each of them begins."""

    prefix: str

    def write(self, token_id: str, secret: bytes) -> str:
        """Write a token of a 12-character id and a secret of 32 bytes; its end is the CRC-32 of what stands before."""
        text = f"{self.prefix}_{token_id}_{secret.hex()}"
        return f"{text}{_crc(text)}"

    def id_of(self, token: str) -> str | None:
        """Read the id; None for what is no token of the family or has been mistyped."""
        form = re.fullmatch(rf"{self.prefix}_(?P<id>[0-9a-z]{{12}})_[0-9a-f]{{64}}(?P<crc>[0-9a-f]{{8}})", token)
        if form is None or _crc(token[:-8]) != form["crc"]:
            return None
        return form["id"]


SERVICE_TOKEN: Final = Form("mst_svc")
"""What services and operators carry."""

API_KEY: Final = Form("mst_scim")
"""What an identity provider carries: the key of a SCIM connection (S1)."""


def is_id(text: str) -> bool:
    """Say whether a text can be a token's id."""
    return _ID.fullmatch(text) is not None


def token_hmac(token: str, *, pepper: bytes) -> bytes:
    """Make what is kept of a token: HMAC-SHA-256 under the server's pepper."""
    return hmac.new(pepper, token.encode(), hashlib.sha256).digest()


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
