"""docs/scim.md says what the gateway does."""

from __future__ import annotations

import re

from muster.directory.v1 import error_reason_pb2
from muster.runtime.errors import scim_status_of

from services.directory.rules.activity import KEY_TROUBLES
from services.scim_gateway import bounds, schemas
from services.scim_gateway.problems import PROBLEMS
from services.scim_gateway.quirks import QUIRKS
from services.scim_gateway.settings import GatewaySettings
from tests.unit.docs.pages import codes, page, rows, section

TEXT = page("docs/scim.md")
_WORDS = {5: "five"}


def test_the_features_are_those_that_are_published():
    config = schemas.provider().config.model_dump()
    said = {codes(feature)[0]: text for feature, text in rows(section(TEXT, "What is supported"))}
    assert said.keys() == config.keys() - {"schemas"}
    for name, published in config.items():
        if isinstance(published, dict) and "supported" in published:
            assert said[name].startswith("yes" if published["supported"] else "no"), name
            numbers = {str(value) for key, value in published.items() if key != "supported"}
            assert numbers <= set(re.findall(r"\d+", said[name])), name
    assert str(config["pagination"]["defaultPageSize"]) in said["pagination"]
    assert "bearer" in said["authenticationSchemes"]


def test_the_bounds_are_those_that_are_kept():
    said = " ".join(section(TEXT, "Fairness").split()).replace(",", "")
    assert f"at most {bounds.MOST_TERMS} of `and` `or` `not` and parentheses" in said
    assert f"`attributes` names at most {bounds.MOST_NAMES} " in said
    told = f"at most {bounds.MOST_OPERATIONS} operations not counting {bounds.MOST_MEMBER_OPERATIONS} on members"
    assert told in said
    assert f"{_WORDS[bounds.IN_A_BULK]} times as many" in said


def test_every_status_and_word_of_an_error_is_explained():
    table = rows(section(TEXT, "Errors"))
    reasons = [each for each in error_reason_pb2.ErrorReason.DESCRIPTOR.values if each.number]
    statuses = {scim_status_of(each.name.removeprefix("ERROR_REASON_")) for each in reasons}
    assert {str(status) for status in statuses} <= {cells[0] for cells in table}
    words = {word for cells in table for word in codes(cells[1])}
    assert {"uniqueness", "invalidValue", "invalidFilter", "invalidSyntax", "invalidCursor", "mutability"} <= words


def test_every_quirk_is_named_with_its_cure():
    said = {codes(quirk)[0]: text for quirk, text, _ in rows(section(TEXT, "Quirks"))}
    assert said == {name: text[0].upper() + text[1:] for name, text in QUIRKS.items()}


def test_every_problem_is_named_with_its_cure():
    said = {codes(word)[0]: (detail, cure) for word, detail, cure in rows(section(TEXT, "Activity"))}
    assert said == {**{word: tuple(problem) for word, problem in PROBLEMS.items()}, **KEY_TROUBLES}


def test_every_setting_is_named():
    said = {codes(variable)[0]: default for variable, default, _ in rows(section(TEXT, "Settings of the gateway"))}
    fields = GatewaySettings.model_fields
    assert said.keys() == {f"SCIM_GATEWAY_{name.upper()}" for name in fields}
    for name, field in fields.items():
        if field.default and not field.is_required():
            assert codes(said[f"SCIM_GATEWAY_{name.upper()}"]) == [str(field.default)]
