"""Mint tokens, and find out whose token or key a call carries."""

from __future__ import annotations

import hmac
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy.engine import Connection
from sqlmodel import Session

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
from services.directory.store.administrator_tables import Role
from services.directory.store.events import Actor
from services.directory.store.provisioning_tables import KeyKind
from services.directory.store.statements import Statement, moment
from services.directory.store.tables import ServiceToken, SourceState, Tenant


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


def authenticate(connection: Connection, token: str, *, pepper: bytes, now: datetime) -> Caller | None:
    """Find the caller by its token or key; None for one unknown, wrong, revoked or expired, all alike.

    One statement, which looks across tenants, and nothing is remembered: what is taken from a caller is gone at once.
    """
    said = ACCESS_TOKEN.read(token, pepper=pepper)
    if said is not None:
        return _client(connection, said, now)
    given = token_hmac(token, pepper=pepper)
    key_id = API_KEY.id_of(token)
    if key_id is not None:
        return _connection(connection, key_id, given, now)
    token_id = ADMINISTRATOR_SESSION.id_of(token)
    if token_id is not None:
        return _administrator(connection, token_id, given, now)
    token_id = SERVICE_TOKEN.id_of(token)
    return None if token_id is None else _service(connection, token_id, given)


def is_same(given: bytes, kept: bytes | None) -> bool:
    """Compare in constant time, also where nothing is kept."""
    return hmac.compare_digest(given, kept if kept is not None else bytes(len(given))) and kept is not None


def key_opens(expire_time: datetime | None, now: datetime, *, is_revoked: bool) -> bool:
    """Say whether a key is neither revoked nor expired."""
    return not is_revoked and (expire_time is None or expire_time > now)


def is_open(session: Session, tenant_id: int) -> bool:
    """Say whether those who are bound to a tenant (0: to none) get in: it has not been deleted."""
    tenant = session.get(Tenant, tenant_id) if tenant_id else None
    return not tenant_id or (tenant is not None and tenant.delete_time is None)


def _service(connection: Connection, token_id: str, given: bytes) -> Caller | None:
    kept = _SERVICE_TOKEN.run_on(connection, {"token": token_id}).first()
    if not is_same(given, kept.secret_hmac if kept else None) or kept is None or kept.revoked:
        return None
    if kept.tenant_id and not kept.tenant_lives:
        return None
    return Caller(token_id=token_id, grant=Grant(kept.grant_name), tenant_id=kept.tenant_id)


_LIVES: Final = "t.id IS NOT NULL AND t.delete_time IS NULL AS tenant_lives"

_SERVICE_TOKEN: Final = Statement(f"""
    SELECT s.secret_hmac, s.grant_name, s.tenant_id, s.revoked, {_LIVES}
    FROM service_tokens s LEFT JOIN tenants t ON t.id = s.tenant_id WHERE s.token_id = :token
""")


def _administrator(connection: Connection, token_id: str, given: bytes, now: datetime) -> Caller | None:
    kept = _ADMINISTRATOR.run_on(connection, {"token": token_id}).first()
    if not is_same(given, kept.secret_hmac if kept else None) or kept is None:
        return None
    expire_time = moment(kept.expire_time)
    if expire_time is None or expire_time <= now or (kept.tenant_id and not kept.tenant_lives):
        return None
    return Caller(
        token_id=token_id,
        grant=_GRANT_OF_ROLE[Role(kept.role)],
        tenant_id=kept.tenant_id,
        administrator_id=kept.id,
        account_id=kept.account_id,
    )


_ADMINISTRATOR: Final = Statement(f"""
    SELECT s.secret_hmac, s.expire_time, a.tenant_id, a.id, a.role, a.account_id, {_LIVES}
    FROM administrator_sessions s
    JOIN administrators a ON a.tenant_id = s.tenant_id AND a.id = s.administrator_id
    LEFT JOIN tenants t ON t.id = s.tenant_id
    WHERE s.token_id = :token
""")


def _connection(connection: Connection, key_id: str, given: bytes, now: datetime) -> Caller | None:
    kept = _KEY.run_on(connection, {"key": key_id}).first()
    if not is_same(given, kept.secret_hmac if kept else None) or kept is None or kept.kind != KeyKind.KEY:
        return None
    return _caller_of_key(kept, now)


def _client(connection: Connection, said: AccessToken, now: datetime) -> Caller | None:
    """Look at the client's secret again, so that a token ends with it at once."""
    kept = _KEY.run_on(connection, {"key": said.key_id}).first()
    if kept is None or said.expire_time <= now or kept.kind != KeyKind.CLIENT_SECRET:
        return None
    return _caller_of_key(kept, now)


_KEY: Final = Statement(f"""
    SELECT k.key_id, k.secret_hmac, k.kind, k.is_revoked, k.expire_time, k.tenant_id, k.source_id,
     s.state, s.guard_trip_time IS NOT NULL AS is_paused_by_guard, {_LIVES}
    FROM api_keys k
    JOIN sources s ON s.tenant_id = k.tenant_id AND s.id = k.source_id AND s.delete_time IS NULL
    LEFT JOIN tenants t ON t.id = k.tenant_id
    WHERE k.key_id = :key
""")


def _caller_of_key(kept: Any, now: datetime) -> Caller | None:
    if not key_opens(moment(kept.expire_time), now, is_revoked=kept.is_revoked) or not kept.tenant_lives:
        return None
    return Caller(
        token_id=kept.key_id,
        grant=Grant.CONNECTION,
        tenant_id=kept.tenant_id,
        source_id=kept.source_id,
        source_state=SourceState(kept.state),
        is_paused_by_guard=bool(kept.is_paused_by_guard),
    )


_GRANT_OF_ROLE: Final = {Role.SUPPORT: Grant.SUPPORT, Role.TENANT: Grant.TENANT, Role.ACCOUNT: Grant.ACCOUNT}
