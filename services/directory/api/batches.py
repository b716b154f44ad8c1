"""Make several calls of a connection in one: those that wait in a gateway at the same moment (docs/adr/0029)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, cast

import grpc
import structlog
from google.protobuf.message import Message
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime.effects import EFFECTS
from muster.runtime.errors import to_bytes
from muster.runtime.server import told_of

from services.directory.api.translate import translate
from services.directory.rules.errors import InvalidArgument
from services.directory.store.session import WRITER_WAIT_S

log = structlog.get_logger()

MOST_CALLS: Final = 64

Method = Callable[[Any, grpc.ServicerContext], Message]
"""A method of the servicer that answers with one message."""


class _OneOfMany:
    """The context of one call: the batch's, with trailing metadata of its own.

    What its calls wait for locks they wait together: a tenant whose run is being applied is busy for all of them (R44).
    """

    def __init__(self, context: grpc.ServicerContext, waits_until_s: float) -> None:
        self._context = context
        self._waits_until_s = waits_until_s
        self.effects = ""

    def time_remaining(self) -> float:
        """Give what is left of the caller's deadline, or of the batch's time to wait."""
        left_s = self._waits_until_s - time.monotonic()
        remaining = self._context.time_remaining()
        return left_s if remaining is None else min(left_s, remaining)

    def set_trailing_metadata(self, metadata: Iterable[tuple[str, str]]) -> None:
        """Keep what the call changed; whose it was is the batch's."""
        self.effects = dict(metadata).get(EFFECTS, "")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)


def answer_batch(
    request: pb.BatchCallRequest,
    context: grpc.ServicerContext,
    methods: Mapping[str, Method],
    together: Callable[[], AbstractContextManager[None]],
) -> pb.BatchCallResponse:
    """Make the calls one after another; `methods` has one for each kind of call, `together` lets them share a commit.

    Errors: InvalidArgument, and those of the commit.
    """
    if not 1 <= len(request.calls) <= MOST_CALLS or not all(call.WhichOneof("call") for call in request.calls):
        raise InvalidArgument([("calls", f"must be 1 to {MOST_CALLS}, and each must say what is called")])
    log.info("batch", request_ids=[call.request_id for call in request.calls])
    waits_until_s = time.monotonic() + WRITER_WAIT_S
    with together():
        return pb.BatchCallResponse(
            answers=[_answer(call, _OneOfMany(context, waits_until_s), methods) for call in request.calls]
        )


def _answer(call: pb.ProvisioningCall, own: _OneOfMany, methods: Mapping[str, Method]) -> pb.ProvisioningAnswer:
    kind = call.WhichOneof("call")
    assert kind is not None
    try:
        answered: Any = {kind: methods[kind](getattr(call, kind), cast("grpc.ServicerContext", own))}
    except Exception as error:  # noqa: BLE001 - one call's failure is its answer, whatever it is
        told = told_of(error, translate, method=kind, request_id=call.request_id)
        return pb.ProvisioningAnswer(failure=to_bytes(told))
    return pb.ProvisioningAnswer(**answered, effects=own.effects)
