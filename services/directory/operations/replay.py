"""Do a mutation once per request_id: its answer is kept 24 hours in the same transaction as its effect."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from sqlmodel import Session

from services.directory.rules.errors import InvalidArgument, RequestIdReused
from services.directory.store.seal import Seal
from services.directory.store.session import WRITER_WAIT_S, Store
from services.directory.store.statements import Statement

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
    is_brief: bool = False,
) -> _Answer:
    """Run `work` in one transaction under the tenant's lock, or give the answer that it gave before.

    `tenant_id` None is for tenants themselves. Answers are kept sealed: that of CreateSource holds a password.
    Errors: RequestIdReused when the body is another one; whatever `work` raises, and then nothing is written.
    """
    owner_id = tenant_id or 0
    turn = _turn_of(owner_id, attempt.request_id) if attempt.request_id else None
    with store.write(tenant_id, wait_s=wait_s, turn=turn, is_brief=is_brief) as session:
        if not attempt.request_id:
            return work(session)
        belongs_to = f"request_replays/{owner_id}/{attempt.request_id}"
        kept = _kept(session, owner_id, attempt.request_id, now - KEPT_FOR)
        if kept is not None:
            if kept.method != attempt.method or kept.body_sha256 != attempt.body_sha256:
                raise RequestIdReused
            return answer_type.FromString(seal.open(kept.answer, belongs_to=belongs_to))
        answer = work(session)
        _KEEP.run(
            session,
            t=owner_id,
            request_id=attempt.request_id,
            method=attempt.method,
            body=attempt.body_sha256,
            answer=seal.close_up(answer.SerializeToString(), belongs_to=belongs_to),
            now=now,
        )
        return answer


def _turn_of(owner_id: int, request_id: str) -> tuple[int, int]:
    """Name the lock by which a retry that overtakes its first attempt waits for it."""
    digest = hashlib.blake2b(f"{owner_id}/{request_id}".encode(), digest_size=4).digest()
    return _LOCK_SPACE, int.from_bytes(digest, "big", signed=True)


def _kept(session: Session, owner_id: int, request_id: str, oldest: datetime) -> Any:
    """Read the kept answer, and delete answers past their time, a few at a time."""
    values = {"t": owner_id, "request_id": request_id, "oldest": oldest}
    if session.get_bind().dialect.name == "sqlite":
        _FORGET_ON_SQLITE.run(session, **values)
    return _KEPT.run(session, **values).first()


_READ: Final = """
    SELECT method, body_sha256, answer FROM request_replays
    WHERE tenant_id = :t AND request_id = :request_id AND create_time >= :oldest
"""

_KEPT: Final = Statement(
    f"""
    WITH old AS (
        SELECT request_id FROM request_replays WHERE tenant_id = :t AND create_time < :oldest
        LIMIT 1000 FOR UPDATE SKIP LOCKED),
    gone AS (DELETE FROM request_replays r USING old WHERE r.tenant_id = :t AND r.request_id = old.request_id)
    {_READ}
    """,
    sqlite=_READ,
)
"""Both in one round trip; SKIP LOCKED lets two writers forget at once."""

_FORGET_ON_SQLITE: Final = Statement("""
    DELETE FROM request_replays WHERE tenant_id = :t AND request_id IN (
        SELECT request_id FROM request_replays WHERE tenant_id = :t AND create_time < :oldest LIMIT 1000)
""")

_KEEP: Final = Statement("""
    INSERT INTO request_replays (tenant_id, request_id, method, body_sha256, answer, create_time)
    VALUES (:t, :request_id, :method, :body, :answer, :now)
""")
