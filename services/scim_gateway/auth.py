"""Read the key that an identity provider shows; the directory alone knows whether it opens."""

from __future__ import annotations

import re

from scim2_models import UnauthorizedException

_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/-]{1,4096}=*)", re.IGNORECASE)
_OURS = ("mst_scim_", "mst_oat_")
_KEY = re.compile(r"mst_(?:scim|oat)_([A-Za-z0-9]{1,32})_")
_FORM = re.compile(r"mst_[a-z]{3,4}_[A-Za-z0-9_]{1,256}")

REFUSED = (
    "The key is missing, not known, revoked or expired. Put a valid key of this connection into the identity "
    "provider as its bearer token (secret token), without quotes or spaces."
)


class MissingKeyException(UnauthorizedException):
    """There is no bearer token at all."""


class SlowedKeyException(UnauthorizedException):
    """The key is wrong, as many before it: the answer was held back, and the next attempt should wait."""

    retry_after = "1"


def key_of(authorization: str | None) -> str:
    """Take the key out of an Authorization header; UnauthorizedException when there is none, or it cannot be ours."""
    match = _BEARER.fullmatch((authorization or "").strip())
    if match is None:
        raise MissingKeyException(detail=REFUSED)
    if not _FORM.fullmatch(match[1]):
        raise UnauthorizedException(detail=REFUSED)
    return match[1]


def id_of(key: str) -> str:
    """Read which key or client's secret it is, or was given for; empty when it is none of ours."""
    match = _KEY.match(key)
    return match[1] if match else ""


def credential_of(authorization: str | None) -> str:
    """Read what may be a credential of ours, opening or not; empty when it can be none."""
    match = _BEARER.fullmatch((authorization or "").strip())
    return match[1] if match and match[1].startswith(_OURS) else ""


def key_id_of(authorization: str | None) -> str:
    """Read which key it is, for the log line: never its secret; empty when it is no key of ours."""
    match = _BEARER.fullmatch((authorization or "").strip())
    return id_of(match[1]) if match else ""
