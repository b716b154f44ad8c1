# ruff: noqa: INP001 - a script, imported by nobody
"""Take every mail and keep it as a file: a mail server for trying things out, which sends nothing on.

It reads MAIL_SINK_LISTEN (host:port) and MAIL_SINK_FOLDER from the environment.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP

HOST_NAME = "mail-sink"


class Folder:
    """Where mails are kept, one `.eml` each, named by the time of their arrival."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Any) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep one mail, whole or not at all."""
        name = f"{time.time_ns()}.eml"
        draft = self._path / f".{name}"
        draft.write_bytes(envelope.content)
        draft.replace(self._path / name)
        return "250 kept"


async def serve(listen: str, folder: Path) -> None:
    """Serve until SIGTERM or SIGINT."""
    host, _, port = listen.rpartition(":")
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    keeper = Folder(folder)
    server = await loop.create_server(lambda: SMTP(keeper, hostname=HOST_NAME, enable_SMTPUTF8=True), host, int(port))
    async with server:
        await ended.wait()


if __name__ == "__main__":
    asyncio.run(serve(os.environ["MAIL_SINK_LISTEN"], Path(os.environ["MAIL_SINK_FOLDER"])))
