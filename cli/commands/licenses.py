"""`muster license`: a tenant's seats."""

from __future__ import annotations

from typing import Annotated

import typer
from muster.directory.v1 import licenses_pb2

from cli import documents, output
from cli.commands.options import TenantOption
from cli.pages import every
from cli.session import session_of

app = typer.Typer(help="Seats.", no_args_is_help=True)


@app.command("set")
def set_seats(
    context: typer.Context,
    *,
    tenant: TenantOption,
    seats: Annotated[int, typer.Option(min=0, max=1_000_000_000, help="Seats bought; may be fewer than are used.")],
) -> None:
    """Set the number of seats."""
    session = session_of(context)
    with session.connect() as muster:
        request = licenses_pb2.UpdateLicenseRequest(
            name=f"{tenant}/license", seats_total=seats, request_id=session.new_request_id()
        )
        document = documents.seats(muster.licenses.UpdateLicense(request).license)
    session.output.show(document, output.facts(document))
    if said := _no_seat_free(document["seats_total"], document["seats_used"]):
        session.output.note(said)


def _no_seat_free(total: int, used: int) -> str:
    """Say what a license without a free seat means (R35); empty for one that has any."""
    if used < total:
        return ""
    if used == 0:
        return "The tenant has no seats: nobody can be added."
    seats = f"{used} active users, and {total or 'no'} {'seat' if total == 1 else 'seats'}"
    return (
        f"{seats}: nobody loses access, and nobody is added, restored or woken until there are"
        f" {used + 1} seats, or fewer users."
    )


@app.command("show")
def show_seats(context: typer.Context, *, tenant: TenantOption) -> None:
    """Show how many seats there are, how many are taken, and how many people were refused one by SCIM."""
    session = session_of(context)
    with session.connect() as muster:
        license_name = f"{tenant}/license"
        seats = muster.licenses.GetLicense(licenses_pb2.GetLicenseRequest(name=license_name)).license
        waiting = muster.licenses.ListRefusals(licenses_pb2.ListRefusalsRequest(license=license_name, page_size=1))
    document = documents.seats(seats) | {"refused": waiting.total}
    session.output.show(document, output.facts(document))


@app.command("refused")
def list_refused(context: typer.Context, *, tenant: TenantOption) -> None:
    """List whom a SCIM source could not create or re-activate for want of a seat, the longest waiting first."""
    session = session_of(context)
    with session.connect() as muster:
        request = licenses_pb2.ListRefusalsRequest(license=f"{tenant}/license")
        refused = [documents.refusal(record) for record in every(muster.licenses.ListRefusals, request, "refusals")]
    columns = ["user_name", "external_id", "attempts", "first", "last", "source"]
    session.output.show({"refused": refused}, output.records(refused, columns))
