"""`muster admin`: who signs in to tend vendor support's, a tenant's or an account's affairs."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import Annotated

import typer
from muster.directory.v1 import administrators_pb2, tenants_pb2

from cli import documents, output
from cli.connect import Muster
from cli.errors import CommandError
from cli.pages import every
from cli.session import Session, session_of

app = typer.Typer(help="Administrators, who sign in.", no_args_is_help=True)

AdministratorArgument = Annotated[
    str, typer.Argument(metavar="ADMINISTRATOR", help="administrators/… or tenants/…/administrators/…")
]


class Role(enum.StrEnum):
    """How far an administrator reaches."""

    SUPPORT = "support"
    TENANT = "tenant"
    ACCOUNT = "account"


_ROLES = {
    Role.SUPPORT: administrators_pb2.ADMINISTRATOR_ROLE_SUPPORT,
    Role.TENANT: administrators_pb2.ADMINISTRATOR_ROLE_TENANT,
    Role.ACCOUNT: administrators_pb2.ADMINISTRATOR_ROLE_ACCOUNT,
}


@app.command("create")
def create_administrator(
    context: typer.Context,
    email: Annotated[str, typer.Argument(help="Mail address, with which it signs in.")],
    *,
    role: Annotated[Role, typer.Option(help="How far it reaches.")],
    tenant: Annotated[str, typer.Option(help="Of role tenant: tenants/…")] = "",
    account: Annotated[str, typer.Option(help="Of role account: tenants/…/accounts/…")] = "",
    name: Annotated[str, typer.Option(help="What people call it.")] = "",
) -> None:
    """Make an administrator and show its password, once."""
    session = session_of(context)
    with session.connect() as muster:
        request = administrators_pb2.CreateAdministratorRequest(
            parent=_parent(role, tenant, account),
            email=email,
            display_name=name,
            role=_ROLES[role],
            request_id=session.new_request_id(),
        )
        _show_password(session, muster.administrators.CreateAdministrator(request))


@app.command("list")
def list_administrators(
    context: typer.Context,
    *,
    tenant: Annotated[str, typer.Option(help="Only those of tenants/… and its accounts.")] = "",
) -> None:
    """List vendor support's administrators and those of all tenants and accounts, or one tenant's."""
    session = session_of(context)
    with session.connect() as muster:
        administrators = [
            documents.administrator(record)
            for parent in ([tenant] if tenant else _parents(muster))
            for record in every(
                muster.administrators.ListAdministrators,
                administrators_pb2.ListAdministratorsRequest(parent=parent),
                "administrators",
            )
        ]
    columns = ["administrator", "email", "name", "role", "account", "totp", "last_sign_in"]
    session.output.show({"administrators": administrators}, output.records(administrators, columns))


@app.command("delete")
def delete_administrator(context: typer.Context, administrator: AdministratorArgument) -> None:
    """Remove an administrator and end its sessions at once."""
    session = session_of(context)
    with session.connect() as muster:
        request = administrators_pb2.DeleteAdministratorRequest(name=administrator, request_id=session.new_request_id())
        muster.administrators.DeleteAdministrator(request)
    document = {"administrator": administrator}
    session.output.show(document, output.facts(document))


@app.command("reset-password")
def reset_password(context: typer.Context, administrator: AdministratorArgument) -> None:
    """Give an administrator another password and show it, once; its sessions and codes end."""
    session = session_of(context)
    with session.connect() as muster:
        request = administrators_pb2.ResetAdministratorPasswordRequest(
            name=administrator, request_id=session.new_request_id()
        )
        _show_password(session, muster.administrators.ResetAdministratorPassword(request))


def _parents(muster: Muster) -> Iterator[str]:
    """Name everybody who has administrators: vendor support, which is "", and each tenant."""
    yield ""
    for tenant in every(muster.tenants.ListTenants, tenants_pb2.ListTenantsRequest(), "tenants"):
        yield tenant.name


def _parent(role: Role, tenant: str, account: str) -> str:
    """Say whom the administrator is made for; what does not go with the role is refused."""
    given = {Role.SUPPORT: "", Role.TENANT: tenant, Role.ACCOUNT: account}
    needed = {Role.TENANT: "--tenant", Role.ACCOUNT: "--account"}
    if role in needed and not given[role]:
        raise CommandError(f"an administrator of role {role} needs {needed[role]}")
    if [value for value in (tenant, account) if value and value != given[role]]:
        raise CommandError(f"role {role} takes {needed.get(role, 'neither --tenant nor --account')}, and no other")
    return given[role]


def _show_password(
    session: Session,
    made: administrators_pb2.CreateAdministratorResponse | administrators_pb2.ResetAdministratorPasswordResponse,
) -> None:
    document = {"administrator": made.administrator.name, "password": made.password}
    session.output.show(document, output.facts(document))
    session.output.note("The password is shown this once; it is valid until it is changed.")
