"""docs/csv.md says what the code says: every word, every alias, every limit, the template."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from cli.commands.sources import SAMPLE
from services.directory.roster import limits, plan_findings, undo_changes
from services.importer import csv_file, header, row_layout, vocabulary
from services.importer.errors import FileRefusedError, NoFileError, RunEndedError, RunFailedError
from services.notifier.words import words_in
from tests.unit.docs.pages import ROOT, codes, fences, page, rows, section
from tests.unit.importer.reading import read

TEXT = page("docs/csv.md")
STOPPED = rows(section(TEXT, "Why a run stopped"))
REJECTED = rows(section(TEXT, "Why a row was rejected"))
WARNINGS = rows(section(TEXT, "Warnings"))


def first_words(table):
    return {codes(cells[0])[0].partition(":")[0] for cells in table}


def calls_of(path, name):
    tree = ast.parse(path.read_text())
    return [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == name
    ]


def words_of_limits():
    """The words with which limits hold or refuse: first arguments of `Passed`."""
    return {call.args[0].value for call in calls_of(Path(limits.__file__), "Passed")}


def words_of_operations():
    """The words with which the directory itself ends runs: `reason="…"` wherever a run is ended."""
    found = set()
    for path in (ROOT / "services/directory/operations").glob("*.py"):
        for ender in ("end_run", "_end_failed"):
            for call in calls_of(path, ender):
                given = {keyword.arg: keyword.value for keyword in call.keywords}
                if isinstance(given.get("reason"), ast.Constant) and given["reason"].value:
                    found.add(given["reason"].value)
    return found


def words_of_findings():
    """The words of the plan: its two tables, and those that are made in SQL with the Group ID or column in it."""
    in_sql = {"unknown_group", "group_out_of_scope", "claim_differs"}
    text = Path(plan_findings.__file__).read_text()
    assert all(f"{word}:" in text for word in in_sql)
    return {*plan_findings._REJECTIONS, *plan_findings._WARNINGS, *in_sql}


def words_of_undo():
    """The word with which an undo names whom it leaves out."""
    return {undo_changes.CHANGED_SINCE}


def words_of_runs():
    """The words that end a run in the importer."""
    leaves = [NoFileError, *FileRefusedError.__subclasses__(), *RunFailedError.__subclasses__()]
    return {leaf.word for leaf in leaves}


def test_every_word_of_the_code_is_in_the_tables_and_no_other():
    said = {*vocabulary._SENTENCES, *words_of_findings(), *words_of_limits(), *words_of_operations(), *words_of_undo()}
    assert first_words(STOPPED) | first_words(REJECTED) | first_words(WARNINGS) == said


def test_why_a_run_stopped_has_the_words_that_end_runs():
    assert first_words(STOPPED) == words_of_runs() | words_of_limits() | words_of_operations()


def test_rejections_and_warnings_of_the_plan_stand_in_their_own_tables():
    assert first_words(REJECTED) >= set(plan_findings._REJECTIONS)
    assert first_words(WARNINGS) >= {*plan_findings._WARNINGS, *words_of_undo(), "unknown_group"}


@pytest.mark.parametrize(
    ("table", "role"),
    [(STOPPED, "reason"), (REJECTED, "rejected"), (WARNINGS, "warning")],
    ids=lambda each: str(each)[:8],
)
def test_the_report_explains_each_word_in_the_role_the_page_gives_it(table, role):
    assert [word for word in first_words(table) if not words_in("en").has(f"{role}.{word}")] == []


def test_each_word_has_a_status_a_meaning_and_a_cure():
    for cells in STOPPED:
        word = codes(cells[0])[0].partition(":")[0]
        assert all(cells), cells
        kind = next((each for each in all_endings() if each.word == word), None)
        expected = {FileRefusedError: "refused", RunFailedError: "failed", NoFileError: "no_file"}
        if kind is not None:
            assert cells[1] == next(status for root, status in expected.items() if issubclass(kind, root)), word
    for cells in [*REJECTED, *WARNINGS]:
        assert all(cells), cells


def all_endings(root=RunEndedError):
    for kind in root.__subclasses__():
        if hasattr(kind, "word"):
            yield kind
        yield from all_endings(kind)


def test_the_template_is_what_the_command_prints():
    assert fences(section(TEXT, "Template"))[0].text == SAMPLE.format(moment="2026-01-31T02:00:00Z")


@pytest.mark.parametrize("number", range(2))
def test_each_example_is_a_file_without_fault(number):
    examples = [fence.text for fence in fences(TEXT) if fence.language == "csv"]
    assert len(examples) == 2
    reading = read(examples[number].encode())
    assert (reading.refusal, reading.counted, reading.rejected) == ("", 3, 0)
    assert [row.external_id for row in reading.rows] == ["EMP-0000001", "EMP-0000002", "EMP-0000003"]
    assert [row.group_external_ids for row in reading.rows] == ["SCHOOL-01\x1fCRISIS", "SCHOOL-01", ""]


def test_the_columns_are_those_the_importer_knows():
    table = [cells for cells in rows(section(TEXT, "Columns")) if len(cells) == 5]
    assert sorted(codes(cells[0])[0] for cells in table) == sorted(header.COLUMNS)


def test_the_other_names_of_columns_are_those_the_importer_knows():
    table = rows(section(TEXT, "Names of columns"))
    assert {codes(column)[0]: also for column, also in table} == header._ALIASES


def test_the_figures_of_the_limits_are_the_codes():
    said = {}
    for word, floor, percent, *_ in rows(section(TEXT, "What holds a file")):
        name = codes(word)[0].removesuffix("_limit").removesuffix("_alarm").replace("too_many_rejects", "reject")
        said[name] = (int(floor.split()[0]), float(percent.split()[0]))
    assert said == dict(limits.DEFAULTS)


def test_the_sizes_are_the_codes():
    assert f"{csv_file.MAX_ROWS:,} rows, {header.MAX_COLUMNS} columns" in TEXT
    assert f"one field at most {row_layout.MAX_FIELD_BYTES // 1024} KiB" in TEXT
