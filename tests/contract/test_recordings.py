"""What identity providers send, flow by flow, and what they must get: one file a flow under recordings/.

A step is a request, the status and the part of the body that must come, and what to remember of it for later steps as
`{name}`. In an expected body an object may have more members than are named; "$absent" says that a member is not there.
`quirks` are those that its requests need, all of them together: so each tolerance has a recording that proves it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import structlog.testing

from services.scim_gateway.quirks import QUIRKS

_FOLDER = Path(__file__).parent / "recordings"
_PAGE = Path(__file__).parents[2] / "docs" / "scim.md"
_FLOWS = sorted(path.relative_to(_FOLDER).with_suffix("").as_posix() for path in _FOLDER.rglob("*.json"))


@pytest.mark.parametrize("flow", _FLOWS)
def test_a_provider_gets_what_it_expects(flow, provider):
    recording = json.loads((_FOLDER / f"{flow}.json").read_text())
    with structlog.testing.capture_logs() as lines:
        _play(flow, recording["steps"], provider)
    needed = {quirk for line in lines if line["event"] == "scim" for quirk in line.get("quirks", ())}
    assert sorted(needed) == recording["quirks"]


def test_each_quirk_is_proved_by_a_recording():
    recorded = {flow: json.loads((_FOLDER / f"{flow}.json").read_text())["quirks"] for flow in _FLOWS}
    proved = {quirk for quirks in recorded.values() for quirk in quirks}
    assert proved == set(QUIRKS)
    told = dict(re.findall(r"^\| `([a-z_]+)` \|.*\| ([a-z]+/[a-z-]+) \|$", _PAGE.read_text(), re.MULTILINE))
    assert told.keys() == set(QUIRKS)
    assert all(quirk in recorded[flow] for quirk, flow in told.items()), told


def test_each_dialect_has_its_documents():
    listed = re.findall(r"^\| `([a-z]+)` \| .+ \| .+ \|$", (_FOLDER / "README.md").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted({flow.partition("/")[0] for flow in _FLOWS})


def _play(flow: str, steps: list[dict[str, Any]], provider: Any) -> None:
    known: dict[str, str] = {}
    for number, step in enumerate(steps, start=1):
        method, path = _filled(step["request"], known).split(" ", 1)
        answer = provider.call(method, path, _filled(step.get("body"), known), headers=step.get("headers"))
        told = f"{flow}, step {number}: {method} {path} gave {answer}"
        assert answer.status == step["status"], told
        if answer.body is not None:
            assert answer.headers["content-type"].startswith("application/scim+json"), told
        if "expect" in step:
            _compare(answer.body, _filled(step["expect"], known), told)
        for name, key in step.get("remember", {}).items():
            known[name] = answer.body[key]


def _filled(value: Any, known: dict[str, str]) -> Any:
    """Put what is remembered into a request or an expectation."""
    if isinstance(value, str):
        for name, found in known.items():
            value = value.replace(f"{{{name}}}", found)
        return value
    if isinstance(value, dict):
        return {key: _filled(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, known) for item in value]
    return value


def _compare(found: Any, expected: Any, told: str) -> None:
    if isinstance(expected, dict):
        assert isinstance(found, dict), told
        for key, item in expected.items():
            if item == "$absent":
                assert key not in found, f"{key} is there; {told}"
            else:
                assert key in found, f"{key} is missing; {told}"
                _compare(found[key], item, told)
    elif isinstance(expected, list):
        assert isinstance(found, list), told
        assert len(found) == len(expected), told
        for one, other in zip(found, expected, strict=True):
            _compare(one, other, told)
    else:
        assert type(found) is type(expected), told
        assert found == expected, f"expected {expected!r}; {told}"
