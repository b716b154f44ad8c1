"""Make several calls of a connection in one: those that wait in a gateway at the same moment (docs/adr/0029).

Calls of one kind are done as a set where they can be, with as many statements as one of them (docs/adr/0030). What
cannot, or a set that is refused, is done call by call.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

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


class Done(NamedTuple):
    """What came of a call: its answer, and what it changed."""

    answer: Message
    effects: str = ""


def _as_one_set(requests: Sequence[Any]) -> list[Sequence[int]]:
    return [range(len(requests))]


@dataclass(frozen=True)
class Kind:
    """How calls of a kind are made: one, and several at once; whether they write.

    `sets` finds those that are made as one, by their places among all of the kind. `many` makes them, and leaves those
    out, by None, that it cannot make with the others; nothing has been done of them.
    """

    one: Callable[[Any, grpc.ServicerContext], Message]
    many: Callable[[Sequence[Any], grpc.ServicerContext], Sequence[Done | None]] | None = None
    sets: Callable[[Sequence[Any]], Iterable[Sequence[int]]] = _as_one_set
    is_writing: bool = False


class _OneOfMany:
    """The context of one call: that of the batch or its stream, with trailing metadata of its own.

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
    calls: Sequence[pb.ProvisioningCall],
    context: grpc.ServicerContext,
    kinds: Mapping[str, Kind],
    together: Callable[[], AbstractContextManager[None]],
    *,
    wait_s: float | None = None,
) -> list[pb.ProvisioningAnswer]:
    """Make the calls, which wait for locks `wait_s` at the most, or 2 s; `together` lets them share a commit.

    Errors: InvalidArgument, and those of the commit.
    """
    if not 1 <= len(calls) <= MOST_CALLS or not all(call.WhichOneof("call") for call in calls):
        raise InvalidArgument([("calls", f"must be 1 to {MOST_CALLS}, and each must say what is called")])
    started_s = time.monotonic()
    waits_until_s = started_s + (WRITER_WAIT_S if wait_s is None else min(wait_s, WRITER_WAIT_S))

    def own() -> Any:
        return _OneOfMany(context, waits_until_s)

    answers: dict[int, pb.ProvisioningAnswer] = {}
    with together():
        for places in _in_order(calls, kinds):
            answers |= _answer_sets({place: calls[place] for place in places}, own(), kinds)
            for place in places:
                answers[place] = answers.get(place) or _answer(calls[place], own(), kinds)
    took_ms = round((time.monotonic() - started_s) * 1000, 1)
    log.info("batch", ms=took_ms, request_ids=[call.request_id for call in calls])
    return [answers[place] for place in range(len(calls))]


def _in_order(calls: Sequence[pb.ProvisioningCall], kinds: Mapping[str, Kind]) -> Iterable[list[int]]:
    """Find which calls of one kind may be done together: all of them where nothing is written, else those in a row."""
    named = [str(call.WhichOneof("call")) for call in calls]
    if any(kinds[kind].is_writing for kind in named):
        return [[place for place, _ in run] for _, run in groupby(enumerate(named), key=itemgetter(1))]
    return [[place for place, each in enumerate(named) if each == kind] for kind in dict.fromkeys(named)]


def _answer_sets(
    calls: Mapping[int, pb.ProvisioningCall], context: grpc.ServicerContext, kinds: Mapping[str, Kind]
) -> dict[int, pb.ProvisioningAnswer]:
    """Make those of the calls, all of one kind, that can be made as sets; gives their answers by place."""
    places = list(calls)
    kind = str(calls[places[0]].WhichOneof("call"))
    many, requests = kinds[kind].many, [getattr(call, kind) for call in calls.values()]
    answers: dict[int, pb.ProvisioningAnswer] = {}
    for members in kinds[kind].sets(requests):
        if many is None or len(members) == 1:
            continue
        try:
            done = many([requests[each] for each in members], context)
        except Exception as error:  # noqa: BLE001 - perhaps for one of them alone: each then hears of it by itself
            told_of(error, translate, method=kind, request_id=calls[places[0]].request_id)  # a fault is logged
            continue
        told = {places[each]: answer for each, answer in zip(members, done, strict=True)}
        answers |= {place: _told(kind, answer) for place, answer in told.items() if answer is not None}
    return answers


def _answer(call: pb.ProvisioningCall, own: Any, kinds: Mapping[str, Kind]) -> pb.ProvisioningAnswer:
    kind = call.WhichOneof("call")
    assert kind is not None
    try:
        answer = kinds[kind].one(getattr(call, kind), own)
    except Exception as error:  # noqa: BLE001 - one call's failure is its answer, whatever it is
        told = told_of(error, translate, method=kind, request_id=call.request_id)
        return pb.ProvisioningAnswer(failure=to_bytes(told))
    return _told(kind, Done(answer, own.effects))


def _told(kind: str, done: Done) -> pb.ProvisioningAnswer:
    answer: Any = {kind: done.answer}
    return pb.ProvisioningAnswer(**answer, effects=done.effects)
