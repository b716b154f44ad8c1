"""Every page: links lead somewhere, decisions have their form, dependencies their reason, commands and paths exist."""

from __future__ import annotations

import re
import tomllib

import pytest
import typer

from cli.main import app
from tests.unit.docs.pages import ROOT, all_pages, anchors, codes, fences, page, rows, section

PAGES = [str(path.relative_to(ROOT)) for path in all_pages()]
ADRS = sorted(path.name for path in (ROOT / "docs/adr").glob("0*.md"))
PROJECTS = ("protos", "services/directory", "services/importer", "services/notifier", "services/scim_gateway", "cli")


@pytest.mark.parametrize("name", PAGES)
def test_every_link_leads_to_a_page_and_a_heading(name):
    here = ROOT / name
    for link in re.findall(r"\]\(([^)\s]+)\)", page(name)):
        if link.startswith("https://"):
            continue
        target, _, anchor = link.partition("#")
        path = (here.parent / target).resolve() if target else here
        assert path.exists(), link
        if anchor:
            assert anchor in anchors(path.read_text(encoding="utf-8")), link


@pytest.mark.parametrize("name", PAGES)
def test_lines_are_short_enough_to_read_in_a_terminal(name):
    outside = re.sub(r"^```.*?^```$", "", page(name), flags=re.MULTILINE | re.DOTALL)
    assert [line for line in outside.splitlines() if len(line) > 130 and not line.startswith("|")] == []


@pytest.mark.parametrize("name", PAGES)
def test_every_muster_command_that_is_named_exists(name):
    for code in [*codes(re.sub(r"```.*?```", "", page(name), flags=re.DOTALL)), *shell_lines(page(name))]:
        if code.startswith("muster ") and "…" not in code:
            assert_known(code.split()[1:])


def shell_lines(text):
    for fence in fences(text):
        if fence.language in {"sh", "console"}:
            yield from (line.removeprefix("$ ") for line in fence.text.splitlines())


def assert_known(words):
    """Walk down to the command and see that it has the options that are named."""
    command = typer.main.get_command(app)
    for word in words:
        if word.startswith("--"):
            options = {option for parameter in command.params for option in parameter.opts}
            assert word in options | {"--help"} | root_options(), f"{' '.join(words)}: {word}"
        elif hasattr(command, "commands"):
            assert word in command.commands, " ".join(words)
            command = command.commands[word]


def root_options():
    return {option for parameter in typer.main.get_command(app).params for option in parameter.opts}


def test_decisions_are_numbered_without_a_gap_and_listed():
    assert [name[:4] for name in ADRS] == [f"{number:04}" for number in range(1, len(ADRS) + 1)]
    assert re.findall(r"\]\((\d{4}-[^)]+)\)", page("docs/adr/README.md")) == ADRS


@pytest.mark.parametrize("name", ADRS)
def test_a_decision_says_context_decision_and_what_we_gave_up(name):
    text = page(f"docs/adr/{name}")
    assert text.startswith(f"# {int(name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "What we gave up"]


def test_every_dependency_has_its_reason_and_no_other_is_named():
    needed = {}
    for project in PROJECTS:
        listed = tomllib.loads(page(f"{project}/pyproject.toml"))["project"]["dependencies"]
        for dependency in listed:
            needed.setdefault(plain(dependency), set()).add(project.rpartition("/")[2])
    development = {plain(each) for each in tomllib.loads(page("pyproject.toml"))["dependency-groups"]["dev"]}
    at_run_time, to_build = section(page("docs/adr/0007-dependencies.md"), "Decision").split("**To build and test**")
    said = {codes(cells[0])[0]: set(cells[1].split(", ")) for cells in rows(at_run_time)}
    assert said.pop("muster-protos") == {"all"}
    needed.pop("muster-protos")
    assert said == needed
    assert {codes(cells[0])[0] for cells in rows(to_build)} == development


def plain(requirement):
    return re.split(r"[\[<>=~ ]", requirement)[0]
