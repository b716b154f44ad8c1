"""Send calls of one key that wait at the same moment as one (docs/adr/0029, docs/adr/0032).

A call that finds none of its key under way goes by itself, at once. Those that come meanwhile go together when it has
been answered and its sender has had the time to come back, or after a moment, so that none waits long for another that
does. While they keep coming they go on a line of their key, half of them at a time: the directory answers one half
while the other one comes and goes. Reading does not wait for writing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc.aio
from muster.directory.v1 import provisioning_pb2 as pb
from muster.directory.v1 import provisioning_pb2_grpc
from muster.runtime import identity
from muster.runtime.effects import EFFECTS, effects_of
from muster.runtime.errors import Failure, failure_in, failure_of

from services.scim_gateway.lines import Line, LineLostError

PATIENCE_S: Final = 0.02
"""How long those who wait hold back for an answer that is on its way."""
RETURN_S: Final = 0.005
"""How long they then hold back for those who have just been answered: who has more to ask mostly asks at once."""
LINGER_S: Final = 1.0
"""How long a line stays when nobody asks."""
REFUSED_S: Final = 5.0
"""How long no line is opened after the directory has refused one."""
MOST_CALLS: Final = 32
MOST_LINES: Final = 4
"""Each takes one of the directory's threads; the other keys go without."""
_ON_A_LINE: Final = 2
"""Batches that are on their way at one time."""
_LEAST_HALVED: Final = 8
"""Calls that are worth two batches."""
_WRITES: Final = frozenset({"create_user", "update_user", "update_group"})
_TOO_LATE: Final = Failure(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", "")


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
    """A call that waits since then; `until_s` is when nobody waits for it any more."""

    call: pb.ProvisioningCall
    since_s: float
    until_s: float
    answered: asyncio.Future[Answered] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


@dataclass
class _Lane:
    """Calls of one key that read, or that write.

    How many requests are under way, with how many calls; what waits, and how many more are expected to: those who have
    just been answered.
    """

    key: str = field(repr=False)
    is_writing: bool
    requests: int = 0
    calls: int = 0
    waiting: list[_Waiting] = field(default_factory=list)
    expected: int = 0
    timer: asyncio.TimerHandle | None = None
    line: Line | None = None

    @property
    def enough(self) -> int:
        """How many must wait for a batch to go: on a line a half of all who ask, else all."""
        rest = len(self.waiting) + self.expected
        everybody = self.calls + rest
        if self.line is not None and everybody >= _LEAST_HALVED and self.requests < _ON_A_LINE:
            return min(rest, (everybody + 1) // 2, MOST_CALLS)
        return min(rest, MOST_CALLS) if not self.requests else MOST_CALLS + 1

    @property
    def is_idle(self) -> bool:
        return not self.requests and not self.waiting

    def wake(self, after_s: float, what: Callable[[_Lane], None]) -> None:
        """Do this after a while, and no more what was to be done before."""
        self.forget()
        self.timer = asyncio.get_running_loop().call_later(after_s, what, self)

    def forget(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


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
        self._no_lines_until_s = 0.0

    async def call(self, kind: str, request: Any, *, key: str, request_id: str, timeout_s: float) -> Answered:
        """Make a call; `kind` is its field in ProvisioningCall. Errors: FailedCallError, grpc.RpcError."""
        is_writing = kind in _WRITES
        lane = self._lanes.get((key, is_writing))
        if lane is None:
            lane = self._lanes[key, is_writing] = _Lane(key, is_writing, requests=1, calls=1)
            try:
                return await self._single(kind, request, key=key, request_id=request_id, timeout_s=timeout_s)
            finally:
                self._answered(lane, 1)
        now_s = time.monotonic()
        waiting = _Waiting(_call_of(kind, request, request_id), now_s, now_s + timeout_s)
        lane.waiting.append(waiting)
        lane.expected -= lane.expected > 0
        self._consider(lane)
        try:
            async with asyncio.timeout(timeout_s):
                return await waiting.answered
        except TimeoutError:
            raise FailedCallError(_TOO_LATE) from None

    async def _single(self, kind: str, request: Any, *, key: str, request_id: str, timeout_s: float) -> Answered:
        metadata = (identity.bearer(key), (identity.REQUEST_ID, request_id))
        if kind != "get_group":
            return await outcome_of(self._alone[kind](request, metadata=metadata, timeout=timeout_s))
        call = self.stub.GetProvisionedGroup(request, metadata=metadata, timeout=timeout_s)
        return await _with_trailer(call, await anext(aiter(call)))

    def _consider(self, lane: _Lane) -> None:
        """Let those who wait go if they are enough, or see to it that they do not wait for ever."""
        enough = lane.enough
        if len(lane.waiting) >= enough:
            self._send(lane, enough)
        elif lane.timer is None:
            lane.wake(PATIENCE_S, self._overdue)

    def _answered(self, lane: _Lane, calls: int) -> None:
        """Let those who wait go when as many have come back as have been answered, or in a moment."""
        lane.requests -= 1
        lane.calls -= calls
        if calls == 1 and lane.is_idle and lane.line is None:
            self._leave(lane)
            return
        lane.expected = min(MOST_CALLS, lane.expected + calls)
        lane.wake(RETURN_S, self._overdue)
        if lane.waiting:
            self._consider(lane)

    def _overdue(self, lane: _Lane) -> None:
        """Wait no longer for those who have not come back, nor too long for an answer."""
        lane.timer = None
        lane.expected = 0
        lane.waiting = [each for each in lane.waiting if not each.answered.done()]
        if lane.is_idle and lane.line is not None:
            lane.wake(LINGER_S, self._leave)
        elif lane.is_idle:
            self._leave(lane)
        elif lane.waiting and time.monotonic() - lane.waiting[0].since_s >= PATIENCE_S:
            self._send(lane, MOST_CALLS)
        elif lane.waiting:
            self._consider(lane)

    def _leave(self, lane: _Lane) -> None:
        """Forget a lane where nobody is."""
        lane.forget()
        if lane.line is not None:
            lane.line.end()
        del self._lanes[lane.key, lane.is_writing]

    def _send(self, lane: _Lane, most: int) -> None:
        """Send what waits: on the lane's line, or beside it when it has been waited for too long."""
        waiting = [each for each in lane.waiting if not each.answered.done()]
        batch, lane.waiting = waiting[:most], waiting[most:]
        lane.forget()
        if lane.waiting or not batch:
            lane.wake(PATIENCE_S, self._overdue)
        if not batch:
            return
        line = self._line_of(lane, batch[0].call.request_id) if lane.requests < _ON_A_LINE else None
        lane.requests += 1
        lane.calls += len(batch)
        task = asyncio.create_task(self._send_batch(lane, batch, line))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _send_batch(self, lane: _Lane, batch: Sequence[_Waiting], line: Line | None) -> None:
        until_s = max(each.until_s for each in batch)
        try:
            answers, tenant = await self._asked(lane.key, [each.call for each in batch], line, until_s)
            for each, answer in zip(batch, answers, strict=True):
                _tell(each, answer, tenant)
        except (grpc.RpcError, TimeoutError) as error:
            failure = failure_of(error) if isinstance(error, grpc.RpcError) else _TOO_LATE
            for each in batch:
                if not each.answered.done():
                    each.answered.set_exception(FailedCallError(failure))
        finally:
            self._answered(lane, len(batch))

    async def _asked(
        self, key: str, calls: Sequence[pb.ProvisioningCall], line: Line | None, until_s: float
    ) -> tuple[Iterable[pb.ProvisioningAnswer], str]:
        """Give what comes of a batch, and whose key it is. Errors: grpc.RpcError, TimeoutError."""
        if line is not None:
            try:
                return await line.ask(calls, timeout_s=until_s - time.monotonic()), line.tenant
            except LineLostError:  # made perhaps, or not: each call has a request_id, so that it is made once
                if line.is_refused:
                    self._no_lines_until_s = time.monotonic() + REFUSED_S
        metadata = (identity.bearer(key), (identity.REQUEST_ID, calls[0].request_id))
        call = self.stub.BatchCall(
            pb.BatchCallRequest(calls=calls), metadata=metadata, timeout=until_s - time.monotonic()
        )
        return (await call).answers, identity.tenant_of(await call.trailing_metadata())

    def _line_of(self, lane: _Lane, request_id: str) -> Line | None:
        """Give the lane's line, or open one if there may be one more."""
        if lane.line is not None and lane.line.is_lost:
            lane.line = None
        if lane.line is None and time.monotonic() >= self._no_lines_until_s and self._has_room():
            lane.line = Line(self.stub, lane.key, request_id)
        return lane.line

    def _has_room(self) -> bool:
        """Say whether one more line may be opened; where nobody is, one is closed for it."""
        with_line = [lane for lane in self._lanes.values() if lane.line is not None and not lane.line.is_lost]
        if len(with_line) < MOST_LINES:
            return True
        idle = next((lane for lane in with_line if lane.is_idle), None)
        if idle is not None:
            self._leave(idle)
        return idle is not None


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
