"""Tell the story: run real commands and show them, check every claim, remember what was checked."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import asyncssh
import grpc
from rich.console import Console, RenderableType
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from cli.documents import Document
from cli.errors import CommandError, explain
from cli.output import Output, clean
from cli.session import Session

Invoke = Callable[[Sequence[str], Session], int]
_UPLOAD_TIMEOUT_S = 30.0
_SEEN_CHARACTERS = 300


class StepFailedError(CommandError):
    """A step did not do what the story says."""

    def __init__(self, step: str, claim: str, found: object, expected: object) -> None:
        seen = repr(found)[:_SEEN_CHARACTERS]
        super().__init__(f"the step '{step}' failed: {claim}: expected {expected!r}, found {seen}")


class StepBrokenError(CommandError):
    """A command of a step ended in an error."""

    def __init__(self, step: str, command: str, said: str) -> None:
        super().__init__(f"the step '{step}' failed: `{command}`: {said}")


@dataclass
class _Recorded(Output):
    """Shows answers as ever and keeps the last one."""

    last: Document = field(default_factory=dict)

    def show(self, document: Mapping[str, Any], view: Any) -> None:
        """Show and keep."""
        self.last = dict(document)
        super().show(document, view)


class Stage:
    """One telling of the story on one installation."""

    def __init__(self, session: Session, invoke: Invoke) -> None:
        self._told = session.output.out
        silent = Console(file=io.StringIO(), width=80)
        aloud = _Recorded(as_json=False, out=session.output.out, err=session.output.err)
        self._aloud = replace(session, output=aloud)
        self._aside = replace(session, output=_Recorded(as_json=False, out=silent, err=silent))
        self._invoke = invoke
        self._step = ""
        self._checked: list[tuple[str, str, str]] = []

    def step(self, name: str, text: str) -> None:
        """Begin a step of the story."""
        self._step = name
        self._told.print()
        self._told.print(Rule(Text(name, style="bold"), align="left"))
        self._told.print(Text(text))

    @property
    def name(self) -> str:
        """Name of the step under way."""
        return self._step

    def say(self, text: str) -> None:
        """Say a sentence."""
        self._told.print(Text(text))

    def run(self, *arguments: str, status: int = 0) -> Document:
        """Run a command as a reader would, shown with its answer; its exit status must be `status`."""
        self._told.print(Text(f"\n$ muster {' '.join(_quoted(each) for each in arguments)}", style="bold cyan"))
        return self._run(self._aloud, arguments, status)

    def run_aside(self, *arguments: str, status: int = 0) -> Document:
        """Run a command without showing it."""
        return self._run(self._aside, arguments, status)

    def check(self, claim: str, found: object, expected: object) -> None:
        """Fail the story unless `found` is what it says; remember that it is."""
        if found != expected:
            raise StepFailedError(self._step, claim, found, expected)
        self._checked.append((self._step, claim, clean(expected)))

    def upload(self, sftp: Mapping[str, Any], host_key: str, content: bytes) -> None:
        """Upload to the drop as a customer would: under another name first, then renamed."""
        self._told.print(Text(f"\n$ sftp {sftp['username']}@{sftp['host']}  (put users.csv)", style="bold cyan"))
        asyncio.run(asyncio.wait_for(_upload(sftp, host_key, content), _UPLOAD_TIMEOUT_S))
        self._told.print(Text(f"{len(content):,} bytes sent"))

    def show_command(self, text: str) -> None:
        """Show what somebody else than a reader of the command line does."""
        self._told.print(Text(f"\n> {clean(text)}", style="bold cyan"))

    def show_text(self, text: str, *, most: int) -> None:
        """Show a long text without its blank lines, at most so many lines."""
        lines = [line for line in clean(text).splitlines() if line.strip()]
        for line in lines[:most]:
            self._told.print(Text(f"  | {line}"))
        if len(lines) > most:
            self._told.print(Text(f"  | … and {len(lines) - most} lines more"))

    def summary(self) -> RenderableType:
        """Lay out what was checked."""
        table = Table(title="What was checked", title_justify="left", header_style="bold")
        for column in ("step", "claim", "as told"):
            table.add_column(column)
        step_before = ""
        for step, claim, value in self._checked:
            table.add_row(step if step != step_before else "", claim, Text(value))
            step_before = step
        return table

    @property
    def checks(self) -> int:
        """How many claims held."""
        return len(self._checked)

    def _run(self, session: Session, arguments: Sequence[str], status: int) -> Document:
        command = f"muster {' '.join(arguments)}"
        try:
            found = self._invoke(arguments, session)
        except grpc.RpcError as error:
            raise StepBrokenError(self._step, command, explain(error)) from error
        except CommandError as error:
            raise StepBrokenError(self._step, command, str(error)) from error
        if found != status:
            raise StepFailedError(self._step, f"exit status of `{command}`", found, status)
        recorded = session.output
        assert isinstance(recorded, _Recorded)
        return recorded.last


async def _upload(sftp: Mapping[str, Any], host_key: str, content: bytes) -> None:
    known = asyncssh.import_known_hosts(f"[{sftp['host']}]:{sftp['port']} {host_key}\n")
    async with (
        asyncssh.connect(
            sftp["host"],
            sftp["port"],
            username=sftp["username"],
            password=sftp["password"],
            known_hosts=known,
            client_keys=None,
            agent_path=None,
            config=None,
        ) as connection,
        connection.start_sftp_client() as files,
    ):
        draft = f"{sftp['path']}.part"
        async with files.open(draft, "wb") as file:
            await file.write(content)
        await files.posix_rename(draft, sftp["path"])


def _quoted(argument: str) -> str:
    return f'"{argument}"' if " " in argument else argument
