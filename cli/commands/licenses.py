"""`muster license`: a tenant's seats."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import licenses_pb2

from cli import documents, output
from cli.commands.options import TenantOption
from cli.session import Session, session_of

app = typer.Typer(help="Seats.", no_args_is_help=True)


@app.command("set")
def set_seats(
    context: typer.Context,
    *,
    tenant: TenantOption,
    seats: Annotated[int, typer.Option(min=0, help="Seats bought; may be fewer than are used.")],
) -> None:
    """Set the number of seats."""
    session = session_of(context)
    with session.connect() as muster:
        request = licenses_pb2.UpdateLicenseRequest(
            name=f"{tenant}/license", seats_total=seats, request_id=session.new_request_id()
        )
        _show(session, muster.licenses.UpdateLicense(request).license)


@app.command("show")
def show_seats(context: typer.Context, *, tenant: TenantOption) -> None:
    """Show how many seats there are and how many are taken."""
    session = session_of(context)
    with session.connect() as muster:
        request = licenses_pb2.GetLicenseRequest(name=f"{tenant}/license")
        _show(session, muster.licenses.GetLicense(request).license)


def _show(session: Session, record: licenses_pb2.License) -> None:
    document = documents.seats(record)
    session.output.show(document, output.facts(document))
