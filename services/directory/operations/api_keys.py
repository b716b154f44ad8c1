"""Issue, rotate, revoke and find keys and clients' secrets of SCIM connections (S1, S13), and note their use."""

from __future__ import annotations

import enum
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlmodel import Session, col, select

from services.directory.operations.sources import get_source, require_attached
from services.directory.operations.tokens import mint
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import KeyStateError, NotFound, SourceStateError
from services.directory.rules.names import format_api_key
from services.directory.rules.tokens import API_KEY, CLIENT_SECRET
from services.directory.store import ids
from services.directory.store.events import Actor, append_event
from services.directory.store.provisioning_tables import ApiKey, KeyKind
from services.directory.store.session import Lock, Store, TenantLockedError
from services.directory.store.tables import SourceKind, SourceState

MOST_DAYS: Final = 3650
MOST_OVERLAP_HOURS: Final = 8760
OVERLAP_HOURS: Final = 24
"""How long a rotated key lives on unless said."""

NOTED_EVERY: Final = timedelta(minutes=1)


class KeyState(enum.IntEnum):
    """Whether a key opens; the numbers are those of the contract."""

    ACTIVE = 1
    ROTATED = 2
    EXPIRED = 3
    REVOKED = 4


@dataclass(frozen=True)
class IssuedKey:
    """A new key, and its secret, which is shown once."""

    key: ApiKey
    secret: str = field(repr=False)


def state_of(key: ApiKey, now: datetime) -> KeyState:
    """Say whether a key opens now."""
    if key.is_revoked:
        return KeyState.REVOKED
    if key.expire_time is not None and key.expire_time <= now:
        return KeyState.EXPIRED
    return KeyState.ROTATED if key.is_rotated else KeyState.ACTIVE


def create_key(
    session: Session,
    tenant_id: int,
    source_id: int,
    expires_days: int,
    *,
    kind: KeyKind = KeyKind.KEY,
    pepper: bytes,
    actor: Actor,
    now: datetime,
) -> IssuedKey:
    """Make a key, or a client's secret, for a SCIM source; 0 days: it never expires.

    Errors: InvalidArgument, NotFound, SourceStateError, FailedPrecondition (the source was detached).
    """
    checks = FieldChecks()
    if not 0 <= expires_days <= MOST_DAYS:
        checks.refuse("expires_days", f"must be from 1 to {MOST_DAYS}, or 0 for a key that never expires")
    checks.end()
    source = get_source(session, tenant_id, source_id)
    if source.kind != SourceKind.SCIM:
        raise SourceStateError("only SCIM sources have keys", state=SourceState(source.state).name.lower())
    require_attached(source)
    issued = _issue(session, tenant_id, source_id, expires_days, kind=kind, pepper=pepper, now=now)
    append_event(
        session,
        tenant_id,
        kind="key.created",
        resource=("src", source_id),
        actor=actor,
        now=now,
        after={"key_id": issued.key.key_id},
    )
    return issued


def rotate_key(
    session: Session,
    tenant_id: int,
    source_id: int,
    key_id: str,
    overlap_hours: int,
    *,
    pepper: bytes,
    actor: Actor,
    now: datetime,
) -> IssuedKey:
    """Make a key in the place of another, which opens until the overlap ends, and never longer than it would have.

    Errors: InvalidArgument, NotFound, KeyStateError (revoked or expired).
    """
    checks = FieldChecks()
    if not 0 <= overlap_hours <= MOST_OVERLAP_HOURS:
        checks.refuse("overlap_hours", f"must be from 0 to {MOST_OVERLAP_HOURS}")
    checks.end()
    old = _locked(session, tenant_id, source_id, key_id)
    state = state_of(old, now)
    if state in {KeyState.EXPIRED, KeyState.REVOKED}:
        raise KeyStateError(state=state.name.lower())
    end = now + timedelta(hours=overlap_hours)
    old.expire_time = min(end, old.expire_time or end)
    old.is_rotated = True
    kind = KeyKind(old.kind)
    issued = _issue(session, tenant_id, source_id, old.expires_days, kind=kind, pepper=pepper, now=now)
    append_event(
        session,
        tenant_id,
        kind="key.rotated",
        resource=("src", source_id),
        actor=actor,
        now=now,
        before={"key_id": key_id},
        after={"key_id": issued.key.key_id},
    )
    return issued


def revoke_key(session: Session, tenant_id: int, source_id: int, key_id: str, *, actor: Actor, now: datetime) -> ApiKey:
    """End a key at once; nothing happens when it is revoked already. Errors: NotFound."""
    key = _locked(session, tenant_id, source_id, key_id)
    if not key.is_revoked:
        key.is_revoked = True
        session.flush()
        append_event(
            session,
            tenant_id,
            kind="key.revoked",
            resource=("src", source_id),
            actor=actor,
            now=now,
            after={"key_id": key_id},
        )
    return key


def list_keys(session: Session, tenant_id: int, source_id: int, *, after_number: int, limit: int) -> list[ApiKey]:
    """Read a source's keys in order of creation, past `after_number`. Errors: NotFound."""
    get_source(session, tenant_id, source_id)
    query = select(ApiKey).where(
        col(ApiKey.tenant_id) == tenant_id, col(ApiKey.source_id) == source_id, col(ApiKey.number) > after_number
    )
    return list(session.exec(query.order_by(col(ApiKey.number)).limit(limit)))


def find_key(session: Session, key_id: str) -> ApiKey:
    """Find a key by its id alone, in whatever tenant it is. Errors: NotFound."""
    key = session.get(ApiKey, key_id)
    if key is None:
        raise NotFound(resource=f"apiKeys/{key_id}")
    return key


@dataclass(frozen=True)
class KeyUses:
    """Notes when keys were used: to a minute, and only where that keeps nobody waiting."""

    store: Store
    _noted: dict[str, datetime] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, tenant_id: int, key_id: str, now: datetime) -> None:
        """Note a use, unless one was noted within the minute, the key's row is locked, or the store is busy."""
        with self._lock:
            before = self._noted.get(key_id)
            if before is not None and now - before < NOTED_EVERY:
                return
            self._noted[key_id] = now
        with (
            suppress(TenantLockedError, DBAPIError, PoolTimeoutError),
            self.store.write(tenant_id, lock=Lock.NONE, wait_s=0) as session,
        ):
            free = select(ApiKey.key_id).where(col(ApiKey.key_id) == key_id).with_for_update(skip_locked=True)
            session.connection().execute(update(ApiKey).where(col(ApiKey.key_id).in_(free)).values(last_used_time=now))


def _issue(
    session: Session,
    tenant_id: int,
    source_id: int,
    expires_days: int,
    *,
    kind: KeyKind,
    pepper: bytes,
    now: datetime,
) -> IssuedKey:
    minted = mint(API_KEY if kind is KeyKind.KEY else CLIENT_SECRET, pepper=pepper)
    key = ApiKey(
        key_id=minted.token_id,
        tenant_id=tenant_id,
        source_id=source_id,
        number=ids.next_id(session, "api_key"),
        kind=kind,
        secret_hmac=minted.secret_hmac,
        expires_days=expires_days,
        expire_time=now + timedelta(days=expires_days) if expires_days else None,
        create_time=now,
    )
    session.add(key)
    session.flush()
    return IssuedKey(key, minted.token)


def _locked(session: Session, tenant_id: int, source_id: int, key_id: str) -> ApiKey:
    key = session.get(ApiKey, key_id, with_for_update=True)
    if key is None or (key.tenant_id, key.source_id) != (tenant_id, source_id):
        raise NotFound(resource=format_api_key(tenant_id, source_id, key_id))
    return key
