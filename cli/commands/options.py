"""Arguments and options that several commands share."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

TenantOption = Annotated[str, typer.Option("--tenant", help="Resource name of the tenant, tenants/…")]
AccountOption = Annotated[str, typer.Option("--account", help="Resource name of the account, tenants/…/accounts/…")]
SourceOption = Annotated[str, typer.Option("--source", help="Resource name of the source, tenants/…/sources/…")]
SourceArgument = Annotated[
    str, typer.Argument(metavar="SOURCE", help="Resource name of the source, tenants/…/sources/…")
]
AccountArgument = Annotated[
    str, typer.Argument(metavar="ACCOUNT", help="Resource name of the account, tenants/…/accounts/…")
]
GroupArgument = Annotated[str, typer.Argument(metavar="GROUP", help="Resource name of the group, tenants/…/groups/…")]
TenantArgument = Annotated[str, typer.Argument(metavar="TENANT", help="Resource name of the tenant, tenants/…")]
RunArgument = Annotated[str, typer.Argument(metavar="RUN", help="Resource name of the run, tenants/…/importRuns/…")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Plan only; change nothing.")]
ApproveOption = Annotated[
    bool, typer.Option("--approve", help="When a limit holds the plan, approve it as it is and wait.")
]
RowsOption = Annotated[
    bool, typer.Option("--rows", help="Also the file row by row, green, yellow or red; of a planned or held run.")
]
YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask; scripts are never asked.")]


def ask(question: str, *, yes: bool) -> None:
    """Ask whoever sits at a terminal before what cannot be taken back; `yes` is their answer in advance."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True, err=True)


class Language(StrEnum):
    """Languages that mails are written in."""

    ENGLISH = "en"
    SWEDISH = "sv"
