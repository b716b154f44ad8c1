"""docs/architecture.md draws the tree, the tables and the rooms as they are."""

from __future__ import annotations

import re
import tomllib

from sqlmodel import SQLModel

from services.directory.operations import import_applies, import_openings, import_plans, imports
from services.directory.roster.space import PLAN_TABLES, SHOWN_TABLES, STAGED_TABLES
from services.directory.store import schema, session
from tests.unit.docs.pages import ROOT, codes, fences, page, rows, section

TEXT = page("docs/architecture.md")


def test_the_exceptions_of_tenant_first_are_those_of_the_schema():
    found = set()
    for name in schema.NAMES:
        table = SQLModel.metadata.tables[name]
        keys = [table.primary_key.columns.keys(), *(index.columns.keys() for index in table.indexes)]
        found |= {(name, ", ".join(key)) for key in keys if key[0] != "tenant_id"}
    assert {(codes(table)[0], codes(key)[0]) for table, key, _ in rows(section(TEXT, "Data"))} == found


def test_every_stage_table_is_explained():
    said = {name for cells in rows(section(TEXT, "Stage tables")) for name in codes(cells[0])}
    assert said == {*STAGED_TABLES, *SHOWN_TABLES, *PLAN_TABLES}


def test_the_folders_it_draws_are_there():
    (tree,) = [fence.text for fence in fences(section(TEXT, "Rooms"))]
    root = tree.splitlines()[0]
    for line in tree.splitlines()[1:]:
        names = re.match(r"[├└]── (.+?)  ", line)
        assert names is not None, line
        for name in names[1].split():
            assert (ROOT / root / name).exists(), name


def test_the_rooms_of_the_directory_are_the_layers_that_lint_checks():
    contracts = tomllib.loads(page("pyproject.toml"))["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    drawn = " > ".join(layer.replace("services.directory.", "") for layer in layers)
    assert f"`{drawn}`" in TEXT


def test_the_seconds_it_speaks_of_are_the_codes():
    said = " ".join(TEXT.split())
    assert f"waits {session.WRITER_WAIT_S:g} s, then `TENANT_BUSY`" in said
    assert f"waits {import_plans.BASIS_WAIT_S} s, else the plan is made again later" in said
    assert f"waits {import_applies.APPLY_WAIT_S} s, else the next round" in said
    assert f"has a lease of {imports.LEASE_S:g} s" in said
    assert f"{imports.BROKEN_STREAM_LEASE_S:g} s are left to come back" in said
    assert f"waits up to {import_openings.TURN_WAIT_S:g} s (R44)" in said


def test_the_tests_it_points_to_are_there():
    for cells in rows(section(TEXT, "Where a claim of this page is checked")):
        for path in codes(cells[1]):
            assert path.startswith("make ") or (ROOT / path).exists(), path
