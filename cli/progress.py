"""Show how far a run is on a terminal: rows sent, then rows applied. Elsewhere, stay silent."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from muster.directory.v1 import imports_pb2
from muster.importer.v1 import importer_pb2
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.output import Output


class RunProgress:
    """Two bars on stderr while a run moves; nothing when stderr is no terminal or JSON was asked for."""

    def __init__(self, output: Output) -> None:
        self._bars = Progress(
            TextColumn("{task.description:<13}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=output.err,
            transient=True,
            disable=output.as_json or not output.err.is_terminal,
        )
        self._sent: TaskID | None = None
        self._applied: TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, progress: importer_pb2.Progress) -> None:
        """Move the bars to what the importer says."""
        if self._sent is None:
            self._sent = self._bars.add_task("rows sent", total=None)
        self._bars.update(self._sent, completed=progress.rows_sent, total=progress.rows_total or None)
        if progress.rows_to_apply:
            self._show_applied(progress.rows_applied, progress.rows_to_apply)

    def show_run(self, run: imports_pb2.ImportRun) -> None:
        """Move the second bar to what the directory says of a run being applied."""
        to_apply = run.plan.created + run.plan.updated + run.plan.deleted
        if to_apply:
            self._show_applied(run.applied_rows, to_apply)

    def _show_applied(self, done: int, total: int) -> None:
        if self._applied is None:
            self._applied = self._bars.add_task("rows applied", total=total)
        self._bars.update(self._applied, completed=done, total=total)
