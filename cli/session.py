"""What one invocation of `muster` carries from its global options to its commands."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import typer

from cli.connect import Muster
from cli.output import Output


@dataclass(frozen=True)
class Session:
    """Where the data is, and how to show answers."""

    data: Path
    output: Output
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    new_request_id: Callable[[], str] = field(default=lambda: str(uuid.uuid4()))
    clock: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))

    def connect(self) -> Muster:
        """Open the services that the environment or the data directory names."""
        return Muster.find(self.data, self.environ)


def session_of(context: typer.Context) -> Session:
    """Read the session that the root command made."""
    session: Any = context.obj
    assert isinstance(session, Session)
    return session


def tenant_of(name: str) -> str:
    """Cut the tenant's name off a resource name: `tenants/ten_x/…` gives `tenants/ten_x`."""
    return "/".join(name.split("/")[:2])
