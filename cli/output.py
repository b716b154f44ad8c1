"""Show answers: one JSON document for scripts, or tables for people; everything else goes to stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from cli.listing import Listing

SHOWN_ROWS = 20
_PIPED_WIDTH = 200  # a pipe has no width; long resource names stay on their line
_UNPRINTABLE = {code: None for code in (*range(32), *range(127, 160)) if code not in (9, 10)}


def console_on(stream: Any) -> Console:
    """Make a console that keeps wide tables whole when nobody looks."""
    return Console(file=stream, highlight=False, width=None if stream.isatty() else _PIPED_WIDTH)


@dataclass
class Output:
    """Where a command's answer goes, and in which form."""

    as_json: bool
    out: Console = field(default_factory=lambda: console_on(sys.stdout))
    err: Console = field(default_factory=lambda: console_on(sys.stderr))

    def show(self, document: Mapping[str, Any], view: Iterable[RenderableType]) -> None:
        """Show one answer: `document` to scripts, `view` to people."""
        if self.as_json:
            self._write_document(document)
        else:
            for part in view:
                self.out.print(part)

    def _write_document(self, document: Mapping[str, Any]) -> None:
        """Write a document on one line; a Listing in it goes out record by record, whatever its length."""
        for number, (key, value) in enumerate(document.items()):
            self.out.file.write(f"{', ' if number else '{'}{json.dumps(key)}: ")
            if isinstance(value, Listing):
                self.out.file.write("[")
                for place, record in enumerate(value.as_json()):
                    self.out.file.write(f", {record}" if place else record)
                self.out.file.write("]")
            else:
                self.out.file.write(json.dumps(value))
        self.write_line("}" if document else "{}")

    def write_bytes(self, pieces: Iterable[bytes]) -> None:
        """Write a file on stdout as it is."""
        self.out.file.flush()
        for piece in pieces:
            self.out.file.buffer.write(piece)  # type: ignore[attr-defined]  # stdout is one of bytes below
        self.out.file.buffer.flush()  # type: ignore[attr-defined]

    def show_text(self, document: Mapping[str, Any], text: str) -> None:
        """Show one answer whose form for people is a text to be kept as it is, such as a file."""
        self.write_line(json.dumps(document) if self.as_json else text.rstrip("\n"))

    def write_line(self, line: str) -> None:
        """Write a line on stdout as it is, and at once."""
        self.out.file.write(line + "\n")
        self.out.file.flush()

    def note(self, line: str) -> None:
        """Tell people one line on stderr; scripts read no stderr."""
        self.err.print(Text(clean(line)), soft_wrap=True)


def clean(value: object) -> str:
    """Write a value for a terminal: no control characters, so that no name can move the cursor."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {clean(each)}" for key, each in value.items()) or "-"
    if isinstance(value, list):
        return ", ".join(clean(each) for each in value) or "-"
    return str(value).translate(_UNPRINTABLE)


def records(
    rows: Sequence[Mapping[str, Any]] | Listing, columns: Sequence[str], *, title: str = ""
) -> list[RenderableType]:
    """Lay records out as a table of at most 20 rows, and say how many more there are."""
    shown = rows.first(SHOWN_ROWS) if isinstance(rows, Listing) else rows[:SHOWN_ROWS]
    table = Table(title=Text(title) if title else None, title_justify="left", header_style="bold")
    for column in columns:
        numeric = bool(shown) and all(isinstance(row.get(column), int) for row in shown)
        table.add_column(column.replace("_", " "), justify="right" if numeric else "left", overflow="fold")
    for row in shown:
        table.add_row(*(Text(clean(row.get(column))) for column in columns))
    if not shown:
        return [Text(f"{title}: none" if title else "none")]
    return [table, *and_more(len(rows) - SHOWN_ROWS)]


def and_more(surplus: int) -> list[RenderableType]:
    """Say that there are more records than are shown, if so."""
    return [Text(f"and {surplus:,} more (muster --json shows all)")] if surplus > 0 else []


def facts(document: Mapping[str, Any]) -> list[RenderableType]:
    """Lay one record out as lines of key and value."""
    grid = Table.grid(padding=(0, 2))
    for key, value in document.items():
        grid.add_row(Text(key.replace("_", " "), style="bold"), Text(clean(value)))
    return [grid]


def plain(text: str) -> RenderableType:
    """Lay out a text of several lines as it is."""
    return Text(clean(text))
