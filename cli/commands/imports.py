"""`muster import` and `muster run`: one visit to a source, now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from muster.directory.v1 import imports_pb2
from muster.importer.v1 import importer_pb2

from cli import run_view, runs
from cli.commands.options import ApproveOption, DryRunOption, RowsOption, SourceArgument, SourceOption
from cli.connect import Muster
from cli.errors import CommandError
from cli.progress import RunProgress
from cli.session import Session, session_of

_CHUNK_BYTES = 256 * 1024


def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A CSV file on this machine.")],
    *,
    source: SourceOption,
    dry_run: DryRunOption = False,
    approve: ApproveOption = False,
    rows: RowsOption = False,
) -> None:
    """Take a local file through exactly the nightly path after the fetch."""
    session = session_of(context)
    start = importer_pb2.ImportFileStart(source=source, file_name=file.name, dry_run=dry_run)
    with session.connect() as muster, RunProgress(session.output) as progress, _opened(file) as content:
        answers = muster.importer.ImportFile(_pieces(start, content))
        run = _at_rest(muster, answers, progress, approve=approve)
        document = runs.document_of(muster, run)
        if rows:
            document |= runs.rows_of(muster, run)
    _end(session, document, run)


def run_source(
    context: typer.Context,
    source: SourceArgument,
    *,
    dry_run: DryRunOption = False,
    approve: ApproveOption = False,
) -> None:
    """Fetch the source's file by SFTP now and import it."""
    session = session_of(context)
    with session.connect() as muster, RunProgress(session.output) as progress:
        answers = muster.importer.RunSource(importer_pb2.RunSourceRequest(source=source, dry_run=dry_run))
        run = _at_rest(muster, answers, progress, approve=approve)
        document = runs.document_of(muster, run)
    _end(session, document, run)


def _at_rest(muster: Muster, answers: Iterable[Any], progress: RunProgress, *, approve: bool) -> imports_pb2.ImportRun:
    """Follow the importer to the run at rest; approve it when it is held and that was asked for."""
    run: imports_pb2.ImportRun | None = None
    for answer in answers:
        if answer.HasField("progress"):
            progress.show(answer.progress)
        if answer.HasField("import_run"):
            run = answer.import_run
    if run is None:
        raise CommandError("the importer ended without a run; look at its log and at `muster runs list`")
    if approve and run.status == imports_pb2.IMPORT_RUN_STATUS_HELD:
        return runs.approve(muster, run, deletions=imports_pb2.DELETIONS_APPLY, watch=progress.show_run)
    return run


def _opened(file: Path) -> Any:
    try:
        return file.open("rb")
    except OSError as error:
        raise CommandError(f"cannot read {file}: {error.strerror}; check the path") from error


def _pieces(start: importer_pb2.ImportFileStart, content: Any) -> Iterator[importer_pb2.ImportFileRequest]:
    yield importer_pb2.ImportFileRequest(start=start)
    while chunk := content.read(_CHUNK_BYTES):
        yield importer_pb2.ImportFileRequest(chunk=chunk)


def _end(session: Session, document: dict[str, Any], run: imports_pb2.ImportRun) -> None:
    session.output.show(document, run_view.view(document))
    raise typer.Exit(runs.exit_status(run))
