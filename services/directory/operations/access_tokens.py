"""Give access tokens for clients' secrets (OAuth 2.0 client credentials, S13)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from services.directory.operations.tokens import is_open, is_same, key_opens
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import Unauthenticated
from services.directory.rules.lockout import Guesses
from services.directory.rules.names import client_id_of
from services.directory.rules.tokens import ACCESS_TOKEN, CLIENT_SECRET, AccessToken, token_hmac
from services.directory.store.provisioning_tables import ApiKey, KeyKind
from services.directory.store.session import Store

LEAST_MINUTES: Final = 60
MOST_MINUTES: Final = 360


@dataclass(frozen=True)
class IssuedToken:
    """An access token, and for how long it opens."""

    token: str = field(repr=False)
    lifetime_s: int


@dataclass(frozen=True)
class AccessTokens:
    """What giving tokens needs; wrong tries are remembered in this process."""

    store: Store
    pepper: bytes = field(repr=False)
    guesses: Guesses = field(default_factory=Guesses)

    def issue(self, client_id: str, client_secret: str, lifetime_minutes: int, *, now: datetime) -> IssuedToken:
        """Give a token for a client's secret; 0 minutes are 60.

        A wrong secret is slowed and a right one never is: a client_id is no secret, and whoever knows one must not keep
        the customer's identity provider out. Errors: InvalidArgument, Unauthenticated, SignInLocked.
        """
        checks = FieldChecks()
        if lifetime_minutes and not LEAST_MINUTES <= lifetime_minutes <= MOST_MINUTES:
            checks.refuse("lifetime_minutes", f"must be from {LEAST_MINUTES} to {MOST_MINUTES}, or 0")
        checks.end()
        with self.store.read(None) as session:
            key_id = _key_id(session, client_id, client_secret, pepper=self.pepper, now=now)
        if key_id is None:
            self.guesses.count(client_id[:64], now)
            raise Unauthenticated
        self.guesses.forget(client_id)
        lifetime = timedelta(minutes=lifetime_minutes or LEAST_MINUTES)
        said = AccessToken(key_id, now + lifetime)
        return IssuedToken(ACCESS_TOKEN.write(said, pepper=self.pepper), int(lifetime.total_seconds()))


def _key_id(session: Session, client_id: str, client_secret: str, *, pepper: bytes, now: datetime) -> str | None:
    """Find the secret's row; None for one unknown, wrong, another client's, revoked or expired, all alike."""
    key_id = CLIENT_SECRET.id_of(client_secret)
    kept = session.get(ApiKey, key_id) if key_id is not None else None
    given = token_hmac(client_secret, pepper=pepper)
    if not is_same(given, kept.secret_hmac if kept else None) or kept is None:
        return None
    is_this = kept.kind == KeyKind.CLIENT_SECRET and client_id_of(kept.source_id) == client_id
    return (
        kept.key_id
        if is_this and key_opens(kept.expire_time, now, is_revoked=kept.is_revoked) and is_open(session, kept.tenant_id)
        else None
    )
