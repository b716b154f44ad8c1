"""`muster user`: the people of a tenant."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import users_pb2

from cli import documents, output
from cli.commands.options import AccountOption, TenantOption
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="People.", no_args_is_help=True)


@app.command("create")
def create_user(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The person's name.")],
    email: Annotated[str, typer.Argument(help="The person's mail address.")],
    *,
    account: AccountOption,
    group: Annotated[list[str] | None, typer.Option(help="Resource name of a group to join; may be repeated.")] = None,
    title: Annotated[str, typer.Option(help="Job title.")] = "",
    phone: Annotated[str, typer.Option(help="Primary phone in international form.")] = "",
    secondary_phone: Annotated[str, typer.Option(help="Secondary phone in international form.")] = "",
) -> None:
    """Make a manual user, who takes a seat."""
    session = session_of(context)
    with session.connect() as muster:
        made = muster.users.CreateUser(
            users_pb2.CreateUserRequest(
                account=account,
                display_name=name,
                email=email,
                title=title,
                phone=phone,
                secondary_phone=secondary_phone,
                groups=group or [],
                request_id=session.new_request_id(),
            )
        ).user
    document = {"user": made.name}
    session.output.show(document, output.facts(document))


@app.command("show")
def show_user(
    context: typer.Context,
    user: Annotated[str, typer.Argument(metavar="USER", help="Resource name of the user, tenants/…/users/…")],
) -> None:
    """Show one user, a dormant or deleted one too."""
    session = session_of(context)
    with session.connect() as muster:
        document = documents.user(muster.users.GetUser(users_pb2.GetUserRequest(name=user)).user)
    session.output.show(document, output.facts(document))


@app.command("list")
def list_users(
    context: typer.Context,
    *,
    tenant: TenantOption,
    email: Annotated[str, typer.Option(help="Only the user with this mail address.")] = "",
    show_all: Annotated[bool, typer.Option("--all", help="Dormant and deleted users too.")] = False,
) -> None:
    """List a tenant's active users."""
    session = session_of(context)
    with session.connect() as muster:
        request = users_pb2.ListUsersRequest(tenant=tenant, email=email, show_deleted=show_all)
        users = [documents.user(record) for record in every(muster.users.ListUsers, request, "users")]
    columns = ["user", "name", "email", "external_id", "state", "owner_name", "groups", "accounts"]
    session.output.show({"users": users}, output.records(users, columns))
