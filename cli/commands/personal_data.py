"""`muster user export` and `muster user erase`: a person's data as a whole."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from muster.directory.v1 import users_pb2

from cli import documents, output
from cli.commands.options import YesOption, ask
from cli.session import session_of

_User = Annotated[str, typer.Argument(metavar="USER", help="Resource name of the user, tenants/…/users/…")]


def export_user(context: typer.Context, user: _User) -> None:
    """Print all that is kept about a person, as one JSON document; no secrets are in it."""
    session = session_of(context)
    with session.connect() as muster:
        answer = muster.users.ExportUser(users_pb2.ExportUserRequest(name=user))
    session.output.show_text(json.loads(answer.document), answer.document.decode())


def erase_user(
    context: typer.Context,
    user: _User,
    *,
    yes: YesOption = False,
) -> None:
    """Delete a person and erase name, mail, phones, title and keys for good, in events and runs, too."""
    session = session_of(context)
    ask(f"Erase {user} for good?", yes=yes)
    with session.connect() as muster:
        request = users_pb2.EraseUserRequest(name=user, request_id=session.new_request_id())
        document = documents.user(muster.users.EraseUser(request).user)
    session.output.show(document, output.facts(document))
