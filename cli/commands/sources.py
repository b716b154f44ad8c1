"""`muster source`: where a tenant's facts come from."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer
from google.protobuf import field_mask_pb2
from muster.directory.v1 import sources_pb2

from cli import documents, output
from cli.commands import source_check
from cli.commands.options import SourceArgument, TenantOption, YesOption, ask
from cli.pages import every
from cli.session import session_of
from cli.source_settings import SourceSettings, credentials_of, takes_settings, write_into

app = typer.Typer(help="Files and identity providers that people come from.", no_args_is_help=True)

app.command("test")(source_check.check_source)

DEFAULT_PATH = "/users.csv"
# `moment` is when it is asked for: a newest TimeStamp of long ago is warned `stale_export`.
# Phone numbers of ranges that are kept free for examples; `.example` never has mail.
SAMPLE = """\
UniqueID,Name,Mail,Title,TelephoneNumber,SecondaryTelephoneNumber,TimeStamp,Groups,Skip
EMP-0000001,Astrid Holm,astrid.holm@lakeside.example,Head of Department,+46701740605,+46313900601,{moment},"SCHOOL-01,CRISIS",0
EMP-0000002,Ben Okafor,ben.okafor@lakeside.example,Caretaker,+46701740606,,{moment},SCHOOL-01,0
EMP-0000003,Chiara Moretti,chiara.moretti@lakeside.example,,,,{moment},,0
"""  # noqa: E501 - a row is a line


class Kind(StrEnum):
    """How facts arrive."""

    SFTP = "sftp"
    SCIM = "scim"


@app.command("create")
@takes_settings
def create_source(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What people call it.")],
    *,
    tenant: TenantOption,
    kind: Annotated[Kind, typer.Option(help="How facts arrive.")],
    settings: SourceSettings,
) -> None:
    """Make a source: a file's in trial, on a hosted drop unless --host is said; a SCIM source enabled.

    A hosted drop's password is shown once.
    """
    session = session_of(context)
    source = sources_pb2.Source(
        display_name=name, kind=sources_pb2.SourceKind.Value(f"SOURCE_KIND_{kind.value.upper()}")
    )
    if kind is Kind.SFTP:
        source.sftp.path = DEFAULT_PATH
    write_into(source, settings)
    with session.connect() as muster:
        made = muster.sources.CreateSource(
            sources_pb2.CreateSourceRequest(
                tenant=tenant,
                source=source,
                credentials=credentials_of(settings),
                request_id=session.new_request_id(),
            )
        )
    document: dict[str, Any] = {"source": made.source.name}
    if made.HasField("drop_login"):
        document["sftp"] = documents.drop_login(made.drop_login)
    session.output.show(document, output.facts(document))
    session.output.note(_next_step(made.source))


@app.command("update")
@takes_settings
def update_source(
    context: typer.Context,
    source: SourceArgument,
    *,
    name: Annotated[str | None, typer.Option(help="What people call it.")] = None,
    settings: SourceSettings,
) -> None:
    """Change the settings that are said; the others stay."""
    session = session_of(context)
    credentials = credentials_of(settings)
    with session.connect() as muster:
        changed = muster.sources.GetSource(sources_pb2.GetSourceRequest(name=source)).source
        paths = write_into(changed, settings)
        if name is not None:
            changed.display_name = name
            paths.append("display_name")
        if not paths and credentials is None:
            raise typer.BadParameter("say at least one setting to change")
        answer = muster.sources.UpdateSource(
            sources_pb2.UpdateSourceRequest(
                source=changed,
                update_mask=field_mask_pb2.FieldMask(paths=paths),
                credentials=credentials,
                request_id=session.new_request_id(),
            )
        )
    document = documents.source_settings(answer.source)
    session.output.show(document, output.facts(document))


@app.command("enable")
def enable_source(context: typer.Context, source: SourceArgument) -> None:
    """Give the go-ahead: from now on a file's runs are applied, and an identity provider's calls are answered."""
    session = session_of(context)
    with session.connect() as muster:
        request = sources_pb2.EnableSourceRequest(name=source, request_id=session.new_request_id())
        document = documents.source(muster.sources.EnableSource(request).source)
    session.output.show(document, output.facts(document))


@app.command("disable")
def disable_source(context: typer.Context, source: SourceArgument) -> None:
    """Stop a file's runs, or refuse an identity provider's calls, until the source is enabled again."""
    session = session_of(context)
    with session.connect() as muster:
        request = sources_pb2.DisableSourceRequest(name=source, request_id=session.new_request_id())
        disabled = muster.sources.DisableSource(request).source
    document = documents.source(disabled)
    session.output.show(document, output.facts(document))
    if disabled.kind == sources_pb2.SOURCE_KIND_SCIM:
        session.output.note(f"Its calls are refused until `muster source enable {source}`; its users and keys stay.")


@app.command("pause")
def pause_source(context: typer.Context, source: SourceArgument) -> None:
    """Stop an enabled source for a while: a file's runs, or an identity provider's calls."""
    session = session_of(context)
    with session.connect() as muster:
        request = sources_pb2.PauseSourceRequest(name=source, request_id=session.new_request_id())
        document = documents.source(muster.sources.PauseSource(request).source)
    session.output.show(document, output.facts(document))


@app.command("resume")
def resume_source(context: typer.Context, source: SourceArgument) -> None:
    """Let a paused source go on."""
    session = session_of(context)
    with session.connect() as muster:
        request = sources_pb2.ResumeSourceRequest(name=source, request_id=session.new_request_id())
        document = documents.source(muster.sources.ResumeSource(request).source)
    session.output.show(document, output.facts(document))


class Users(StrEnum):
    """What becomes of a detached source's users."""

    KEEP = "keep"
    DELETE = "delete"


