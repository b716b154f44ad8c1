"""Lay an import run out for people: what became of it, its counts, its rows, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli import output
from cli.documents import Document

_LEFT_OUT = (
    "As approved, nobody was deleted: {} people stay, and hold the next plan without them until someone decides."
)
_STYLES = {
    "applied": "green",
    "unchanged": "green",
    "undone": "green",
    "planned": "cyan",
    "held": "yellow",
    "refused": "red",
    "failed": "red",
}


def view(document: Document) -> list[RenderableType]:
    """Lay out a run with its rejected rows, warnings and, if they were asked for, changes."""
    status = str(document["status"])
    headline = Text.assemble(("run ", "bold"), str(document["run"]), "  ", (status, _STYLES.get(status, "bold")))
    if document["reason"]:
        headline.append(f"  {document['reason']}")
    parts: list[RenderableType] = [headline]
    if document["message"]:
        parts.append(Text(output.clean(document["message"])))
    parts.append(_counts(document))
    if document["seats_total"]:
        parts.append(Text(f"seats: {document['seats_used']} of {document['seats_total']} taken"))
    if document["status"] == "applied" and document["deletions_left_out"] and document["plan"]["deleted"]:
        parts.append(Text(_LEFT_OUT.format(document["plan"]["deleted"])))
    parts += _issues(document)
    if "changes" in document:
        parts += output.records([_flat(each) for each in document["changes"]], _CHANGE_COLUMNS, title="changes")
    return parts + _next_steps(document)


def _counts(document: Document) -> Table:
    shown = [key for key in document["counts"] if key == "rows" or document["counts"][key] or document["plan"][key]]
    table = Table(header_style="bold")
    table.add_column("")
    for key in shown:
        table.add_column(key.replace("_", " "), justify="right")
    if document["plan_hash"] and document["status"] != "undone":
        table.add_row("planned", *(str(document["plan"][key]) for key in shown))
    if document["status"] == "undone":
        table.add_row("put back", *(str(document["plan"][key]) for key in shown))
    table.add_row("done", *(str(document["counts"][key]) for key in shown))
    return table


def _issues(document: Document) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if document["rejected"]:
        columns = ["line", "key", "reason", "column", "value", "message"]
        parts += output.records(document["rejected"], columns, title="rejected rows")
    if document["warnings"]:
        columns = ["line", "key", "code", "column", "value", "message"]
        parts += output.records(document["warnings"], columns, title="warnings")
    return parts


_CHANGE_COLUMNS = ["line", "action", "key", "name", "email", "changes"]


def _flat(change: Document) -> dict[str, Any]:
    moves: Sequence[str] = [
        *(f"{each['field']}: {each['before'] or '-'} → {each['after'] or '-'}" for each in change["fields"]),
        *(f"+ {group}" for group in change["groups_added"]),
        *(f"- {group}" for group in change["groups_removed"]),
    ]
    return change | {"changes": "; ".join(moves)}


_OR_WITHOUT = "  |  muster runs approve {} --without-deletions"


def _next_steps(document: Document) -> list[RenderableType]:
    if document["status"] == "undone" and document["undone_by"]:
        return [Text("Put back by " + document["undone_by"] + "; `muster source enable` is the next go-ahead.")]
    if document["status"] == "planned" and document["undoes"]:
        run = document["run"]
        return [
            Text("Nothing was put back yet."),
            Text(f"  muster runs undo {document['undoes']}  |  muster runs discard {run}"),
        ]
    if document["status"] == "planned":
        return [
            Text("Nothing was written: this was a dry run, or the source is in trial until `muster source enable`.")
        ]
    if document["status"] != "held":
        return []
    run = document["run"]
    return [
        Text("To decide:"),
        Text(f"  muster runs show {run} --changes"),
        Text(f"  muster runs approve {run}" + ("" if document["undoes"] else _OR_WITHOUT.format(run))),
        Text(f"  muster runs discard {run}"),
    ]
