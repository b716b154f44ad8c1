"""One Muster on this machine: start it whole, keep it whole, end it whole."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from cli.connect import INSTALLATION_FILE
from cli.errors import CommandError
from cli.up import demo_tenant, keepsake, ports
from cli.up.children import Child, describe, stop_all, surroundings
from cli.up.plans import CHILDREN, Layout
from cli.up.tokens import make_tokens

LOCK_FILE = "up.lock"
TOKENS = ("support", "importer", "notifier")
_PORT_PATIENCE_S = 8.0  # the children of an `up` that was killed need a moment to end


class Installation:
    """The services of one data directory as child processes; a context manager that leaves none behind."""

    def __init__(
        self,
        data: Path,
        *,
        database_url: str = "",
        seats: int | None = None,
        wanted: Callable[[], bool] = lambda: True,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._data = data.absolute()
        self._database_url = database_url
        self._seats = seats
        self._wanted = wanted
        self._say = tell
        self._children: list[Child] = []
        self._lock: int | None = None
        self._line: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> dict[str, Any]:
        """Start everything, make what is missing, and return the line that says where all is."""
        if not self._data.exists():
            self._data.mkdir(mode=0o700, parents=True)
        (self._data / "logs").mkdir(mode=0o700, exist_ok=True)
        self._take_lock()
        layout = self._layout()
        self._say(f"Starting Muster on {self._data}: first the directory, which makes or updates its database.")
        self._start(layout, ["directory"])
        layout = replace(layout, kept=self._with_tokens(layout))
        others = [name for name in CHILDREN if name != "directory"]
        self._say(f"The directory is up. Starting {', '.join(others)}.")
        self._start(layout, others, wait=False)
        demo = demo_tenant.make_or_find(layout.address("directory"), layout.kept, seats=self._seats)
        layout = replace(layout, kept=replace(layout.kept, demo=demo))
        keepsake.save(self._data, layout.kept)
        for child in self._children:
            child.wait_until_well(wanted=self._wanted)
        self._line = line_of(layout)
        return self._tell()

    def look_after(self) -> list[str]:
        """Start dead children again when their back-off is over; return a sentence on each."""
        news = []
        for child in self._children:
            status = child.revive()
            if status is not None:
                news.append(f"{child.plan.name} ended ({describe(status)}); started again as process {child.pid}")
        if news:
            self._tell()
        return news

    def stop(self) -> None:
        """End every child within 10 s and give the directory free."""
        if self._children:
            self._say("Ending all services.")
            stop_all(self._children)
            self._say("All have ended.")
        self._children = []
        if self._lock is not None:
            (self._data / INSTALLATION_FILE).unlink(missing_ok=True)
            os.close(self._lock)
            self._lock = None

    def _take_lock(self) -> None:
        descriptor = os.open(self._data / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise CommandError(
                f"another `muster up` runs on {self._data}; stop it first, or use another --data"
            ) from error
        self._lock = descriptor

    def _layout(self) -> Layout:
        kept = keepsake.load(self._data, self._database_url)
        kept = replace(kept, ports=ports.choose(CHILDREN, kept.ports, wait_s=_PORT_PATIENCE_S))
        keepsake.save(self._data, kept)
        return Layout(self._data, kept, keepsake.host_key(self._data))

    def _start(self, layout: Layout, names: Sequence[str], *, wait: bool = True) -> None:
        for name in names:
            child = Child(layout.plan(name), self._data / "logs" / f"{name}.log")
            self._children.append(child)
            child.start()
            if wait:
                child.wait_until_well(wanted=self._wanted)

    def _with_tokens(self, layout: Layout) -> keepsake.Kept:
        missing = [grant for grant in TOKENS if grant not in layout.kept.tokens]
        if not missing:
            return layout.kept
        command = [layout.plan("directory").command[0], "token"]
        environment = surroundings() | layout.directory_environment()
        made = make_tokens(command, environment, missing, wanted=self._wanted)
        kept = replace(layout.kept, tokens={**layout.kept.tokens, **made})
        keepsake.save(self._data, kept)
        return kept

    def _tell(self) -> dict[str, Any]:
        self._line["pids"] = {child.plan.name: child.pid for child in self._children}
        keepsake.write_private(self._data / INSTALLATION_FILE, json.dumps(self._line, indent=1))
        return self._line


def line_of(layout: Layout) -> dict[str, Any]:
    """Say where all is and as whom, as `up` prints it."""
    demo = layout.kept.demo
    return {
        "directory": layout.address("directory"),
        "importer": layout.address("importer"),
        "notifier": layout.address("notifier"),
        "scim": f"http://{layout.address('scim_gateway')}/scim/v2",
        "sftp": {**demo["login"], "host": ports.HOST, "port": layout.kept.ports["sftp"]},
        "mail": str(layout.mail),
        "token": layout.kept.tokens["support"],
        "tenant": demo["tenant"],
        "account": demo["account"],
        "scim_source": demo["scim_source"],
        "scim_key": demo["scim_key"],
        "sftp_source": demo["sftp_source"],
        "admin_login": demo["admin_login"],
    }
