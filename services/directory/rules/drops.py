"""Name the logins of hosted drops and make their passwords: the customer's, and the importer's beside it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata

from services.directory.rules.names import short_id

PASSWORD_BYTES = 24


def drop_username(tenant_display_name: str, source_id: int) -> str:
    """Write a login that people can read and that no other source has: the tenant's name and the source's short id."""
    plain = unicodedata.normalize("NFKD", tenant_display_name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:24].rstrip("-")
    # Without its check character, which may be `~`.
    return f"{slug or 'drop'}-{short_id('src', source_id)[:-1]}"


def importer_username(username: str) -> str:
    """Name the login by which the importer fetches what `username` uploads; no customer's holds a colon."""
    return f"importer:{username}"


def importer_password(source: str, *, pepper: bytes) -> str:
    """Make the password of the importer's login to a source's drop, the same each time; nothing of it is kept."""
    return drop_password(hmac.digest(pepper, f"drop:{source}".encode(), "sha256")[:PASSWORD_BYTES])


def drop_password(random_bytes: bytes) -> str:
    """Write 24 random bytes as a password."""
    return base64.urlsafe_b64encode(random_bytes).decode().rstrip("=")


def password_sha256(password: str) -> bytes:
    """Make what the drop compares with; 24 random bytes need no slower hash."""
    return hashlib.sha256(password.encode()).digest()
