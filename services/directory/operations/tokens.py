"""Mint service tokens, and find out whose token a call carries."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from services.directory.rules.errors import NotFound
from services.directory.rules.grants import Grant
from services.directory.rules.names import TENANT
from services.directory.rules.service_tokens import token_hmac, token_id_of, write_token
from services.directory.store.events import Actor
from services.directory.store.tables import ServiceToken, Tenant


@dataclass(frozen=True)
class Caller:
    """Who calls: the token's id, its grant, and the tenant it is bound to (0: all)."""

    token_id: str
    grant: Grant
    tenant_id: int = 0

    @property
    def actor(self) -> Actor:
        """The caller as events name it."""
        return Actor(name=f"services/{self.grant}/tokens/{self.token_id}")

    def reaches(self, tenant_id: int) -> bool:
        """Say whether the caller's grant reaches this tenant."""
        return self.tenant_id in {0, tenant_id} and (self.grant is not Grant.TENANT or self.tenant_id == tenant_id)


def create_token(session: Session, grant: Grant, tenant_id: int, *, pepper: bytes, now: datetime) -> str:
    """Mint a token and keep its HMAC; the token itself is in the answer and nowhere else. Errors: NotFound."""
    if tenant_id and session.get(Tenant, tenant_id) is None:
        raise NotFound(resource=TENANT.format(tenant_id))
    token_id = "".join(secrets.choice("0123456789abcdefghjkmnpqrstvwxyz") for _ in range(12))
    token = write_token(token_id, secrets.token_bytes(32))
    session.add(
        ServiceToken(
            token_id=token_id,
            secret_hmac=token_hmac(token, pepper=pepper),
            grant=grant.value,
            tenant_id=tenant_id,
            create_time=now,
        )
    )
    return token


def authenticate(session: Session, token: str, *, pepper: bytes) -> Caller | None:
    """Find the caller; None for an unknown, wrong or revoked token, all alike."""
    token_id = token_id_of(token)
    if token_id is None:
        return None
    kept = session.get(ServiceToken, token_id)
    given = token_hmac(token, pepper=pepper)
    if not hmac.compare_digest(given, kept.secret_hmac if kept else bytes(len(given))) or kept is None or kept.revoked:
        return None
    return Caller(token_id=kept.token_id, grant=Grant(kept.grant), tenant_id=kept.tenant_id)
