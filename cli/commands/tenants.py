"""`muster tenant`: the customer organisations."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import tenants_pb2

from cli import documents, output
from cli.commands.options import Language
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="Customer organisations.", no_args_is_help=True)


@app.command("create")
def create_tenant(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    *,
    seats: Annotated[int, typer.Option(min=0, help="Seats of its license.")],
    accept_url: Annotated[str, typer.Option(help="Where its people accept invitations.")] = "",
    language: Annotated[Language, typer.Option(help="Language of its mails.")] = Language.ENGLISH,
) -> None:
    """Make a tenant with its main account and its license."""
    session = session_of(context)
    with session.connect() as muster:
        made = muster.tenants.CreateTenant(
            tenants_pb2.CreateTenantRequest(
                display_name=name,
                seats_total=seats,
                accept_url=accept_url,
                language=language.value,
                request_id=session.new_request_id(),
            )
        ).tenant
    document = {"tenant": made.name, "account": made.main_account}
    session.output.show(document, output.facts(document))


@app.command("list")
def list_tenants(context: typer.Context) -> None:
    """List all tenants."""
    session = session_of(context)
    with session.connect() as muster:
        found = every(muster.tenants.ListTenants, tenants_pb2.ListTenantsRequest(), "tenants")
        tenants = [documents.tenant(record) for record in found]
    session.output.show({"tenants": tenants}, output.records(tenants, ["tenant", "name", "account", "language"]))
