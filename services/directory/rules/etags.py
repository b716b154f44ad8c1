"""Make the opaque version of a resource from its revision."""

from __future__ import annotations

import hashlib

from services.directory.rules.errors import StaleEtag


def etag_of(resource: str, revision: int) -> str:
    """Write the etag of a resource (its name) at a revision."""
    return hashlib.blake2b(f"{resource}@{revision}".encode(), digest_size=8).hexdigest()


def require_etag(given: str, *, resource: str, revision: int) -> None:
    """Raise StaleEtag when an etag was given and is not the current one; none given: whatever it is."""
    if given and given != etag_of(resource, revision):
        raise StaleEtag(resource=resource)
