"""Choose how to stand the system up: in containers where an engine answers, else as local processes."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass

VARIABLE = "MUSTER_STACK"
POSTGRES_IMAGE = "postgres:17"
SFTP_IMAGE = "atmoz/sftp:debian"


class Kind(enum.Enum):
    """The two ways."""

    CONTAINERS = "containers"
    PROCESSES = "processes"


class NoContainersError(Exception):
    """Containers are asked for, and this machine has none; the text says what is missing."""


@dataclass(frozen=True)
class Choice:
    """What was chosen, and why, for the header of the test run."""

    kind: Kind
    why: str

    def __str__(self) -> str:
        return f"stack: {self.kind.value} ({self.why})"


def choose(environ: Mapping[str, str], look_for_engine: Callable[[], str]) -> Choice:
    """Choose by MUSTER_STACK, else by what the machine has; `NoContainersError` when CI or the variable needs more.

    `look_for_engine` says which engine answers and has the images, or raises `NoContainersError`.
    """
    asked = environ.get(VARIABLE, "")
    in_ci = environ.get("CI", "").lower() in {"true", "1"}
    if asked not in {"", *(kind.value for kind in Kind)}:
        raise NoContainersError(f"{VARIABLE}={asked} is neither containers nor processes")
    if asked == Kind.PROCESSES.value and in_ci:
        raise NoContainersError(f"CI runs in containers; unset {VARIABLE} or CI")
    if asked != Kind.PROCESSES.value:
        try:
            return Choice(Kind.CONTAINERS, f"{look_for_engine()}; {POSTGRES_IMAGE}, {SFTP_IMAGE}")
        except NoContainersError as error:
            if in_ci or asked:
                raise
            why = str(error)
    else:
        why = f"{VARIABLE}={asked}"
    return Choice(Kind.PROCESSES, f"{why}; PostgreSQL from a wheel, SFTP by asyncssh")
