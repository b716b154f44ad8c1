"""Send calls of one key that wait at the same moment as one (docs/adr/0029).

A call that finds none of its key under way goes by itself, at once. Those that come meanwhile go together when it has
been answered and its sender has had the time to come back, or after a moment, so that none waits long for another that
does. Reading does not wait for writing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio
from muster.directory.v1 import provisioning_pb2 as pb
from muster.directory.v1 import provisioning_pb2_grpc
from muster.runtime import identity
from muster.runtime.effects import EFFECTS, effects_of
from muster.runtime.errors import Failure, failure_in, failure_of

PATIENCE_S: Final = 0.02
"""How long those who wait hold back for an answer that is on its way."""
RETURN_S: Final = 0.005
"""How long they then hold back for those who have just been answered: who has more to ask mostly asks at once."""
MOST_CALLS: Final = 32
_WRITES: Final = frozenset({"create_user", "update_user", "update_group"})


class FailedCallError(Exception):
    """A call was refused, or did not reach the directory."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


@dataclass
class Answered:
    """What came of a call: its answer, what it changed, and whose it was where the directory has said so."""

    message: Any
    effects: dict[str, int]
    tenant: str


@dataclass
class _Waiting:
    """A call that waits; `until_s` is when nobody waits for it any more."""

    call: pb.ProvisioningCall
    until_s: float
    answered: asyncio.Future[Answered] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass
class _Lane:
    """Calls of one key that read, or that write: how many requests are under way, what waits, and for how many more."""

    key: str
    is_writing: bool
    under_way: int = 0
    waiting: list[_Waiting] = field(default_factory=list)
    expected: int = 0
    timer: asyncio.TimerHandle | None = None


class Together:
    """The brief calls of all keys on one channel."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.stub: Any = provisioning_pb2_grpc.ProvisioningServiceStub(channel)
        self._alone: dict[str, Any] = {
            "get_user": self.stub.GetProvisionedUser,
            "search": self.stub.SearchProvisioned,
            "create_user": self.stub.CreateProvisionedUser,
            "update_user": self.stub.UpdateProvisionedUser,
            "update_group": self.stub.UpdateProvisionedGroup,
        }
        self._lanes: dict[tuple[str, bool], _Lane] = {}
        self._sending: set[asyncio.Task[None]] = set()

    async def call(self, kind: str, request: Any, *, key: str, request_id: str, timeout_s: float) -> Answered:
        """Make a call; `kind` is its field in ProvisioningCall. Errors: FailedCallError, grpc.RpcError."""
        is_writing = kind in _WRITES
        lane = self._lanes.get((key, is_writing))
        if lane is None:
            lane = self._lanes[key, is_writing] = _Lane(key, is_writing, under_way=1)
            try:
                return await self._single(kind, request, key=key, request_id=request_id, timeout_s=timeout_s)
            finally:
                self._answered(lane, 1)
        waiting = _Waiting(_call_of(kind, request, request_id), time.monotonic() + timeout_s)
        lane.waiting.append(waiting)
        if not lane.under_way and len(lane.waiting) >= lane.expected:
            self._send(lane)
        elif lane.timer is None:
            lane.timer = asyncio.get_running_loop().call_later(PATIENCE_S, self._send, lane)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting.answered
        except TimeoutError:
            raise FailedCallError(Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "")) from None

    async def _single(self, kind: str, request: Any, *, key: str, request_id: str, timeout_s: float) -> Answered:
        metadata = (identity.bearer(key), (identity.REQUEST_ID, request_id))
        if kind != "get_group":
            return await outcome_of(self._alone[kind](request, metadata=metadata, timeout=timeout_s))
        call = self.stub.GetProvisionedGroup(request, metadata=metadata, timeout=timeout_s)
        return await _with_trailer(call, await anext(aiter(call)))

    def _answered(self, lane: _Lane, calls: int) -> None:
        """Let those who wait go when as many have come back as have been answered, or in a moment."""
        lane.under_way -= 1
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        if calls == 1 and not lane.waiting:
            self._send(lane)
            return
        lane.expected = min(MOST_CALLS, calls + len(lane.waiting))
        lane.timer = asyncio.get_running_loop().call_later(RETURN_S, self._send, lane)

    def _send(self, lane: _Lane) -> None:
        """Send what waits; without any the lane is no more."""
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        batch = [each for each in lane.waiting if not each.answered.done()]
        lane.waiting = batch[MOST_CALLS:]
        if not batch:
            if not lane.under_way:
                del self._lanes[lane.key, lane.is_writing]
            return
        lane.under_way += 1
        task = asyncio.create_task(self._send_batch(lane, batch[:MOST_CALLS]))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_batch(self, lane: _Lane, batch: Sequence[_Waiting]) -> None:
        metadata = (identity.bearer(lane.key), (identity.REQUEST_ID, batch[0].call.request_id))
        timeout_s = max(each.until_s for each in batch) - time.monotonic()
        try:
            call = self.stub.BatchCall(
                pb.BatchCallRequest(calls=[each.call for each in batch]), metadata=metadata, timeout=timeout_s
            )
            answers: Iterable[pb.ProvisioningAnswer] = (await call).answers
            tenant = identity.tenant_of(await call.trailing_metadata())
            for each, answer in zip(batch, answers, strict=True):
                _tell(each, answer, tenant)
        except grpc.RpcError as error:
            failure = failure_of(error)
            for each in batch:
                if not each.answered.done():
                    each.answered.set_exception(FailedCallError(failure))
        finally:
            self._answered(lane, len(batch))


async def outcome_of(call: Any) -> Answered:
    """Wait for what comes of a call by itself. Errors: grpc.RpcError."""
    return await _with_trailer(call, await call)


async def _with_trailer(call: Any, message: Any) -> Answered:
    trailer = await call.trailing_metadata()
    return Answered(message, effects_of(trailer), identity.tenant_of(trailer))


def _call_of(kind: str, request: Any, request_id: str) -> pb.ProvisioningCall:
    what: Any = {kind: request}
    return pb.ProvisioningCall(request_id=request_id, **what)


def _tell(waiting: _Waiting, answer: pb.ProvisioningAnswer, tenant: str) -> None:
    if waiting.answered.done():  # nobody is there any more
        return
    kind = answer.WhichOneof("answer")
    if kind == "failure":
        waiting.answered.set_exception(FailedCallError(failure_in(answer.failure)))
    else:
        effects = effects_of([(EFFECTS, answer.effects)])
        waiting.answered.set_result(Answered(getattr(answer, str(kind)), effects, tenant))
