"""docs/api.md: its examples run as they stand, one after another, and print what it says."""

from __future__ import annotations

import io

import pytest

from services.directory.rules.grants import Grant
from services.directory.store.session import Store
from tests.integration.directory.serving import ServedDirectory
from tests.unit.docs.pages import fences, page


@pytest.fixture
def directory_of_its_own(databases, tmp_path):
    url = databases.make("sqlite")
    store = Store(url)
    served = ServedDirectory(store, tmp_path)
    yield served
    served.stop()
    store.close()
    databases.drop(url)


def test_the_examples_run_and_print_what_the_page_says(directory_of_its_own, monkeypatch):
    monkeypatch.setenv("MUSTER_DIRECTORY", directory_of_its_own.target)
    monkeypatch.setenv("MUSTER_TOKEN", directory_of_its_own.token(Grant.SUPPORT))
    blocks = [fence for fence in fences(page("docs/api.md")) if fence.language in {"python", "text"}]
    told = io.StringIO()
    names: dict[str, object] = {"print": lambda *values: print(*values, file=told)}
    for number, block in enumerate(blocks):
        if block.language == "text":
            assert told.getvalue() == block.text, f"block {number}"
            told.seek(0)
            told.truncate()
            continue
        assert told.getvalue() == "", f"block {number} printed what the page does not show"
        exec(compile(block.text, f"docs/api.md, block {number}", "exec"), names)
    names["channel"].close()
