"""Two public conformance suites against the gateway on a port."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

DATABASES = ("sqlite",)  # these are about the protocol; the storage's contract runs on both
_BIN = Path(sys.executable).parent


def test_scim2_tester_finds_no_error(a_provider):
    provider = a_provider(1000)
    command = [_BIN / "scim", "-u", provider.gateway.url, "-h", f"Authorization: Bearer {provider.key}", "test"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    results = re.findall(r"^(SUCCESS|ERROR|CRITICAL|SKIPPED)\b.*\n.*", ran.stdout, flags=re.MULTILINE)
    assert results.count("SUCCESS") > 100, ran.stdout + ran.stderr
    assert set(results) == {"SUCCESS"}, ran.stdout


def test_scim_sanity_finds_nothing(a_provider):
    provider = a_provider(1000)
    command = [_BIN / "scim-sanity", "probe", provider.gateway.url, "--token", provider.key]
    command += ["--i-accept-side-effects", "--json-output"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    found = json.loads(ran.stdout[ran.stdout.index("{") :])
    wrong = [each["name"] for each in found["results"] if each["status"] not in {"pass", "skip"}]
    assert wrong == [], found
    skipped = {each["name"].split()[0] for each in found["results"] if each["status"] == "skip"}
    assert skipped == {"Agent", "AgenticApplication"}, "of drafts that name kinds we do not serve"
    assert found["summary"]["passed"] >= 27
