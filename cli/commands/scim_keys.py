"""`muster scim-key`: the keys with which an identity provider calls."""

from __future__ import annotations

import enum
from typing import Annotated

import typer
from muster.directory.v1 import api_keys_pb2

from cli import documents, output
from cli.commands.options import SourceOption
from cli.connect import Muster
from cli.pages import every
from cli.session import Session, session_of

app = typer.Typer(help="Keys of SCIM sources.", no_args_is_help=True)

KeyArgument = Annotated[
    str, typer.Argument(metavar="KEY_ID", help="Id of the key, or its resource name, tenants/…/apiKeys/…")
]


class Kind(enum.StrEnum):
    """How a key is shown."""

    KEY = "key"
    CLIENT_SECRET = "client-secret"  # noqa: S105 - a kind, not a secret


_KINDS = {
    Kind.KEY: api_keys_pb2.API_KEY_KIND_KEY,
    Kind.CLIENT_SECRET: api_keys_pb2.API_KEY_KIND_CLIENT_SECRET,
}


@app.command("create")
def create_key(
    context: typer.Context,
    *,
    source: SourceOption,
    expires_days: Annotated[
        int, typer.Option(min=0, max=3650, help="Days until it expires; never unless said.", show_default=False)
    ] = 0,
    kind: Annotated[Kind, typer.Option(help="A key, or a client's secret for OAuth 2.0.")] = Kind.KEY,
) -> None:
    """Make a key, or a client's secret, for a SCIM source and show it, once."""
    session = session_of(context)
    with session.connect() as muster:
        request = api_keys_pb2.CreateApiKeyRequest(
            source=source,
            expires_days=expires_days,
            kind=_KINDS[kind],
            request_id=session.new_request_id(),
        )
        _show_new(session, muster.api_keys.CreateApiKey(request))


@app.command("list")
def list_keys(context: typer.Context, *, source: SourceOption) -> None:
    """List a source's keys, expired and revoked ones too."""
    session = session_of(context)
    with session.connect() as muster:
        request = api_keys_pb2.ListApiKeysRequest(source=source)
        keys = [documents.api_key(record) for record in every(muster.api_keys.ListApiKeys, request, "api_keys")]
    session.output.show(
        {"keys": keys}, output.records(keys, ["key_id", "kind", "state", "created", "expires", "last_used"])
    )


@app.command("rotate")
def rotate_key(
    context: typer.Context,
    key_id: KeyArgument,
    *,
    overlap_hours: Annotated[
        int | None, typer.Option(min=0, max=8760, help="Hours for which the old key lives on; 24 unless said.")
    ] = None,
) -> None:
    """Make a key in the place of another, which opens until the overlap ends, and show the new one, once."""
    session = session_of(context)
    with session.connect() as muster:
        request = api_keys_pb2.RotateApiKeyRequest(
            name=_name_of(muster, key_id), overlap_hours=overlap_hours, request_id=session.new_request_id()
        )
        _show_new(session, muster.api_keys.RotateApiKey(request))


@app.command("revoke")
def revoke_key(context: typer.Context, key_id: KeyArgument) -> None:
    """End a key at once."""
    session = session_of(context)
    with session.connect() as muster:
        request = api_keys_pb2.RevokeApiKeyRequest(name=_name_of(muster, key_id), request_id=session.new_request_id())
        document = documents.api_key(muster.api_keys.RevokeApiKey(request).api_key)
    session.output.show(document, output.facts(document))


def _name_of(muster: Muster, key_id: str) -> str:
    """Give a key's resource name; an id alone is looked up, which vendor support may."""
    if "/" in key_id:
        return key_id
    return str(muster.api_keys.FindApiKey(api_keys_pb2.FindApiKeyRequest(key_id=key_id)).api_key.name)


def _show_new(session: Session, made: api_keys_pb2.CreateApiKeyResponse | api_keys_pb2.RotateApiKeyResponse) -> None:
    document = {"key": made.secret, "key_id": made.api_key.key_id}
    how = "The key is shown this once: give it to the identity provider as its bearer token now."
    if made.client_id:
        document["client_id"] = made.client_id
        how = "The key is shown this once: give it to the identity provider as the secret of this client_id now."
    session.output.show(document, output.facts(document))
    session.output.note(how)
