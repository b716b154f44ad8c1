"""Write and read tokens, `<family>_<id>_<secret><crc>`, and make the HMAC that is kept of one."""

from __future__ import annotations

import hmac
import re
import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
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


@dataclass(frozen=True)
class Derived:
    """What a derived token says: the tenant, the number of what it is for, and its generation."""

    tenant_id: int
    number: int
    generation: int


@dataclass(frozen=True)
class DerivedForm:
    """A family of tokens of which nothing is kept: each is made anew from what it says, under the server's pepper.

    Whoever reads one compares its generation, and whether its time is over, with the row that it names.
    """

    prefix: str

    def write(self, tenant_id: int, number: int, generation: int, *, pepper: bytes) -> str:
        """Write the token of one generation; the same each time."""
        head = f"{self.prefix}_{tenant_id:x}-{number:x}-{generation:x}"
        text = f"{head}_{_signature(head, pepper)}"
        return f"{text}{_crc(text)}"

    def read(self, token: str, *, pepper: bytes) -> Derived | None:
        """Read what a token says; None for one that was not made here, compared in constant time."""
        number = "([0-9a-f]{1,16})"
        form = re.fullmatch(
            rf"(?P<head>{self.prefix}_{number}-{number}-{number})_(?P<signature>[0-9a-f]{{64}})[0-9a-f]{{8}}", token
        )
        if form is None or not hmac.compare_digest(form["signature"], _signature(form["head"], pepper)):
            return None
        return Derived(*(int(form[place], 16) for place in (2, 3, 4)))


@dataclass(frozen=True)
class AccessToken:
    """What an access token says: the client's secret that it was given for, and when it ends."""

    key_id: str
    expire_time: datetime


@dataclass(frozen=True)
class AccessTokenForm:
    """A family of tokens of which nothing is kept, and that end by themselves or with their client's secret."""

    prefix: str

    def write(self, said: AccessToken, *, pepper: bytes) -> str:
        """Write a token; its end is cut to the second."""
        head = f"{self.prefix}_{said.key_id}_{int(said.expire_time.timestamp()):010x}"
        text = f"{head}_{_signature(head, pepper)}"
        return f"{text}{_crc(text)}"

    def read(self, token: str, *, pepper: bytes) -> AccessToken | None:
        """Read what a token says; None for one that was not made here, compared in constant time."""
        form = re.fullmatch(
            rf"(?P<head>{self.prefix}_(?P<id>[0-9a-z]{{12}})_(?P<end>[0-9a-f]{{10}}))"
            r"_(?P<signature>[0-9a-f]{64})[0-9a-f]{8}",
            token,
        )
        if form is None or not hmac.compare_digest(form["signature"], _signature(form["head"], pepper)):
            return None
        return AccessToken(form["id"], datetime.fromtimestamp(int(form["end"], 16), UTC))


SERVICE_TOKEN: Final = Form("mst_svc")
"""What services and operators carry."""

API_KEY: Final = Form("mst_scim")
"""What an identity provider carries: the key of a SCIM connection (S1)."""

CLIENT_SECRET: Final = Form("mst_sec")
"""A client's secret for OAuth 2.0, which is shown for access tokens alone (S13)."""

ACCESS_TOKEN: Final = AccessTokenForm("mst_oat")
"""What a client is given for its secret (S13)."""

ADMINISTRATOR_SESSION: Final = Form("mst_adm")
"""What a signed-in administrator carries."""

PASSWORD_LINK: Final = DerivedForm("mst_pwd")
"""What a link to choose a new password carries: a user of a tenant."""

INVITATION_LINK: Final = DerivedForm("mst_inv")
"""What the link of an invitation carries."""


def is_id(text: str) -> bool:
    """Say whether a text can be a token's id."""
    return _ID.fullmatch(text) is not None


def token_hmac(token: str, *, pepper: bytes) -> bytes:
    """Make what is kept of a token: HMAC-SHA-256 under the server's pepper."""
    return hmac.digest(pepper, token.encode(), "sha256")


def _signature(text: str, pepper: bytes) -> str:
    """Sign what a token says; the word before it keeps it apart from the HMACs that are kept."""
    return hmac.digest(pepper, f"derived:{text}".encode(), "sha256").hex()


def _crc(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"
