"""Find whose requests are recorded, by the credential that they showed: also one that no longer opens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from services.directory.operations.tokens import is_open, is_same
from services.directory.rules.activity import KEY_WRONG
from services.directory.rules.tokens import ACCESS_TOKEN, API_KEY, CLIENT_SECRET, token_hmac
from services.directory.store.provisioning_tables import ApiKey
from services.directory.store.tables import Source


@dataclass(frozen=True)
class Shown:
    """The connection of a credential, and why it does not open (empty: it does)."""

    tenant_id: int
    source_id: int
    key_id: str
    trouble: str = ""


def find_shown(session: Session, credential: str, *, pepper: bytes, now: datetime) -> Shown | None:
    """Look at a key, a client's secret or an access token; None where no connection has or had it."""
    said = ACCESS_TOKEN.read(credential, pepper=pepper)
    key_id = said.key_id if said else API_KEY.id_of(credential) or CLIENT_SECRET.id_of(credential)
    query = (
        select(ApiKey)
        .join(Source, (col(Source.tenant_id) == col(ApiKey.tenant_id)) & (col(Source.id) == col(ApiKey.source_id)))
        .where(col(ApiKey.key_id) == key_id, col(Source.delete_time).is_(None))
    )
    key = session.exec(query).first() if key_id else None
    if key is None or not is_open(session, key.tenant_id):
        return None
    is_right = said is not None or is_same(token_hmac(credential, pepper=pepper), key.secret_hmac)
    trouble = _trouble(key, now) if is_right else KEY_WRONG
    return Shown(key.tenant_id, key.source_id, key.key_id, trouble)


def _trouble(key: ApiKey, now: datetime) -> str:
    if key.is_revoked:
        return "key_revoked"
    return "key_expired" if key.expire_time is not None and key.expire_time <= now else ""
