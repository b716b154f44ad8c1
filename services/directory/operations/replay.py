"""Do a mutation once per request_id: its answer is kept 24 hours in the same transaction as its effect."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from google.protobuf.message import Message
from sqlalchemy import delete, text
from sqlmodel import Session, col, select

from services.directory.rules.errors import InvalidArgument, RequestIdReused
from services.directory.store.seal import Seal
from services.directory.store.session import WRITER_WAIT_S, Store
from services.directory.store.tables import RequestReplay

KEPT_FOR = timedelta(hours=24)
_FORM = re.compile(r"[0-9A-Za-z._-]{1,64}")
_LOCK_SPACE = 7_236
_Answer = TypeVar("_Answer", bound=Message)


@dataclass(frozen=True)
class Attempt:
    """One try of a mutating call: its method, its request_id (empty: it is not repeatable) and its body's hash."""

    method: str
    request_id: str
    body_sha256: bytes

    @classmethod
    def of(cls, method: str, request: Message) -> Attempt:
        """Read the attempt from a request with a `request_id`. Errors: InvalidArgument."""
        request_id = str(getattr(request, "request_id", ""))
        if request_id and not _FORM.fullmatch(request_id):
            raise InvalidArgument([("request_id", "must be a UUID")])
        return cls(method, request_id, hashlib.sha256(request.SerializeToString(deterministic=True)).digest())


def write_once(  # noqa: PLR0917 - in the order in which they are spoken of
    store: Store,
    seal: Seal,
    tenant_id: int | None,
    attempt: Attempt,
    answer_type: type[_Answer],
    work: Callable[[Session], _Answer],
    *,
    now: datetime,
    wait_s: float = WRITER_WAIT_S,
) -> _Answer:
    """Run `work` in one transaction under the tenant's lock, or give the answer that it gave before.

    `tenant_id` None is for tenants themselves. Answers are kept sealed: that of CreateSource holds a password.
    Errors: RequestIdReused when the body is another one; whatever `work` raises, and then nothing is written.
    """
    with store.write(tenant_id, wait_s=wait_s) as session:
        if not attempt.request_id:
            return work(session)
        owner_id = tenant_id or 0
        _take_turn(session, owner_id, attempt.request_id)
        _forget_old(session, owner_id, now)
        belongs_to = f"request_replays/{owner_id}/{attempt.request_id}"
        kept = session.get(RequestReplay, (owner_id, attempt.request_id))
        if kept is not None:
            if kept.method != attempt.method or kept.body_sha256 != attempt.body_sha256:
                raise RequestIdReused
            return answer_type.FromString(seal.open(kept.answer, belongs_to=belongs_to))
        answer = work(session)
        session.add(
            RequestReplay(
                tenant_id=owner_id,
                request_id=attempt.request_id,
                method=attempt.method,
                body_sha256=attempt.body_sha256,
                answer=seal.close_up(answer.SerializeToString(), belongs_to=belongs_to),
                create_time=now,
            )
        )
        return answer


def _take_turn(session: Session, owner_id: int, request_id: str) -> None:
    """Let a retry that overtakes its first attempt wait for it; on SQLite writers take turns anyway."""
    if session.get_bind().dialect.name == "sqlite":
        return
    digest = hashlib.blake2b(f"{owner_id}/{request_id}".encode(), digest_size=4).digest()
    key = int.from_bytes(digest, "big", signed=True)
    session.connection().execute(text("SELECT pg_advisory_xact_lock(:space, :key)"), {"space": _LOCK_SPACE, "key": key})


def _forget_old(session: Session, owner_id: int, now: datetime) -> None:
    """Delete answers past their time, a few at a time; SKIP LOCKED (PostgreSQL) lets two writers do it at once."""
    old = (
        select(RequestReplay.request_id)
        .where(col(RequestReplay.tenant_id) == owner_id, col(RequestReplay.create_time) < now - KEPT_FOR)
        .limit(1000)
        .with_for_update(skip_locked=True)
    )
    session.connection().execute(
        delete(RequestReplay).where(col(RequestReplay.tenant_id) == owner_id, col(RequestReplay.request_id).in_(old))
    )
