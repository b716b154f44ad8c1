"""What a service is to the tests, and what whoever runs it can do: start, kill, end it, and show its log."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import Protocol

START_TIMEOUT_S = 60.0


class Service(enum.StrEnum):
    """The services, in the order of their start."""

    DIRECTORY = "directory"
    IMPORTER = "importer"
    NOTIFIER = "notifier"
    SCIM_GATEWAY = "scim_gateway"


class Runner(Protocol):
    """Runs the services of one system; a service keeps its address and its files when it is started again."""

    def start(self, service: Service, environment: Mapping[str, str]) -> None:
        """Start a service that does not run, with these settings and those on where it listens and keeps files."""

    def kill(self, service: Service) -> None:
        """SIGKILL it: no handler runs, no buffer is flushed."""

    def end(self, services: Sequence[Service]) -> None:
        """End them together as an operator would; they are not started again."""

    def has_ended(self, service: Service) -> bool:
        """Whether a service that was started runs no more."""

    def address(self, service: Service) -> str:
        """Where tests reach it, `host:port`."""

    def address_inside(self, service: Service) -> str:
        """Where the other services reach it."""

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """Where the services reach a server that tests reach at `host:port`."""

    def log_of(self, service: Service) -> str:
        """What it has logged."""
