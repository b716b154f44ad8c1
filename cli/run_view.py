"""Lay an import run out for people: what became of it, its counts, its rows, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli import output
from cli.documents import Document
from cli.listing import Listing

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
    parts += _reach(document["reach"])
    parts += _issues(document)
    if "changes" in document:
        parts += _changes(document["changes"])
    if document.get("row_totals"):
        parts += _rows(document["rows"], document["row_totals"])
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


_REACH = {
    "lost_phone": ("1 person loses the only phone", "{} people lose their only phone"),
    "gained_phone": ("1 person gets a phone", "{} people get a phone"),
    "came_without_phone": ("1 new person has no phone", "{} new people have no phone"),
    "groups_below_two": ("1 group drops below 2 reachable people", "{} groups drop below 2 reachable people"),
}


def _reach(reach: Document | None) -> list[RenderableType]:
    said = [texts[reach[key] != 1].format(reach[key]) for key, texts in _REACH.items() if reach[key]] if reach else []
    if not reach or not said:
        return []
    parts: list[RenderableType] = [Text(f"who can be reached: {', '.join(said)}")]
    if reach["groups"]:
        parts += output.records(reach["groups"], ["name", "group", "before", "after"], title="groups out of reach")
    return parts


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


def _changes(changes: Listing) -> list[RenderableType]:
    shown = [_flat(each) for each in changes.first(output.SHOWN_ROWS)]
    return output.records(shown, _CHANGE_COLUMNS, title="changes") + output.and_more(len(changes) - len(shown))


def _flat(change: Document) -> dict[str, Any]:
    return change | {"changes": _said(change)}


def _said(change: Document) -> str:
    moves: Sequence[str] = [
        *(f"{each['field']}: {each['before'] or '-'} → {each['after'] or '-'}" for each in change["fields"]),
        *(f"+ {group}" for group in change["groups_added"]),
        *(f"- {group}" for group in change["groups_removed"]),
        *(f"= {group}" for group in change["groups_kept"]),
    ]
    return "; ".join(moves)


def _rows(rows: Listing, totals: Document) -> list[RenderableType]:
    """Show the first rows of each verdict, those that want attention first."""
    table = Table(title=Text("rows"), title_justify="left", header_style="bold")
    for column in ("line", "key", "", "outcome", "what"):
        table.add_column(column, justify="right" if column == "line" else "left", overflow="fold")
    shown = 0
    for verdict in ("red", "yellow", "green"):
        same = list(islice((row for row in rows if row["verdict"] == verdict), output.SHOWN_ROWS))
        shown += len(same)
        for row in same:
            mark = Text(f"● {verdict}", verdict)
            line, key, what = (Text(output.clean(cell)) for cell in (row["line"], row["key"], _what(row)))
            table.add_row(line, key, mark, row["outcome"], what)
    summary = Text("rows: ")
    for number, (verdict, count) in enumerate(totals.items()):
        summary.append(f"{', ' if number else ''}{count:,} {verdict}", verdict if count else "")
    return [summary, *([table] if shown else []), *output.and_more(len(rows) - shown)]


def _what(row: Document) -> str:
    """Say in one cell what is wrong with a row and what it changes."""
    said = []
    for issue in row["issues"]:
        where = " ".join(filter(None, (issue["column"], issue["value"])))
        said.append(f"{issue['code']}{f' ({where})' if where else ''}: {issue['message']}")
    return "\n".join([*said, *([_said(row["change"])] if row["change"] else [])])


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
