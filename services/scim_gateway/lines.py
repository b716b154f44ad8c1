"""A stream to the directory on which the batches of one key follow one another (docs/adr/0032)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import grpc.aio
from google.protobuf.duration_pb2 import Duration
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime import identity

_MS: Final = 1000
_REFUSALS: Final = frozenset(
    {
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.INTERNAL,  # what gRPC says itself where a batch met the stream's end
    }
)
Answers = Sequence[pb.ProvisioningAnswer]


class LineLostError(Exception):
    """The stream ended before it had answered, whatever it ended with; what was asked may be asked anew without it."""


class Line:
    """A stream that stays open between batches. Several may be on their way; they are answered in their order."""

    def __init__(self, stub: Any, key: str, request_id: str) -> None:
        metadata = (identity.bearer(key), (identity.REQUEST_ID, request_id))
        self._call = stub.StreamBatches(metadata=metadata)
        self._asked: deque[asyncio.Future[Answers | None]] = deque()
        self._writing = asyncio.Lock()
        self._reader = asyncio.create_task(self._read())
        self._ending: asyncio.Task[None] | None = None
        self.tenant = ""
        """Whose key it is, once a batch has been answered."""
        self.is_lost = False
        self.is_refused = False
        """Whether it is lost since there may be none now."""

    async def ask(self, calls: Sequence[pb.ProvisioningCall], *, timeout_s: float) -> Answers:
        """Send a batch and wait for its answers. Errors: LineLostError, TimeoutError; then the line is lost, too."""
        request = pb.StreamBatchesRequest(calls=calls, timeout=Duration())
        request.timeout.FromMilliseconds(int(timeout_s * _MS))
        answered: asyncio.Future[Answers | None] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_s):
                await self._write(request, answered)
                answers = await answered
        except TimeoutError:
            self.cut()
            raise
        if answers is None:
            raise LineLostError
        return answers

    async def _write(self, request: pb.StreamBatchesRequest, answered: asyncio.Future[Answers | None]) -> None:
        async with self._writing:
            if self.is_lost:
                raise LineLostError
            self._asked.append(answered)
            try:
                await self._call.write(request)
            except (grpc.RpcError, asyncio.InvalidStateError):
                await asyncio.wait([self._reader])  # which is told what it ended with, and tells whoever waits
            except asyncio.CancelledError:
                if not self._call.cancelled():
                    raise
                raise LineLostError from None  # it was cut for another one

    def end(self) -> None:
        """Let the directory go, when nothing is on its way."""
        self.is_lost = True
        self._ending = asyncio.create_task(self._end())

    def cut(self) -> None:
        """End the stream now, whatever is on its way."""
        self._reader.cancel()
        self._call.cancel()

    async def _end(self) -> None:
        try:
            await self._call.done_writing()
            await self._reader
        except (grpc.RpcError, asyncio.InvalidStateError):
            self.cut()

    async def _read(self) -> None:
        try:
            while isinstance(message := await self._call.read(), pb.StreamBatchesResponse):
                self.tenant = self.tenant or identity.tenant_of(await self._call.initial_metadata())
                answered = self._asked.popleft()
                if not answered.done():
                    answered.set_result(message.answers)
        except grpc.aio.AioRpcError as error:  # whoever asked asks anew, and is told then
            self.is_refused = error.code() in _REFUSALS
        finally:
            self.is_lost = True
            for answered in self._asked:
                if not answered.done():
                    answered.set_result(None)
