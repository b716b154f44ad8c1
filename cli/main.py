"""The `muster` command: its global options, its commands, and how an error ends it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import grpc
import typer
from rich.text import Text
from typer.exceptions import TyperException

from cli.commands import (
    accounts,
    administrators,
    demo,
    events,
    groups,
    imports,
    invitations,
    licenses,
    members,
    messages,
    personal_data,
    runs,
    scim,
    scim_keys,
    sources,
    tenants,
    up,
    upkeep,
    users,
)
from cli.errors import CommandError, explain
from cli.output import Output
from cli.session import Session

EXIT_FAILED, EXIT_INTERRUPTED = 1, 130

app = typer.Typer(
    name="muster",
    help="Keep a register of people equal to their customers' own records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up.up)
app.command("demo")(demo.demo)
app.add_typer(tenants.app, name="tenant")
app.add_typer(accounts.app, name="account")
app.add_typer(groups.app, name="group")
app.add_typer(members.app, name="member")
app.add_typer(users.app, name="user")
users.app.command("export")(personal_data.export_user)
users.app.command("erase")(personal_data.erase_user)
app.add_typer(licenses.app, name="license")
app.command("invite")(invitations.invite)
app.add_typer(invitations.app, name="invitations")
app.add_typer(sources.app, name="source")
app.add_typer(scim_keys.app, name="scim-key")
app.add_typer(scim.app, name="scim")
app.add_typer(administrators.app, name="admin")
app.command("import")(imports.import_file)
app.command("run")(imports.run_source)
app.add_typer(runs.app, name="runs")
app.add_typer(messages.app, name="messages")
app.add_typer(events.app, name="events")
app.command("check")(upkeep.check)


@app.callback()
def root(
    context: typer.Context,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    data: Annotated[Path, typer.Option(metavar="DIR", help="Data directory of `muster up`.")] = Path("data"),
) -> None:
    """Keep a register of people equal to their customers' own records.

    MUSTER_DIRECTORY, MUSTER_IMPORTER, MUSTER_NOTIFIER and MUSTER_TOKEN say where to and as whom; without them, what
    `muster up` left in the data directory is used.
    """
    if context.obj is None:
        context.obj = Session(data=data, output=Output(as_json=as_json))


def main() -> None:
    """Run the command line and exit: 0, 1 for an error, 2 for wrong usage, or a run's own status."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str], session: Session | None = None) -> int:
    """Run one command line and return its exit status; an error is one line on stderr."""
    command = typer.main.get_command(app)
    try:
        status = command.main(args=list(arguments), prog_name="muster", standalone_mode=False, obj=session)
    except TyperException as error:
        return _fail_usage(error)
    except CommandError as error:
        return _fail(str(error), EXIT_FAILED)
    except grpc.RpcError as error:
        return _fail(explain(error), EXIT_FAILED)
    except BrokenPipeError:
        sys.stderr.close()  # whoever read us is gone; say nothing more
        return EXIT_FAILED
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED)
    return status if isinstance(status, int) else 0


def _fail_usage(error: TyperException) -> int:
    status: int = getattr(error, "exit_code", EXIT_FAILED)
    if type(error).__name__ == "NoArgsIsHelpError":  # as typer asks for it; the name is not exported
        sys.stderr.write(f"{error}\n")
        return status
    return _fail(_usage(error), status)


def _usage(error: TyperException) -> str:
    context = getattr(error, "ctx", None)
    hint = f"; try `{context.command_path} --help`" if context is not None else ""
    said = error.format_message() if hasattr(error, "format_message") else str(error)
    return said.replace("Value error, ", "").rstrip(".") + hint


def _fail(message: str, status: int) -> int:
    Output(as_json=False).err.print(Text(f"muster: {' '.join(message.split())}"), soft_wrap=True)
    return status
