"""`muster demo`: a guided tour of the main job in a directory that is thrown away."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import typer
from rich.text import Text

from cli.session import Session, session_of
from cli.up import keepsake
from cli.up.installation import Installation

_SEATS = 5000


def demo(context: typer.Context) -> None:
    """Tell the main job as a story, with real services, files and mails; exit 0 when every step did what it says."""
    from cli.demo import story  # noqa: PLC0415 - its SFTP client costs every other command half a second
    from cli.demo.stage import Stage  # noqa: PLC0415

    root = context.find_root().command

    def invoke(arguments: Sequence[str], session: Session) -> int:
        status = root.main(args=list(arguments), prog_name="muster", standalone_mode=False, obj=session)
        return status if isinstance(status, int) else 0

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="muster-demo-") as folder:
        data = Path(folder)
        session = replace(session_of(context), data=data, environ={})  # this installation and no other
        out = session.output.out
        out.print(Text("Starting directory, importer, notifier, SCIM gateway and an SFTP drop on this machine …"))
        with Installation(data, seats=_SEATS) as installation:
            line = installation.start()
            stage = Stage(session, invoke)
            story.tell(stage, line, keepsake.host_key(data), datetime.now(UTC))
            out.print()
            out.print(stage.summary())
    seconds = time.monotonic() - started
    out.print(Text(f"Every step did what it says: {stage.checks} checks in {seconds:.0f} s.", style="bold green"))
