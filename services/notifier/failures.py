"""Read from the event of a failing connection what its last errors were, and word each in the reader's language."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.json_format import MessageToDict
from muster.directory.v1 import events_pb2

from services.notifier.safe import plain
from services.notifier.words import Words


@dataclass(frozen=True)
class Trouble:
    """One reason why requests failed: its word, the directory's own sentences, and how many of the last ones."""

    problem: str
    detail: str
    cure: str
    count: int


@dataclass(frozen=True)
class Failures:
    """How many requests of an hour failed, and why, the most frequent reason first."""

    requests: int
    failures: int
    troubles: tuple[Trouble, ...]
    is_locked_out: bool = False
    """Whether it is the key that opens no more."""


def failures_of(event: events_pb2.Event) -> Failures:
    """Read the failures that an event tells of."""
    told = MessageToDict(event.after)
    return Failures(
        requests=int(told.get("requests", 0)),
        failures=int(told.get("failures", 0)),
        troubles=tuple(
            Trouble(
                problem=str(each.get("problem", "")),
                detail=str(each.get("detail", "")),
                cure=str(each.get("cure", "")),
                count=int(each.get("count", 0)),
            )
            for each in told.get("problems", ())
        ),
        is_locked_out=bool(told.get("locked_out", False)),
    )


def explained(failures: Failures, words: Words) -> Iterator[tuple[str, str, str]]:
    """Give each reason, what to do about it, and how often it was; a word that is new here in the directory's words."""
    for trouble in failures.troubles:
        key = f"problem.{trouble.problem}"
        is_known = bool(trouble.problem) and words.has(key)
        what = words.say(f"{key}.what") if is_known else plain(trouble.detail)
        cure = words.say(f"{key}.cure") if is_known else plain(trouble.cure)
        yield what, cure, words.say("notice.failing.often", n=trouble.count)
