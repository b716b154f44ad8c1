"""Mint tokens, and find out whose token or key a call carries."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam
from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from services.directory.operations.scope import Scope
from services.directory.rules.errors import NotFound
from services.directory.rules.grants import BOUND, Grant
from services.directory.rules.names import TENANT, format_administrator
from services.directory.rules.tokens import (
    ACCESS_TOKEN,
    ADMINISTRATOR_SESSION,
    ALPHABET,
    API_KEY,
    ID_LENGTH,
    SERVICE_TOKEN,
    AccessToken,
    Form,
    token_hmac,
)
from services.directory.store.administrator_tables import Administrator, AdministratorSession, Role
from services.directory.store.events import Actor
from services.directory.store.provisioning_tables import ApiKey, KeyKind
from services.directory.store.tables import ServiceToken, Source, SourceState, Tenant


@dataclass(frozen=True)
class Caller:
    """Who calls: the token's or key's id, its grant, and the tenant it is bound to (0: all).

    `source_id`, `source_state` and `is_paused_by_guard` are a connection's; 0, ENABLED and False of others.
    `administrator_id` is a signed-in administrator's (0: none), and `account_id` the account that one is bound to (0:
    the whole tenant).
    """

    token_id: str
    grant: Grant
    tenant_id: int = 0
    source_id: int = 0
    source_state: SourceState = SourceState.ENABLED
    is_paused_by_guard: bool = False
    administrator_id: int = 0
    account_id: int = 0

    @property
    def actor(self) -> Actor:
        """The caller as events name it."""
        if self.source_id:
            return Actor(source_id=self.source_id)
        if self.administrator_id:
            return Actor(name=format_administrator(self.tenant_id, self.administrator_id))
        return Actor(name=f"services/{self.grant}/tokens/{self.token_id}")

    @property
    def scope(self) -> Scope:
        """What of its tenant the caller reaches."""
        return Scope(self.tenant_id, self.account_id)

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
    said = ACCESS_TOKEN.read(token, pepper=pepper)
    if said is not None:
        return _client(session, said, now)
    given = token_hmac(token, pepper=pepper)
    key_id = API_KEY.id_of(token)
    if key_id is not None:
        return _connection(session, key_id, given, now)
    token_id = ADMINISTRATOR_SESSION.id_of(token)
    if token_id is not None:
        return _administrator(session, token_id, given, now)
    token_id = SERVICE_TOKEN.id_of(token)
    return None if token_id is None else _service(session, token_id, given)


def is_same(given: bytes, kept: bytes | None) -> bool:
    """Compare in constant time, also where nothing is kept."""
    return hmac.compare_digest(given, kept if kept is not None else bytes(len(given))) and kept is not None


def key_opens(key: ApiKey, now: datetime) -> bool:
    """Say whether a key is neither revoked nor expired."""
    return not key.is_revoked and (key.expire_time is None or key.expire_time > now)


def is_open(session: Session, tenant_id: int) -> bool:
    """Say whether those who are bound to a tenant (0: to none) get in: it has not been deleted."""
    tenant = session.get(Tenant, tenant_id) if tenant_id else None
    return not tenant_id or (tenant is not None and tenant.delete_time is None)


def _service(session: Session, token_id: str, given: bytes) -> Caller | None:
    kept = session.connection().execute(_SERVICE_TOKEN, {"token": token_id}).first()
    if not is_same(given, kept.secret_hmac if kept else None) or kept is None or kept.revoked:
        return None
    if not is_open(session, kept.tenant_id):
        return None
    return Caller(token_id=token_id, grant=Grant(kept.grant_name), tenant_id=kept.tenant_id)


_SERVICE_TOKEN: Final = columns(
    col(ServiceToken.secret_hmac), col(ServiceToken.grant), col(ServiceToken.tenant_id), col(ServiceToken.revoked)
).where(col(ServiceToken.token_id) == bindparam("token"))
"""Asked for by every call of a service: built once, and read without a model."""


def _administrator(session: Session, token_id: str, given: bytes, now: datetime) -> Caller | None:
    kept = session.get(AdministratorSession, token_id)
    if not is_same(given, kept.secret_hmac if kept else None) or kept is None or kept.expire_time <= now:
        return None
    administrator = session.get(Administrator, (kept.tenant_id, kept.administrator_id))
    if administrator is None or not is_open(session, administrator.tenant_id):
        return None
    return Caller(
        token_id=token_id,
        grant=_GRANT_OF_ROLE[Role(administrator.role)],
        tenant_id=administrator.tenant_id,
        administrator_id=administrator.id,
        account_id=administrator.account_id,
    )


def _connection(session: Session, key_id: str, given: bytes, now: datetime) -> Caller | None:
    found = _key_and_state(session, key_id)
    if not is_same(given, found[0].secret_hmac if found else None) or found is None:
        return None
    return _caller_of_key(session, *found, now) if found[0].kind == KeyKind.KEY else None


def _client(session: Session, said: AccessToken, now: datetime) -> Caller | None:
    """Look at the client's secret again, so that a token ends with it at once."""
    found = _key_and_state(session, said.key_id)
    if found is None or said.expire_time <= now or found[0].kind != KeyKind.CLIENT_SECRET:
        return None
    return _caller_of_key(session, *found, now)


def _key_and_state(session: Session, key_id: str) -> tuple[ApiKey, int, datetime | None] | None:
    return session.exec(_KEY, params={"key": key_id}).first()


_KEY: Final = (
    select(ApiKey, Source.state, Source.guard_trip_time)
    .join(Source, (col(Source.tenant_id) == col(ApiKey.tenant_id)) & (col(Source.id) == col(ApiKey.source_id)))
    .where(col(ApiKey.key_id) == bindparam("key"), col(Source.delete_time).is_(None))
)
"""Asked for by every call of a connection: built once."""


def _caller_of_key(
    session: Session, key: ApiKey, state: int, guard_trip_time: datetime | None, now: datetime
) -> Caller | None:
    if not key_opens(key, now) or not is_open(session, key.tenant_id):
        return None
    return Caller(
        token_id=key.key_id,
        grant=Grant.CONNECTION,
        tenant_id=key.tenant_id,
        source_id=key.source_id,
        source_state=SourceState(state),
        is_paused_by_guard=guard_trip_time is not None,
    )


_GRANT_OF_ROLE: Final = {Role.SUPPORT: Grant.SUPPORT, Role.TENANT: Grant.TENANT, Role.ACCOUNT: Grant.ACCOUNT}
