"""Mint service tokens, and find out whose token or key a call carries."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from services.directory.rules.errors import NotFound
from services.directory.rules.grants import BOUND, Grant
from services.directory.rules.names import TENANT
from services.directory.rules.tokens import ALPHABET, API_KEY, ID_LENGTH, SERVICE_TOKEN, Form, token_hmac
from services.directory.store.events import Actor
from services.directory.store.provisioning_tables import ApiKey
from services.directory.store.tables import ServiceToken, Source, SourceState, Tenant


@dataclass(frozen=True)
class Caller:
    """Who calls: the token's or key's id, its grant, and the tenant it is bound to (0: all).

    `source_id` and `source_state` are a connection's; 0 and ENABLED of others.
    """

    token_id: str
    grant: Grant
    tenant_id: int = 0
    source_id: int = 0
    source_state: SourceState = SourceState.ENABLED

    @property
    def actor(self) -> Actor:
        """The caller as events name it."""
        if self.source_id:
            return Actor(source_id=self.source_id)
        return Actor(name=f"services/{self.grant}/tokens/{self.token_id}")

    def reaches(self, tenant_id: int) -> bool:
        """Say whether the caller's grant reaches this tenant."""
        return self.tenant_id in {0, tenant_id} and (self.grant not in BOUND or self.tenant_id == tenant_id)


@dataclass(frozen=True)
class Minted:
    """A new token: its id, the token itself, which is shown once, and what is kept of it."""

    token_id: str
    token: str
    secret_hmac: bytes


def mint(form: Form, *, pepper: bytes) -> Minted:
    """Make a token of a family."""
    token_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
    token = form.write(token_id, secrets.token_bytes(32))
    return Minted(token_id, token, token_hmac(token, pepper=pepper))


def create_token(session: Session, grant: Grant, tenant_id: int, *, pepper: bytes, now: datetime) -> str:
    """Mint a token and keep its HMAC; the token itself is in the answer and nowhere else. Errors: NotFound."""
    if tenant_id and session.get(Tenant, tenant_id) is None:
        raise NotFound(resource=TENANT.format(tenant_id))
    minted = mint(SERVICE_TOKEN, pepper=pepper)
    session.add(
        ServiceToken(
            token_id=minted.token_id,
            secret_hmac=minted.secret_hmac,
            grant=grant.value,
            tenant_id=tenant_id,
            create_time=now,
        )
    )
    return minted.token


def authenticate(session: Session, token: str, *, pepper: bytes, now: datetime) -> Caller | None:
    """Find the caller by its token or key; None for one unknown, wrong, revoked or expired, all alike."""
    given = token_hmac(token, pepper=pepper)
    key_id = API_KEY.id_of(token)
    if key_id is not None:
        return _connection(session, key_id, given, now)
    token_id = SERVICE_TOKEN.id_of(token)
    return None if token_id is None else _service(session, token_id, given)


def _service(session: Session, token_id: str, given: bytes) -> Caller | None:
    kept = session.get(ServiceToken, token_id)
    if not _is_same(given, kept.secret_hmac if kept else None) or kept is None or kept.revoked:
        return None
    return Caller(token_id=kept.token_id, grant=Grant(kept.grant), tenant_id=kept.tenant_id)


def _connection(session: Session, key_id: str, given: bytes, now: datetime) -> Caller | None:
    found = session.exec(
        select(ApiKey, Source.state)
        .join(Source, (col(Source.tenant_id) == col(ApiKey.tenant_id)) & (col(Source.id) == col(ApiKey.source_id)))
        .where(col(ApiKey.key_id) == key_id)
    ).first()
    kept, state = found or (None, SourceState.DISABLED)
    if not _is_same(given, kept.secret_hmac if kept else None) or kept is None or not _opens(kept, now):
        return None
    return Caller(
        token_id=kept.key_id,
        grant=Grant.CONNECTION,
        tenant_id=kept.tenant_id,
        source_id=kept.source_id,
        source_state=SourceState(state),
    )


def _opens(key: ApiKey, now: datetime) -> bool:
    return not key.is_revoked and (key.expire_time is None or key.expire_time > now)


def _is_same(given: bytes, kept: bytes | None) -> bool:
    """Compare in constant time, also where nothing is kept."""
    return hmac.compare_digest(given, kept if kept is not None else bytes(len(given))) and kept is not None
