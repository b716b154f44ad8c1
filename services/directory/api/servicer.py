"""What every servicer stands on: the store, the clock, secrets, and how a mutation is done once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp
from sqlmodel import Session

from services.directory.operations.replay import Attempt, Requirement, write_all_once, write_once
from services.directory.operations.source_secrets import HostedDrop
from services.directory.operations.tenants import living_later
from services.directory.rules.errors import TooManyWatchers
from services.directory.rules.passwords import Passwords
from services.directory.store.seal import Seal
from services.directory.store.session import WRITER_WAIT_S, Store

MOST_WATCHERS = 8
_LEAST_WAIT_S = 0.05
_BRIEF_BYTES = 16 * 1024
"""Up to how large a request is taken for little work, which others may wait for."""
_Answer = TypeVar("_Answer", bound=Message)


class WatchSlots:
    """Places for streams that stay: each takes one of the server's threads."""

    def __init__(self, most: int = MOST_WATCHERS) -> None:
        self._most = most
        self._free = threading.BoundedSemaphore(most)

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place. Errors: TooManyWatchers."""
        if not self._free.acquire(blocking=False):
            raise TooManyWatchers(most=self._most)
        try:
            yield
        finally:
            self._free.release()

    def wait_until_free(self, *, timeout_s: float = 0.5) -> None:
        """Wait until streams that were cut have let go of the store, at most `timeout_s` each."""
        held = [self._free.acquire(timeout=timeout_s) for _ in range(self._most)]
        for _ in filter(None, held):
            self._free.release()


@dataclass(frozen=True)
class Resources:
    """What servicers are given at start."""

    store: Store
    seal: Seal
    clock: Callable[[], datetime]
    stages: Path
    pepper: bytes = field(repr=False)
    drop: HostedDrop = field(default_factory=HostedDrop)
    watchers: WatchSlots = field(default_factory=WatchSlots)
    batch_streams: WatchSlots = field(default_factory=WatchSlots)
    passwords: Passwords = field(default_factory=Passwords)
    event_retention: timedelta = timedelta(days=730)
    activity_retention: timedelta = timedelta(days=30)


class Servicer:
    """The root of the servicers."""

    def __init__(self, resources: Resources) -> None:
        self.store = resources.store
        self.seal = resources.seal
        self.clock = resources.clock
        self.stages = resources.stages
        self.pepper = resources.pepper
        self.drop = resources.drop
        self.watchers = resources.watchers
        self.batch_streams = resources.batch_streams
        self.passwords = resources.passwords

    def write_once(
        self,
        request: Message,
        context: grpc.ServicerContext,
        tenant_id: int | None,
        answer_type: type[_Answer],
        work: Callable[[Session, datetime], _Answer],
        *,
        deleted_too: bool = False,
    ) -> _Answer:
        """Run `work(session, now)` in one transaction, once per request_id; see `operations.replay`.

        It waits for the tenant's lock as long as the caller's deadline lets it, at most 2 s (R44). Errors: NotFound for
        a tenant that is none, or was deleted, unless `deleted_too`.
        """
        now = self.clock()
        return write_once(
            self.store,
            self.seal,
            tenant_id,
            Attempt.of(request.DESCRIPTOR.full_name, request),
            answer_type,
            lambda session: work(session, now),
            now=now,
            wait_s=lock_wait_s(context),
            is_brief=request.ByteSize() <= _BRIEF_BYTES,
            require=_living(tenant_id) if tenant_id and not deleted_too else None,
        )

    def write_all_once(
        self,
        requests: Sequence[Message],
        context: grpc.ServicerContext,
        tenant_id: int,
        answer_type: type[_Answer],
        work: Callable[[Session, datetime, Sequence[int]], Sequence[_Answer | None]],
    ) -> list[_Answer | None]:
        """Run `work(session, now, places)` in one transaction for several requests, each once per its request_id.

        It answers those at the places; None, and nothing written, for what cannot be done together with others.
        """
        now = self.clock()
        return write_all_once(
            self.store,
            self.seal,
            tenant_id,
            [Attempt.of(request.DESCRIPTOR.full_name, request) for request in requests],
            answer_type,
            lambda session, places: work(session, now, places),
            now=now,
            wait_s=lock_wait_s(context),
            is_brief=sum(request.ByteSize() for request in requests) <= _BRIEF_BYTES,
            require=_living(tenant_id),
        )


def _living(tenant_id: int) -> Requirement:
    """Require that the tenant is there."""
    return lambda session: living_later(session, tenant_id)


def lock_wait_s(context: grpc.ServicerContext) -> float:
    """Say how long a writer may wait for a lock: 2 s, or less when the caller's deadline is nearer."""
    remaining = context.time_remaining()
    return WRITER_WAIT_S if remaining is None else max(_LEAST_WAIT_S, min(WRITER_WAIT_S, remaining))


def timestamp(moment: datetime) -> Timestamp:
    """Write a moment as the contract has it."""
    written = Timestamp()
    written.FromDatetime(moment)
    return written
