"""Remember whom a SCIM connection could not give a seat, until they have one (S5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import ColumnElement, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, col, exists, select

from services.directory.rules.provisioned import fold_text
from services.directory.store import ids
from services.directory.store.provisioning_tables import LicenseRefusal
from services.directory.store.statements import Statement
from services.directory.store.tables import User, UserState

KEPT_FOR: Final = timedelta(days=90)
"""How long somebody is listed for whom the connection no longer asks; one that still wants the user asks daily."""


@dataclass(frozen=True)
class Refused:
    """Somebody for whom there was no seat, as the connection names the person."""

    user_name: str
    external_id: str


def remember_refusals(
    session: Session, tenant_id: int, source_id: int, people: Sequence[Refused], *, now: datetime
) -> list[str]:
    """Note to whom a seat was refused; of those who were refused before, one attempt more and what was said last.

    Answers the userNames of those who are refused for the first time.
    """
    by_key = {fold_text(person.user_name.strip()): person for person in people}
    if not by_key:
        return []
    numbers = ids.reserve_ids(session.connection(), "refusal", len(by_key))
    insert = sqlite.insert if session.get_bind().dialect.name == "sqlite" else postgresql.insert
    row = insert(LicenseRefusal).values(
        [
            {
                "tenant_id": tenant_id,
                "source_id": source_id,
                "name_key": name_key,
                "number": number,
                "user_name": person.user_name,
                "external_id": person.external_id,
                "attempts": 1,
                "first_time": now,
                "last_time": now,
            }
            for number, (name_key, person) in zip(numbers, sorted(by_key.items()), strict=True)
        ]
    )
    told = {"attempts": col(LicenseRefusal.attempts) + 1} | {
        name: row.excluded[name] for name in ("user_name", "external_id", "last_time")
    }
    key = ["tenant_id", "source_id", "name_key"]
    statement = row.on_conflict_do_update(index_elements=key, set_=told).returning(
        col(LicenseRefusal.user_name), col(LicenseRefusal.attempts)
    )
    return [user_name for user_name, attempts in session.connection().execute(statement) if attempts == 1]


def forget_refusal(session: Session, tenant_id: int, source_id: int, name_key: str) -> None:
    """Forget a user who has a seat now, or whom the connection asks for no more."""
    _FORGET.run(session, t=tenant_id, s=source_id, name=name_key)


_FORGET: Final = Statement("DELETE FROM license_refusals WHERE tenant_id = :t AND source_id = :s AND name_key = :name")


def list_refusals(session: Session, tenant_id: int, *, after_number: int, limit: int) -> list[LicenseRefusal]:
    """Read who waits for a seat, the longest waiting first, past `after_number`."""
    query = select(LicenseRefusal).where(
        col(LicenseRefusal.tenant_id) == tenant_id, col(LicenseRefusal.number) > after_number, _has_no_seat()
    )
    return list(session.exec(query.order_by(col(LicenseRefusal.number)).limit(limit)))


def count_refusals(session: Session, tenant_id: int, source_id: int = 0) -> int:
    """Count who waits for a seat: all, or those of one connection."""
    query = select(func.count()).select_from(LicenseRefusal)
    query = query.where(col(LicenseRefusal.tenant_id) == tenant_id, _has_no_seat())
    if source_id:
        query = query.where(col(LicenseRefusal.source_id) == source_id)
    return session.exec(query).one()


def _has_no_seat() -> ColumnElement[bool]:
    """Whether nobody active has the mail that was refused: a person may have come in by hand or by a file meanwhile."""
    return ~exists().where(
        col(User.tenant_id) == col(LicenseRefusal.tenant_id),
        col(User.email) == col(LicenseRefusal.name_key),
        col(User.state) == UserState.ACTIVE,
    )
