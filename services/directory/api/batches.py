"""Make several calls of a connection in one: those that wait in a gateway at the same moment (docs/adr/0029).

Calls of one kind are done as a set where they can be, with as many statements as one of them (docs/adr/0030). What
cannot, or a set that is refused, is done call by call.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, cast

import grpc
import structlog
from google.protobuf.message import Message
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime.effects import EFFECTS
from muster.runtime.errors import to_bytes
from muster.runtime.server import told_of
from sqlalchemy.exc import DBAPIError

from services.directory.api.translate import translate
from services.directory.rules.errors import DirectoryError, InvalidArgument
from services.directory.store.session import WRITER_WAIT_S, TenantLockedError

log = structlog.get_logger()

MOST_CALLS: Final = 64


class Done(NamedTuple):
    """What came of a call: its answer, and what it changed."""

    answer: Message
    effects: str = ""


@dataclass(frozen=True)
class Kind:
    """How calls of a kind are made: one, and several at once.

    `many` leaves those out, by None, that it cannot do as one with the others; nothing has been done of them.
    """

    one: Callable[[Any, grpc.ServicerContext], Message]
    many: Callable[[Sequence[Any], grpc.ServicerContext], Sequence[Done | None]] | None = None


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
    kinds: Mapping[str, Kind],
    together: Callable[[], AbstractContextManager[None]],
) -> pb.BatchCallResponse:
    """Make the calls; `together` lets them share a commit. Errors: InvalidArgument, and those of the commit."""
    if not 1 <= len(request.calls) <= MOST_CALLS or not all(call.WhichOneof("call") for call in request.calls):
        raise InvalidArgument([("calls", f"must be 1 to {MOST_CALLS}, and each must say what is called")])
    log.info("batch", request_ids=[call.request_id for call in request.calls])
    waits_until_s = time.monotonic() + WRITER_WAIT_S
    with together():
        done = _answer_sets(request.calls, _context(context, waits_until_s), kinds)
        return pb.BatchCallResponse(
            answers=[
                done.get(place) or _answer(call, _OneOfMany(context, waits_until_s), kinds)
                for place, call in enumerate(request.calls)
            ]
        )


def _answer_sets(
    calls: Sequence[pb.ProvisioningCall], context: grpc.ServicerContext, kinds: Mapping[str, Kind]
) -> dict[int, pb.ProvisioningAnswer]:
    """Make those calls that can be made as sets; gives their answers by place."""
    places = defaultdict(list)
    for place, call in enumerate(calls):
        places[str(call.WhichOneof("call"))].append(place)
    answers: dict[int, pb.ProvisioningAnswer] = {}
    for kind, its in places.items():
        many = kinds[kind].many
        if many is None or len(its) == 1:
            continue
        try:
            done = many([getattr(calls[place], kind) for place in its], context)
        except (DirectoryError, TenantLockedError, DBAPIError):  # perhaps by one of them: each hears of it by itself
            continue
        answers |= {place: _told(kind, each) for place, each in zip(its, done, strict=True) if each is not None}
    return answers


def _context(context: grpc.ServicerContext, waits_until_s: float) -> grpc.ServicerContext:
    return cast("grpc.ServicerContext", _OneOfMany(context, waits_until_s))


def _answer(call: pb.ProvisioningCall, own: _OneOfMany, kinds: Mapping[str, Kind]) -> pb.ProvisioningAnswer:
    kind = call.WhichOneof("call")
    assert kind is not None
    try:
        answer = kinds[kind].one(getattr(call, kind), cast("grpc.ServicerContext", own))
    except Exception as error:  # noqa: BLE001 - one call's failure is its answer, whatever it is
        told = told_of(error, translate, method=kind, request_id=call.request_id)
        return pb.ProvisioningAnswer(failure=to_bytes(told))
    return _told(kind, Done(answer, own.effects))


def _told(kind: str, done: Done) -> pb.ProvisioningAnswer:
    answer: Any = {kind: done.answer}
    return pb.ProvisioningAnswer(**answer, effects=done.effects)
