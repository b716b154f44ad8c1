"""What may be kept of a connection's request (S13): ids, names of attributes, words; and what it says of its health."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from services.directory.rules.checks import FieldChecks

MOST_AT_ONCE: Final = 500

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}")
_WORD: Final = re.compile(r"[A-Za-z0-9_.]{0,64}")
_SCIM_TYPE: Final = re.compile(r"[A-Za-z]{0,32}")
_METHOD: Final = re.compile(r"[A-Z]{1,8}")
_OUTLINE: Final = re.compile(r"[A-Za-z0-9_$.:;,/?&=()\[\]{} -]{0,1000}")
"""The alphabet of paths and shapes: no `@`, no `%`, no `+`, no quotes, so that no address fits in."""
_SENTENCE: Final = re.compile(r"[^@\x00-\x1f\x7f]{0,1000}")


@dataclass(frozen=True)
class Asked:
    """One request of a connection, as it may be kept. `quirks` has each quirk's cure, `effects` how many of each."""

    request_id: str
    time: datetime
    method: str
    path: str
    status: int
    shape: str = ""
    scim_type: str = ""
    problem: str = ""
    detail: str = ""
    cure: str = ""
    quirks: Mapping[str, str] | None = None
    effects: Mapping[str, int] | None = None
    duration_ms: int = 0

    @property
    def is_served(self) -> bool:
        """Whether it was answered as it wanted to be."""
        return self.status < 400

    @property
    def is_locked_out(self) -> bool:
        """Whether a key that once was the connection's did not open."""
        return self.status == 401 and self.problem != KEY_WRONG

    @property
    def is_failure(self) -> bool:
        """Whether it speaks against the connection's health.

        Not what belongs to a provider's day (whom it looks for is not there, somebody else was faster, it is to come
        again later), nor what an administrator decided, nor what somebody without a key of the connection tries.
        """
        if self.is_served or self.status in {412, 429} or self.problem in _DECIDED:
            return False
        return not (self.status == 404 and self.method in {"GET", "DELETE"})

    @property
    def is_counted(self) -> bool:
        """Whether it says anything of the connection's health."""
        return self.is_served or self.is_failure


KEY_WRONG: Final = "key_wrong"
_DECIDED: Final = frozenset({"connection_paused", "connection_disabled", KEY_WRONG})

KEY_TROUBLES: Final[Mapping[str, tuple[str, str]]] = {
    "key_revoked": (
        "The key was revoked.",
        "Make a key (muster scim-key create), and put it into the identity provider.",
    ),
    "key_expired": (
        "The key has expired.",
        "Make a key (muster scim-key create), and put it into the identity provider.",
    ),
    KEY_WRONG: (
        "The key has the id of a key of this connection and another secret.",
        "Copy the key again, or make a new one. If nobody here did this, somebody tries keys: rotate this one.",
    ),
}
"""Why a key did not open → that in words, and what to do about it. Administrators are told it, providers are not."""


def check(asked: list[Asked]) -> None:
    """Require that requests hold nothing but what may be kept. Errors: InvalidArgument, without the value."""
    checks = FieldChecks()
    if not 1 <= len(asked) <= MOST_AT_ONCE:
        checks.refuse("requests", f"must be 1 to {MOST_AT_ONCE}")
    for number, each in enumerate(asked):
        wrong = next(_wrong(each), None)
        if wrong:
            checks.refuse(f"requests[{number}].{wrong}", "must be a word or an outline, without values")
            break
    checks.end()


def _wrong(asked: Asked) -> Iterator[str]:
    forms = (
        ("request_id", _REQUEST_ID, asked.request_id),
        ("method", _METHOD, asked.method),
        ("path", _OUTLINE, asked.path),
        ("shape", _OUTLINE, asked.shape),
        ("scim_type", _SCIM_TYPE, asked.scim_type),
        ("problem", _WORD, asked.problem),
        ("detail", _SENTENCE, asked.detail),
        ("cure", _SENTENCE, asked.cure),
        *(("quirks", _WORD, name) for name in asked.quirks or ()),
        *(("quirks", _SENTENCE, cure) for cure in (asked.quirks or {}).values()),
        *(("effects", _WORD, kind) for kind in asked.effects or ()),
    )
    yield from (field for field, form, text in forms if not form.fullmatch(text))
    if not 100 <= asked.status <= 599:
        yield "status"
    if not 0 <= asked.duration_ms < 2**31:
        yield "duration_ms"
    if any(not 0 <= count < 2**31 for count in (asked.effects or {}).values()):
        yield "effects"


def settled(asked: Asked, trouble: str, now: datetime) -> Asked:
    """Give a request with the trouble that its key has, if that is why it was refused, and no time to come."""
    known = replace(asked, time=min(asked.time, now))
    if asked.status != 401 or not trouble:
        return known
    detail, cure = KEY_TROUBLES[trouble]
    return replace(known, problem=trouble, detail=detail, cure=cure)


TALLIED_BY: Final = timedelta(minutes=10)
JUDGED_OVER: Final = timedelta(hours=1)
MANY_FAILURES: Final = 20
LOCKED_OUT: Final = 3
"""Keys refused in a row, with nothing else in between, which say that the key no longer opens."""
SILENT_FOR: Final = timedelta(minutes=5)
"""How long nothing must have been served before refused keys count: two keys may be in use for a while."""


@dataclass(frozen=True)
class Tally:
    """How many requests there were, and how many of them failed."""

    requests: int = 0
    failures: int = 0


def tally_start(moment: datetime) -> datetime:
    """The beginning of the ten minutes that a moment lies in."""
    return moment - (moment - moment.replace(minute=0, second=0, microsecond=0)) % TALLIED_BY


def is_failing(hour: Tally) -> bool:
    """Say whether a connection fails by its last hour: 20 failures, and more than half."""
    return hour.failures >= MANY_FAILURES and hour.failures * 2 > hour.requests


def is_locked_out(in_a_row: int, last_success: datetime | None, now: datetime) -> bool:
    """Say whether a connection that once worked is shown the door, whatever it asks."""
    return in_a_row >= LOCKED_OUT and last_success is not None and now - last_success >= SILENT_FOR


def has_recovered(lately: Tally) -> bool:
    """Say whether a failing connection works again: at least four of five of its last requests were served."""
    return lately.requests > 0 and lately.failures * 5 <= lately.requests
