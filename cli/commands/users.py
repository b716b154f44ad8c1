"""`muster user`: the people of a tenant."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import users_pb2

from cli import documents, output
from cli.commands.options import AccountOption, TenantOption
from cli.errors import CommandError
from cli.pages import every
from cli.session import session_of

UserArgument = Annotated[str, typer.Argument(metavar="USER", help="Resource name of the user, tenants/…/users/…")]

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
    user: UserArgument,
) -> None:
    """Show one user, a dormant or deleted one too."""
    session = session_of(context)
    with session.connect() as muster:
        document = documents.user(muster.users.GetUser(users_pb2.GetUserRequest(name=user)).user)
    session.output.show(document, output.facts(document))


@app.command("update")
def update_user(
    context: typer.Context,
    user: UserArgument,
    *,
    name: Annotated[str | None, typer.Option(help="The person's name.")] = None,
    email: Annotated[str | None, typer.Option(help="The person's mail address.")] = None,
    title: Annotated[str | None, typer.Option(help="Job title; empty for none.")] = None,
    phone: Annotated[str | None, typer.Option(help="Primary phone in international form; empty for none.")] = None,
    secondary_phone: Annotated[
        str | None, typer.Option(help="Secondary phone in international form; empty for none.")
    ] = None,
) -> None:
    """Change a user; what a source says of its own users comes back with its next sync."""
    given = {
        "display_name": name,
        "email": email,
        "title": title,
        "phone": phone,
        "secondary_phone": secondary_phone,
    }
    changes = {field: value for field, value in given.items() if value is not None}
    if not changes:
        raise CommandError("nothing to change: give --name, --email, --title, --phone or --secondary-phone")
    session = session_of(context)
    with session.connect() as muster:
        request = users_pb2.UpdateUserRequest(user=users_pb2.User(name=user), request_id=session.new_request_id())
        for field, value in changes.items():
            setattr(request.user, field, value)
        request.update_mask.paths.extend(changes)
        document = documents.user(muster.users.UpdateUser(request).user)
    session.output.show(document, output.facts(document))


@app.command("delete")
def delete_user(context: typer.Context, user: UserArgument) -> None:
    """Take a user out at once; for 90 days it can be restored."""
    session = session_of(context)
    with session.connect() as muster:
        request = users_pb2.DeleteUserRequest(name=user, request_id=session.new_request_id())
        gone = muster.users.DeleteUser(request).user
    document = documents.user(gone)
    session.output.show(document, output.facts(document))
    if gone.owner:
        session.output.note(
            f'The user belongs to "{gone.owner_display_name}": if it is still in that file, or the identity provider '
            "creates it again, it comes back."
        )


@app.command("restore")
def restore_user(context: typer.Context, user: UserArgument) -> None:
    """Bring a deleted user back, with a seat and in its account; groups do not come back."""
    session = session_of(context)
    with session.connect() as muster:
        request = users_pb2.UndeleteUserRequest(name=user, request_id=session.new_request_id())
        document = documents.user(muster.users.UndeleteUser(request).user)
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
    columns = ["user", "name", "email", "external_id", "state", "invitation", "owner_name", "groups", "accounts"]
    session.output.show({"users": users}, output.records(users, columns))
