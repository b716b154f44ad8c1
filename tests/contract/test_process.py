"""The gateway as a process: it says where it listens, logs without personal data, and ends when told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.contract.serving import Provider

DATABASES = ("sqlite",)
_COMMAND = Path(sys.executable).parent / "muster-scim-gateway"
_SECRETS = ("Ann", "Secretperson", "ann@example.org", "Boss of all")


class Process:
    """A running gateway, which has said where it listens."""

    def __init__(self, running: subprocess.Popen[bytes]):
        assert running.stdout is not None
        self.running = running
        self.origin = "http://" + json.loads(running.stdout.readline())["listening"]
        self.url = self.origin + "/scim/v2"


@contextmanager
def started(directory, log: Path, **settings):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCIM_GATEWAY_")}
    environment |= {"SCIM_GATEWAY_DIRECTORY": directory.target}
    environment |= {f"SCIM_GATEWAY_{name}": value for name, value in settings.items()}
    pipe = subprocess.PIPE
    with (
        log.open("wb") as stderr,
        subprocess.Popen([_COMMAND], env=environment, stdin=pipe, stdout=pipe, stderr=stderr) as running,
    ):
        try:
            yield Process(running)
        finally:
            running.kill()


def get(url):
    with urllib.request.urlopen(url, timeout=10) as response:
        return response.status, json.loads(response.read())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly_when_told(directory, tmp_path, number):
    with started(directory, tmp_path / "log") as gateway:
        assert get(gateway.origin + "/healthz") == (200, {"status": "ok"})
        gateway.running.send_signal(number)
        assert gateway.running.wait(10) == 0


def test_it_ends_with_its_parent(directory, tmp_path):
    with started(directory, tmp_path / "log", EXIT_WITH_STDIN="true") as gateway:
        gateway.running.stdin.close()
        assert gateway.running.wait(10) == 0


def test_it_does_not_start_without_a_directory():
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SCIM_GATEWAY_")}
    ran = subprocess.run([_COMMAND], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert ran.returncode == 2
    assert "SCIM_GATEWAY_DIRECTORY" in ran.stderr


def test_it_says_what_it_is_called_behind_a_proxy(directory, tmp_path):
    with started(directory, tmp_path / "log", BASE_URL="https://scim.example.org/scim/v2/") as gateway:
        _, found = get(gateway.url + "/ResourceTypes/User")
    assert found["meta"]["location"] == "https://scim.example.org/scim/v2/ResourceTypes/User"


def test_a_request_has_one_line_in_the_log_and_nothing_personal_in_it(directory, gateway, provider, tmp_path):
    log = tmp_path / "log"
    with started(directory, log) as process:
        caller = Provider.__new__(Provider)
        caller.__dict__ = provider.__dict__ | {"gateway": process}
        body = {"userName": "ann@example.org", "displayName": "Ann Secretperson", "title": "Boss of all"}
        user = caller.a_user(**body)["id"]
        caller.patch(f"/Users/{user}", {"op": "Replace", "path": "active", "value": "False"})
        caller.get("/Users?filter=userName%20eq%20%22ann@example.org%22")
        caller.post("/Users", {"schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], **body})
        caller.get("/Users/Secretperson", Authorization="Bearer Secretperson")
        caller.get("/Secretperson/Secretperson")
        process.running.terminate()
        assert process.running.wait(10) == 0
    text = log.read_text()
    lines = [line for line in map(json.loads, text.splitlines()) if line["event"] == "scim"]
    assert [(line["method"], line["route"], line["status"]) for line in lines] == [
        ("POST", "/scim/v2/Users", 201),
        ("PATCH", "/scim/v2/Users/{id}", 200),
        ("GET", "/scim/v2/Users", 200),
        ("POST", "/scim/v2/Users", 409),
        ("GET", "/scim/v2/Users/{id}", 401),
        ("GET", "/scim/v2/{endpoint}/{id}", 404),
    ]
    assert lines[1]["quirks"] == ["op_case", "boolean_as_text"]
    assert lines[3]["reason"] == "uniqueness"
    assert provider.key.startswith(f"mst_scim_{lines[0]['key_id']}_")
    assert not [secret for secret in (*_SECRETS, provider.key, provider.key.rpartition("_")[2]) if secret in text]