@app.command("detach")
def detach_source(
    context: typer.Context,
    source: SourceArgument,
    *,
    users: Annotated[Users, typer.Option(help="Keep its users as manual users, or delete them.")],
    yes: YesOption = False,
) -> None:
    """Part a source from its users and groups: it is disabled and owns nobody, and its keys are revoked."""
    if users is Users.DELETE:
        ask(f"Delete all users of {source}?", yes=yes)
    session = session_of(context)
    choice = {
        Users.KEEP: sources_pb2.DETACHED_USERS_KEEP_AS_MANUAL,
        Users.DELETE: sources_pb2.DETACHED_USERS_DELETE,
    }[users]
    with session.connect() as muster:
        request = sources_pb2.DetachSourceRequest(name=source, users=choice, request_id=session.new_request_id())
        detached = muster.sources.DetachSource(request)
    document = documents.source(detached.source) | {"users": detached.users}
    session.output.show(document, output.facts(document))
    session.output.note(f"It owns nothing any more; `muster source delete {source}` takes it away.")


@app.command("delete")
def delete_source(context: typer.Context, source: SourceArgument) -> None:
    """Take a source away that owns nothing; its runs can still be read."""
    session = session_of(context)
    with session.connect() as muster:
        muster.sources.DeleteSource(sources_pb2.DeleteSourceRequest(name=source, request_id=session.new_request_id()))
    document = {"source": source, "state": "deleted"}
    session.output.show(document, output.facts(document))


@app.command("show")
def show_source(context: typer.Context, source: SourceArgument) -> None:
    """Show one source with all its settings."""
    session = session_of(context)
    with session.connect() as muster:
        found = muster.sources.GetSource(sources_pb2.GetSourceRequest(name=source))
    document = documents.source_settings(found.source)
    if found.HasField("drop_login"):
        document["sftp"] |= {"hosted": True, "host": found.drop_login.host, "port": found.drop_login.port}
    session.output.show(document, output.facts(document))


@app.command("list")
def list_sources(context: typer.Context, *, tenant: TenantOption) -> None:
    """List a tenant's sources in order of position, with each file's last run and when its next night is due (UTC)."""
    session = session_of(context)
    with session.connect() as muster:
        request = sources_pb2.ListSourcesRequest(tenant=tenant)
        sources = [documents.source(record) for record in every(muster.sources.ListSources, request, "sources")]
    columns = ["source", "name", "kind", "state", "account", "last_run", "next_due"]
    session.output.show({"sources": sources}, output.records(sources, columns))


@app.command("sample")
def show_sample(context: typer.Context) -> None:
    """Print a CSV template with every column and three invented people."""
    session = session_of(context)
    text = SAMPLE.format(moment=session.clock().strftime("%Y-%m-%dT%H:%M:%SZ"))
    session.output.show_text({"csv": text}, text)


def _next_step(source: sources_pb2.Source) -> str:
    if source.kind == sources_pb2.SOURCE_KIND_SCIM:
        return f"It is enabled; make its key with `muster scim-key create --source {source.name}`."
    return f"It is in trial, and its runs only plan, until `muster source enable {source.name}`."
