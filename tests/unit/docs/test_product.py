"""docs/product.md has every rule that code and tests cite, and cites no rule twice."""

from __future__ import annotations

import re

from tests.unit.docs.pages import ROOT, page

TEXT = page("docs/product.md")
MARK = re.compile(r"\bR(\d{1,2})\b")
RULE = re.compile(r"^- \*\*([RS]\d+)\*\*", re.MULTILINE)
NOT_YET: list[str] = []


def rules():
    """Each rule's mark and text."""
    parts = RULE.split(TEXT)[1:]
    return {mark: text.partition("\n\n")[0] for mark, text in zip(parts[::2], parts[1::2], strict=True)}


def test_every_rule_is_there_once_in_order():
    assert RULE.findall(TEXT) == [
        *(f"R{number}" for number in range(1, 47)),
        *(f"S{number}" for number in range(1, 15)),
    ]


def test_every_mark_that_code_and_tests_cite_is_a_rule():
    known = set(range(1, 47))
    folders = ("protos/muster", "services", "cli", "tests", "bench")
    for folder in folders:
        for path in (ROOT / folder).rglob("*"):
            if path.suffix not in {".py", ".proto", ".toml"} or "_pb2" in path.name:
                continue
            cited = {int(number) for number in MARK.findall(path.read_text(encoding="utf-8"))}
            assert cited <= known, path


def test_the_rules_that_are_not_there_yet_are_marked():
    assert [mark for mark, text in rules().items() if "not yet" in " ".join(text.split()).lower()] == NOT_YET


def test_every_scim_mark_that_code_cites_is_a_rule():
    cited = set()
    for folder in ("protos/muster", "services", "cli"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".proto"} and "_pb2" not in path.name:
                cited |= set(re.findall(r"\bS\d{1,2}\b(?=[,;.)])", path.read_text(encoding="utf-8")))
    assert cited <= {f"S{number}" for number in range(1, 15)}
