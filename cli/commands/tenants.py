"""`muster tenant`: the customer organisations."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import tenants_pb2

from cli import documents, output
from cli.commands.options import Language, TenantArgument, YesOption, ask
from cli.errors import CommandError
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


@app.command("update")
def update_tenant(
    context: typer.Context,
    tenant: TenantArgument,
    *,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    accept_url: Annotated[str | None, typer.Option(help='Where its people accept invitations; "" for none.')] = None,
    language: Annotated[Language | None, typer.Option(help="Language of its mails.")] = None,
) -> None:
    """Change a tenant: what is given, and nothing else."""
    session = session_of(context)
    given = {"display_name": name, "accept_url": accept_url, "language": language and language.value}
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise CommandError("nothing to change: give --name, --accept-url or --language")
    with session.connect() as muster:
        request = tenants_pb2.UpdateTenantRequest(
            tenant=tenants_pb2.Tenant(name=tenant), request_id=session.new_request_id()
        )
        for field, value in changes.items():
            setattr(request.tenant, field, value)
        request.update_mask.paths.extend(changes)
        document = documents.tenant(muster.tenants.UpdateTenant(request).tenant)
    session.output.show(document, output.facts(document))


@app.command("delete")
def delete_tenant(context: typer.Context, tenant: TenantArgument, *, yes: YesOption = False) -> None:
    """End a tenant at once: nobody of it gets in, nothing of it runs, and its data is wiped 90 days later."""
    ask(f"End {tenant} with all of its people, for good?", yes=yes)
    session = session_of(context)
    with session.connect() as muster:
        request = tenants_pb2.DeleteTenantRequest(name=tenant, request_id=session.new_request_id())
        document = documents.tenant(muster.tenants.DeleteTenant(request).tenant)
    session.output.show(document, output.facts(document))


@app.command("list")
def list_tenants(
    context: typer.Context,
    *,
    show_all: Annotated[bool, typer.Option("--all", help="Deleted tenants too.")] = False,
) -> None:
    """List all tenants."""
    session = session_of(context)
    with session.connect() as muster:
        request = tenants_pb2.ListTenantsRequest(show_deleted=show_all)
        found = every(muster.tenants.ListTenants, request, "tenants")
        tenants = [documents.tenant(record) for record in found]
    session.output.show({"tenants": tenants}, output.records(tenants, ["tenant", "name", "account", "language"]))
