"""Read the key that an identity provider shows; the directory alone knows whether it opens."""

from __future__ import annotations

import re

from scim2_models import UnauthorizedException

_BEARER = re.compile(r"Bearer +([A-Za-z0-9._~+/-]{1,4096}=*)", re.IGNORECASE)
_OURS = ("mst_scim_", "mst_oat_")
_KEY = re.compile(r"mst_scim_([A-Za-z0-9]{1,32})_")

REFUSED = (
    "The key is missing, not known, revoked or expired. Put a valid key of this connection into the identity "
    "provider as its bearer token (secret token), without quotes or spaces."
)


def key_of(authorization: str | None) -> str:
    """Take the key out of an Authorization header; UnauthorizedException when there is none."""
    match = _BEARER.fullmatch((authorization or "").strip())
    if match is None:
        raise UnauthorizedException(detail=REFUSED)
    return match[1]


def credential_of(authorization: str | None) -> str:
    """Read what may be a credential of ours, opening or not; empty when it can be none."""
    match = _BEARER.fullmatch((authorization or "").strip())
    return match[1] if match and match[1].startswith(_OURS) else ""


def key_id_of(authorization: str | None) -> str:
    """Read which key it is, for the log line: never its secret; empty when it is no key of ours."""
    match = _BEARER.fullmatch((authorization or "").strip())
    key = _KEY.match(match[1]) if match else None
    return key[1] if key else ""
