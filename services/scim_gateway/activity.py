"""Send what was asked and answered on to the directory's activity log, behind the requests' backs (S13).

Nothing here slows or fails a request. While the directory is away requests wait, at most so many; of the rest the
number is kept.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field

import grpc.aio
import structlog
from muster.directory.v1 import scim_activity_pb2 as pb
from muster.directory.v1 import scim_activity_pb2_grpc
from muster.runtime.errors import failure_of

log = structlog.get_logger()

MOST_WAITING = 10_000
"""Requests that wait to be sent."""
MOST_STRANGERS = 20
"""Refused credentials whose requests wait: whoever tries keys must not make the directory look each of them up."""
AT_ONCE = 200
LINGER_S = 0.5
"""How long the first request waits for others to be sent with."""

_LONGEST_WAIT_S = 30.0
_WITHIN_S = 5.0
_HOPELESS = frozenset({"UNAUTHENTICATED", "INVALID_ARGUMENT"})


@dataclass
class _Waiting:
    """Requests that showed one credential."""

    is_stranger: bool
    requests: deque[pb.ScimRequest] = field(default_factory=deque)
    dropped: int = 0


class ActivityLog:
    """Requests on their way to the directory, sent in batches by a task that lives while there are any."""

    def __init__(self, channel: grpc.aio.Channel, *, linger_s: float = LINGER_S) -> None:
        self._stub = scim_activity_pb2_grpc.ScimActivityServiceStub(channel)
        self._linger_s = linger_s
        self._waiting: dict[str, _Waiting] = {}
        self._count = 0
        self._sender: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    def note(self, credential: str, request: pb.ScimRequest) -> None:
        """Keep a request to be sent; without a credential it is nobody's."""
        is_refused = request.status in {401, 429}
        waiting = self._waiting.get(credential)
        if waiting is None:
            if not credential or (is_refused and self._strangers() >= MOST_STRANGERS):
                return
            waiting = self._waiting[credential] = _Waiting(is_stranger=is_refused)
        waiting.is_stranger = waiting.is_stranger and is_refused
        if self._count >= MOST_WAITING:
            waiting.dropped += 1
        else:
            waiting.requests.append(request)
            self._count += 1
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def flush(self, *, within_s: float) -> None:
        """Send at once what waits, at the end; what is being sent just now is waited for."""
        self._hurry.set()
        try:
            async with asyncio.timeout(within_s):
                if self._sender is not None:
                    await self._sender
        except TimeoutError:
            pass
        self._hurry.clear()
        if self._count:
            log.warning("activity.lost", requests=self._count)

    def _strangers(self) -> int:
        return sum(each.is_stranger for each in self._waiting.values())

    async def _send(self) -> None:
        wait_s = self._linger_s
        while self._waiting:
            await self._pause(wait_s)
            is_sent = await self._send_batches()
            if self._hurry.is_set() and not is_sent:
                return
            wait_s = self._linger_s if is_sent else min(_LONGEST_WAIT_S, max(1.0, wait_s * 2))

    async def _pause(self, wait_s: float) -> None:
        """Wait so long, or until there is no time left."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._hurry.wait()

    async def _send_batches(self) -> bool:
        """Send a batch of each credential; False when some must be sent again, and none more is worth trying now."""
        is_sent = True
        for credential, waiting in list(self._waiting.items()):
            batch = [waiting.requests.popleft() for _ in range(min(AT_ONCE, len(waiting.requests)))]
            reason = await self._sent(credential, batch, waiting.dropped)
            if reason and reason not in _HOPELESS:
                waiting.requests.extendleft(reversed(batch))
                is_sent = False
                if reason != "TENANT_BUSY":
                    return False
                continue
            if not reason and waiting.dropped:
                log.warning("activity.dropped", requests=waiting.dropped)
            waiting.dropped = 0
            self._count -= len(batch)
            if not waiting.requests:
                del self._waiting[credential]
        return is_sent

    async def _sent(self, credential: str, batch: list[pb.ScimRequest], dropped: int) -> str:
        """Send a batch; answers why it was not kept, or nothing."""
        request = pb.RecordActivityRequest(credential=credential, requests=batch, dropped=dropped)
        try:
            await self._stub.RecordActivity(request, timeout=_WITHIN_S)
        except grpc.RpcError as error:
            reason = failure_of(error).reason
            if reason != "UNAUTHENTICATED":
                log.warning("activity.not_recorded", reason=reason, requests=len(batch))
            return reason
        return ""
