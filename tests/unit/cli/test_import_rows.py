"""Rows on the command line: those of a planned file one by one, and rejected ones as a file to be mended."""

from __future__ import annotations

import io
import os
import tracemalloc
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace

import pytest
from muster.directory.v1 import imports_pb2
from muster.importer.v1 import importer_pb2
from muster.runtime.errors import RpcError
from rich.console import Console

from cli import listing, run_view, runs
from cli.output import Output
from tests.unit.cli.test_runs import RUN, SOURCE, a_run, no_issues


class RunStateError(RpcError):
    reason = "RUN_STATE"


def a_row(line, verdict, outcome, **fields):
    return imports_pb2.ImportRow(
        line=line,
        key=f"EMP-{line}",
        verdict=imports_pb2.RowVerdict.Value(f"ROW_VERDICT_{verdict.upper()}"),
        outcome=imports_pb2.RowOutcome.Value(f"ROW_OUTCOME_{outcome.upper()}"),
        **fields,
    )


@pytest.fixture
def planned(services):
    """A dry run of a file of three rows, on two pages."""
    services.answer("ImportFile", [importer_pb2.ImportFileResponse(import_run=a_run("planned", plan_only=True))])
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=a_run("planned", plan_only=True)))
    no_issues(services)
    issue = imports_pb2.ImportIssue(
        line=3, severity=1, code="mail_invalid", column="Mail", masked_value="a***", message="Give one address."
    )
    change = imports_pb2.ImportChange(
        line=4, action=1, fields=[imports_pb2.FieldChange(field="title", before="", after="Cook")]
    )
    first = [a_row(2, "green", "unchanged"), a_row(3, "red", "rejected", issues=[issue])]
    services.answer(
        "ListImportRows",
        imports_pb2.ListImportRowsResponse(
            rows=first, next_page_token="more", totals=imports_pb2.ImportRowTotals(green=2, yellow=0, red=1)
        ),
        imports_pb2.ListImportRowsResponse(rows=[a_row(4, "green", "created", change=change)]),
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "people.csv"
    path.write_bytes(b"x")
    return str(path)


def test_rows_of_a_dry_run_are_in_the_document(planned, muster, file):
    document = muster("import", file, "--source", SOURCE, "--dry-run", "--rows").document
    assert document["row_totals"] == {"green": 2, "yellow": 0, "red": 1}
    assert [(row["line"], row["verdict"], row["outcome"]) for row in document["rows"]] == [
        (2, "green", "unchanged"),
        (3, "red", "rejected"),
        (4, "green", "created"),
    ]
    assert document["rows"][1]["issues"] == [
        {
            "severity": "rejected",
            "line": 3,
            "key": "",
            "code": "mail_invalid",
            "column": "Mail",
            "value": "a***",
            "message": "Give one address.",
        }
    ]
    assert document["rows"][2]["change"]["fields"] == [{"field": "title", "before": "", "after": "Cook"}]


def test_people_see_first_what_wants_their_attention(planned, muster):
    said = muster("runs", "show", RUN, "--rows", as_json=False).out
    assert "rows: 2 green, 0 yellow, 1 red" in said
    assert said.index("mail_invalid (Mail a***): Give one address.") < said.index("title: - → Cook")


def test_a_run_that_is_not_planned_has_no_rows_to_show(services, muster, file):
    services.answer("ImportFile", [importer_pb2.ImportFileResponse(import_run=a_run("applied"))])
    no_issues(services)
    document = muster("import", file, "--source", SOURCE, "--rows").document
    assert (document["row_totals"], document["rows"]) == (None, [])


def chunks(*pieces):
    return [imports_pb2.DownloadRejectedRowsResponse(chunk=piece) for piece in pieces]


def test_rejected_rows_are_written_byte_by_byte_as_they_come(services, muster):
    services.answer("DownloadRejectedRows", chunks(b"\xff\xfeU\0", b"\xe5;\r\n"))
    assert b64decode(muster("runs", "rejected", RUN).document["file_base64"]) == b"\xff\xfeU\0\xe5;\r\n"
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    Output(as_json=False, out=Console(file=out)).write_bytes([b"\xff\xfeU\0", b"\xe5;\r\n"])
    assert out.buffer.getvalue() == b"\xff\xfeU\0\xe5;\r\n"


def test_a_run_without_rejected_rows_says_so_and_writes_nothing(services, muster, capsys):
    services.answer("DownloadRejectedRows", RunStateError("the run is applied, and no row was rejected"))
    answer = muster("runs", "rejected", RUN)
    assert (answer.status, answer.out) == (1, "")
    assert "no row was rejected" in capsys.readouterr().err


def test_an_answer_s_size_does_not_depend_on_its_issues(monkeypatch):
    """Four times the issues take no more memory: they go through a file."""
    monkeypatch.setattr(listing, "_IN_MEMORY_BYTES", 10_000)
    peaks = []
    for pages in (2, 8):
        issue = imports_pb2.ImportIssue(line=7, code="mail_invalid", severity=1, column="Mail", message="Mend it.")
        page = imports_pb2.ListImportIssuesResponse(issues=[issue] * 200, next_page_token="more")
        last = imports_pb2.ListImportIssuesResponse(issues=[issue] * 200)
        answers = iter([page] * (pages - 1) + [last])
        imports = SimpleNamespace(ListImportIssues=lambda _, answers=answers: next(answers))
        tracemalloc.start()
        document = runs.document_of(SimpleNamespace(imports=imports), a_run("applied"))
        with Path(os.devnull).open("w") as nowhere:
            Output(as_json=True, out=Console(file=nowhere)).show(document, run_view.view(document))
        assert len(document["rejected"]) == pages * 200
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 50_000
