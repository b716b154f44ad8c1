"""`muster runs`: what became of the visits to a source, and the decisions on held ones."""

from __future__ import annotations

from base64 import b64encode
from typing import Annotated

import typer
from muster.directory.v1 import imports_pb2

from cli import documents, output, run_view, runs
from cli.commands.options import RowsOption, RunArgument, SourceOption
from cli.pages import every
from cli.progress import RunProgress
from cli.session import session_of

app = typer.Typer(help="Import runs.", no_args_is_help=True)
_SHOW_PATIENCE_S = 60.0


@app.command("list")
def list_runs(context: typer.Context, *, source: SourceOption) -> None:
    """List a source's runs, newest first."""
    session = session_of(context)
    with session.connect() as muster:
        request = imports_pb2.ListImportRunsRequest(source=source)
        found = [documents.run(record) for record in every(muster.imports.ListImportRuns, request, "import_runs")]
    columns = ["run", "status", "reason", "started", "rows", "created", "updated", "deleted", "rejected"]
    session.output.show({"runs": found}, output.records([each | each["counts"] for each in found], columns))


@app.command("show")
def show_run(
    context: typer.Context,
    run: RunArgument,
    *,
    changes: Annotated[bool, typer.Option("--changes", help="Also what it changes, person by person.")] = False,
    issues: Annotated[
        bool, typer.Option("--issues", help="Its rejected rows and warnings; they are always shown.")
    ] = False,
    rows: RowsOption = False,
) -> None:
    """Show one run once it is at rest, with its rejected rows and warnings."""
    del issues  # the document always has them; scripts may say so
    session = session_of(context)
    with session.connect() as muster:
        record = runs.follow(muster, runs.read_run(muster, run), timeout_s=_SHOW_PATIENCE_S)
        document = runs.document_of(muster, record)
        if changes:
            document["changes"] = runs.changes_of(muster, record)
        if rows:
            document |= runs.rows_of(muster, record)
    session.output.show(document, run_view.view(document))


@app.command("rejected")
def download_rejected_rows(context: typer.Context, run: RunArgument) -> None:
    """Write a run's rejected rows, to be mended, as a CSV file in the form of the customer's own; > FILE.csv keeps it.

    The last column, Muster, says what is wrong with each row. Put mended rows back where the file is made: a file of
    them alone would mean that everybody else has left.
    """
    session = session_of(context)
    with session.connect() as muster:
        pieces = runs.rejected_rows_of(muster, run)
        if session.output.as_json:
            content = b64encode(b"".join(pieces)).decode()
            session.output.show({"run": run, "file_base64": content}, [])
        else:
            session.output.write_bytes(pieces)


@app.command("approve")
def approve_run(
    context: typer.Context,
    run: RunArgument,
    *,
    without_deletions: Annotated[
        bool, typer.Option("--without-deletions", help="Delete nobody; they stay until someone decides.")
    ] = False,
) -> None:
    """Approve a held run's present plan and wait until it is applied."""
    session = session_of(context)
    deletions = imports_pb2.DELETIONS_LEAVE_OUT if without_deletions else imports_pb2.DELETIONS_APPLY
    with session.connect() as muster, RunProgress(session.output) as progress:
        held = runs.read_run(muster, run)
        record = runs.approve(muster, held, deletions=deletions, watch=progress.show_run)
        document = runs.document_of(muster, record)
    session.output.show(document, run_view.view(document))
    raise typer.Exit(runs.exit_status(record))


@app.command("undo")
def undo_run(
    context: typer.Context,
    run: RunArgument,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be put back.")] = False,
) -> None:
    """Put back what the latest applied run of a source changed, within 30 days; the source is in trial afterwards."""
    session = session_of(context)
    with session.connect() as muster, RunProgress(session.output) as progress:
        record = runs.plan_undo(muster, run)
        if not dry_run:
            record = runs.approve(muster, record, deletions=imports_pb2.DELETIONS_APPLY, watch=progress.show_run)
        if record.status == imports_pb2.IMPORT_RUN_STATUS_APPLIED:
            document = runs.undone_document(muster, record)
        else:
            document = runs.document_of(muster, record)
            document["changes"] = runs.changes_of(muster, record)
    session.output.show(document, run_view.view(document))
    if not dry_run and record.status != imports_pb2.IMPORT_RUN_STATUS_APPLIED:
        raise typer.Exit(runs.EXIT_FAILED)


@app.command("discard")
def discard_run(context: typer.Context, run: RunArgument) -> None:
    """End a held or planned run without applying it."""
    session = session_of(context)
    with session.connect() as muster:
        request = imports_pb2.DiscardImportRunRequest(import_run=run)
        record = muster.imports.DiscardImportRun(request).import_run
        document = runs.document_of(muster, record)
    session.output.show(document, run_view.view(document))
