"""Codes of an authenticator app (RFC 6238): six digits, another each half minute."""

from __future__ import annotations

import hmac
from datetime import datetime
from typing import Final

import pyotp

STEP_S: Final = 30
_ISSUER: Final = "Muster"


def make_secret() -> str:
    """Make a secret in base 32."""
    return pyotp.random_base32()


def app_uri(secret: str, email: str) -> str:
    """Write what an authenticator app reads as a QR code."""
    return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=_ISSUER)


def step_of(secret: str, code: str, now: datetime, *, after: int) -> int | None:
    """Find the half minute that a code is of: this one, the one before or after, and later than `after`.

    None for a wrong code, and for one of a half minute that has been used.
    """
    current = int(now.timestamp()) // STEP_S
    digits = "".join(code.split())
    found = None
    for step in (current - 1, current, current + 1):
        made = pyotp.HOTP(secret).at(step)
        if hmac.compare_digest(made.encode(), digits.encode()) and step > after:
            found = step
    return found
