"""`muster check`: whether the register agrees with itself."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import operations_pb2

from cli import output
from cli.session import session_of

EXIT_PROBLEMS = 1


def check(
    context: typer.Context,
    *,
    tenant: Annotated[str, typer.Option("--tenant", help="Only this tenant, tenants/…; else all.")] = "",
) -> None:
    """Compare what the register keeps twice, and list what disagrees; exit status 1 when there is anything."""
    session = session_of(context)
    with session.connect() as muster:
        answers = muster.operations.CheckIntegrity(operations_pb2.CheckIntegrityRequest(tenant=tenant))
        problems = [
            {
                "tenant": answer.problem.tenant,
                "kind": answer.problem.kind,
                "resource": answer.problem.resource,
                "message": answer.problem.message,
            }
            for answer in answers
        ]
    session.output.show(
        {"problems": problems}, output.records(problems, ["kind", "resource", "message"], title="problems")
    )
    if problems:
        raise typer.Exit(EXIT_PROBLEMS)
