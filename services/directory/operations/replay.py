"""Do a mutation once per request_id: its answer is kept 24 hours in the same transaction as its effect."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from google.protobuf.message import Message
from sqlmodel import Session

from services.directory.rules.errors import InvalidArgument, RequestIdReused
from services.directory.store.seal import Seal
from services.directory.store.session import WRITER_WAIT_S, Store
from services.directory.store.statements import Insertion, Statement, moment_of
from services.directory.store.tables import RequestReplay

KEPT_FOR = timedelta(hours=24)
_FORM = re.compile(r"[0-9A-Za-z._-]{1,64}")
_LOCK_SPACE = 7_236
_Answer = TypeVar("_Answer", bound=Message)
Requirement = Callable[[Session], Callable[[], None]]
"""Asks for what any work needs, and gives what refuses it once the answer is there."""


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
    require: Requirement | None = None,
) -> _Answer:
    """Run `work` in one transaction under the tenant's lock, or give the answer that it gave before.

    `tenant_id` None is for tenants themselves. Answers are kept sealed: that of CreateSource holds a password.
    Errors: RequestIdReused when the body is another one; whatever `work` raises, and then nothing is written.
    """
    (answer,) = write_all_once(
        store,
        seal,
        tenant_id,
        [attempt],
        answer_type,
        lambda session, _: [work(session)],
        now=now,
        wait_s=wait_s,
        is_brief=is_brief,
        require=require,
    )
    assert answer is not None
    return answer


def write_all_once(  # noqa: PLR0917 - in the order in which they are spoken of
    store: Store,
    seal: Seal,
    tenant_id: int | None,
    attempts: Sequence[Attempt],
    answer_type: type[_Answer],
    work: Callable[[Session, Sequence[int]], Sequence[_Answer | None]],
    *,
    now: datetime,
    wait_s: float = WRITER_WAIT_S,
    is_brief: bool = False,
    require: Requirement | None = None,
) -> list[_Answer | None]:
    """Do for several attempts, in one transaction, what `write_once` does for one.

    `work` is told the places of those that have not been answered before, and answers each; None, and nothing written,
    for one that cannot be done together with others. What any work needs is asked for by `require`, along with the
    kept answers.
    """
    owner_id = tenant_id or 0
    named = {each.request_id for each in attempts if each.request_id}
    turns = [_turn_of(owner_id, request_id) for request_id in named]
    with store.write(tenant_id, wait_s=wait_s, turns=turns, is_brief=is_brief) as session:
        refuse = require(session) if require else None
        kept = _kept(session, owner_id, sorted(named), now - KEPT_FOR) if named else {}
        answers = [_opened(seal, owner_id, each, kept.get(each.request_id), answer_type) for each in attempts]
        new = [place for place, answer in enumerate(answers) if answer is None]
        if new and refuse:
            refuse()
        rows = []
        for place, answer in zip(new, work(session, new) if new else (), strict=True):
            answers[place] = answer
            attempt = attempts[place]
            if answer is not None and attempt.request_id:
                rows.append(
                    {
                        "t": owner_id,
                        "request_id": attempt.request_id,
                        "method": attempt.method,
                        "body": attempt.body_sha256,
                        "answer": seal.close_up(
                            answer.SerializeToString(), belongs_to=_belongs_to(owner_id, attempt.request_id)
                        ),
                        "now": now,
                    }
                )
        if rows:
            _KEEP.run_many(session, rows)
        return answers


def _opened(seal: Seal, owner_id: int, attempt: Attempt, kept: Any, answer_type: type[_Answer]) -> _Answer | None:
    """Open the answer that an attempt was given before; None without one. Errors: RequestIdReused."""
    if kept is None:
        return None
    if kept.method != attempt.method or kept.body_sha256 != attempt.body_sha256:
        raise RequestIdReused
    return answer_type.FromString(seal.open(kept.answer, belongs_to=_belongs_to(owner_id, attempt.request_id)))


def _belongs_to(owner_id: int, request_id: str) -> str:
    """Name the row that a sealed answer is of."""
    return f"request_replays/{owner_id}/{request_id}"


def _turn_of(owner_id: int, request_id: str) -> tuple[int, int]:
    """Name the lock by which a retry that overtakes its first attempt waits for it."""
    digest = hashlib.blake2b(f"{owner_id}/{request_id}".encode(), digest_size=4).digest()
    return _LOCK_SPACE, int.from_bytes(digest, "big", signed=True)


def _kept(session: Session, owner_id: int, request_ids: list[str], oldest: datetime) -> dict[str, Any]:
    """Read the kept answers by request_id, and delete answers past their time, a few at a time."""
    values = {"t": owner_id, "request_ids": request_ids, "oldest": oldest}
    if session.get_bind().dialect.name == "sqlite":
        _FORGET_ON_SQLITE.run(session, **values)
    return {row.request_id: row for row in _KEPT.run(session, **values) if moment_of(row.create_time) >= oldest}


_COLUMNS: Final = "request_id, method, body_sha256, answer, create_time"

_KEPT: Final = Statement(
    f"""
    WITH old AS (
        SELECT request_id FROM request_replays WHERE tenant_id = :t AND create_time < :oldest
        LIMIT 1000 FOR UPDATE SKIP LOCKED),
    gone AS (
        DELETE FROM request_replays
        WHERE tenant_id = :t AND request_id = ANY(ARRAY(SELECT request_id FROM old)))
    SELECT {_COLUMNS} FROM request_replays
    WHERE tenant_id = :t AND request_id = ANY(:request_ids)
    """,
    sqlite=f"""
    SELECT {_COLUMNS} FROM request_replays
    WHERE tenant_id = :t AND request_id IN (SELECT value FROM json_each(:request_ids))
    """,
)
"""Both in one round trip; SKIP LOCKED lets two writers forget at once.

Which of them are past their time is not asked: either database might go through all that was kept within it, which it
takes for the shorter way while there is little.
"""

_FORGET_ON_SQLITE: Final = Statement("""
    DELETE FROM request_replays WHERE tenant_id = :t AND request_id IN (
        SELECT request_id FROM request_replays WHERE tenant_id = :t AND create_time < :oldest LIMIT 1000)
""")

_KEEP: Final = Insertion(
    RequestReplay,
    {
        "tenant_id": ":t",
        "request_id": ":request_id",
        "method": ":method",
        "body_sha256": ":body",
        "answer": ":answer",
        "create_time": ":now",
    },
)
