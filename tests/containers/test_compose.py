"""docker-compose.yml: up from nothing to a demo tenant that works, hardened, with its secrets in volumes."""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path

import paramiko
import psutil
import pytest

from cli.up import ports
from tests.builders import a_csv, a_row
from tests.stack.images import ROOT, compose_environment
from tests.stack.waiting import wait_until
from tests.unit.docs.pages import fences, page, section

PROJECT = "muster-tests-compose"
PUBLISHED = ("directory", "importer", "notifier", "scim_gateway", "drop", "customer")
JOBS = {"secrets", "migrate", "tokens", "demo"}
OTHERS = {"postgres", "customer-sftp"}
"""Images that are not ours."""


class Composed:
    """One project of docker-compose.yml on the engine, with ports and images of its own."""

    def __init__(self, folder: Path) -> None:
        self.name = f"{PROJECT}-{os.getpid()}"
        self.ports = ports.choose(PUBLISHED, {})
        self._folder = folder
        self._environment = compose_environment() | {
            f"MUSTER_{name.upper()}_PORT": str(port) for name, port in self.ports.items()
        }

    def compose(self, *arguments: str) -> str:
        """Run `docker compose` on the project, and give what it prints."""
        done = self._compose(*arguments)
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-3000:]}\n{self._last_words()}"
        return done.stdout

    def fetch_installation(self) -> dict[str, object]:
        """Put muster.json where `muster` on this machine looks for it."""
        text = self.compose("exec", "-T", "cli", "cat", "/data/muster.json")
        (self._folder / "muster.json").write_text(text)
        document: dict[str, object] = json.loads(text)
        return document

    def muster(self, *arguments: str) -> dict[str, object]:
        """Run a command of `muster` on this machine."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MUSTER_")}
        done = subprocess.run(
            [str(Path(sys.executable).parent / "muster"), "--json", "--data", str(self._folder), *arguments],
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}"
        document: dict[str, object] = json.loads(done.stdout)
        return document

    def as_a_reader(self, command: str, folder: Path) -> None:
        """Run a command of the documentation in `folder`, for this project and not for the file's."""
        own = {"COMPOSE_FILE": str(ROOT / "docker-compose.yml"), "COMPOSE_PROJECT_NAME": self.name}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-euc", command],
            cwd=folder,
            env=self._environment | own | {"PATH": path},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}"

    def _compose(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = ["docker", "compose", "--project-directory", str(ROOT), "--project-name", self.name, *arguments]
        return subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=240, check=False)

    def _last_words(self) -> str:
        return self._compose("logs", "--tail=5").stdout[-4000:]


@pytest.fixture
def composed(images, tmp_path_factory):
    """Everything up, as `docker compose up --wait` leaves it."""
    assert images
    composed = Composed(tmp_path_factory.mktemp("composed"))
    _sweep(composed)
    try:
        composed.compose("up", "--wait", "--wait-timeout", "180", "--no-build", "--pull", "never")
        yield composed
    finally:
        composed.compose("down", "--volumes", "--timeout", "20")


def _sweep(composed):
    """Take down what killed test processes left behind."""
    names = {project["Name"] for project in json.loads(composed.compose("ls", "--all", "--format", "json"))}
    for name in names:
        found = re.fullmatch(rf"{PROJECT}-(\d+)", name)
        if found and not psutil.pid_exists(int(found[1])):
            composed.compose("--project-name", name, "down", "--volumes")


@pytest.mark.timeout(600)
def test_up_leaves_a_system_that_works_and_once_more_changes_nothing(composed, tmp_path):
    # One test, since it is one `up`: a process for each part would bring up a whole system each.
    installation = composed.fetch_installation()
    assert_that_jobs_are_done_and_everything_else_is_well(composed)
    assert_that_a_file_on_the_drop_becomes_users_and_a_mail(composed, installation, tmp_path)
    assert_that_an_identity_provider_is_answered(installation)
    assert_that_a_customers_own_server_is_a_source_too(composed, installation)
    assert_that_the_readmes_commands_bring_up_the_same_again(composed, installation, tmp_path)


def assert_that_jobs_are_done_and_everything_else_is_well(composed):
    states = {
        each["Service"]: (each["State"], each["ExitCode"], each["Health"])
        for each in map(json.loads, composed.compose("ps", "--all", "--format", "json").splitlines())
    }
    assert {name for name, state in states.items() if state == ("exited", 0, "")} == JOBS
    assert states.pop("cli") == ("running", 0, "")
    assert {state for name, state in states.items() if name not in JOBS} == {("running", 0, "healthy")}


def assert_that_a_file_on_the_drop_becomes_users_and_a_mail(composed, installation, tmp_path):
    _put(installation["sftp"], installation["sftp"]["port"], a_csv(a_row(1), a_row(2)))

    run = composed.muster("run", installation["sftp_source"])

    assert run["status"] == "applied"
    users = composed.muster("user", "list", "--tenant", installation["tenant"])["users"]
    assert {user["email"] for user in users} == {"person1@example.org", "person2@example.org"}

    def mails():
        composed.compose("cp", "mail:/mail/.", str(tmp_path))
        return [path.read_text() for path in tmp_path.glob("*.eml")]

    assert "To: report@demo.example" in wait_until(mails, timeout_s=30, every_s=0.5, what="the report")[0]


def assert_that_an_identity_provider_is_answered(installation):
    request = urllib.request.Request(
        f"{installation['scim']}/Users", headers={"Authorization": f"Bearer {installation['scim_key']}"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.status == 200


def assert_that_a_customers_own_server_is_a_source_too(composed, installation):
    server = installation["customer_sftp"]
    account = composed.muster("tenant", "create", "Customer", "--seats", "10")
    source = composed.muster(
        *("source", "create", "Payroll", "--tenant", account["tenant"], "--kind", "sftp"),
        *("--host", server["host"], "--port", str(server["port"]), "--username", server["username"]),
        *("--password", server["password"], "--host-key", server["host_key"], "--path", server["path"]),
    )["source"]
    composed.muster("source", "enable", source)
    _put(server, composed.ports["customer"], a_csv(a_row(3)))

    assert composed.muster("run", source)["status"] == "applied"


def _put(login, port, content):
    with closing(paramiko.Transport(("127.0.0.1", port))) as transport:
        transport.connect(username=login["username"], password=login["password"])
        with closing(paramiko.SFTPClient.from_transport(transport)) as client:
            client.putfo(io.BytesIO(content), login["path"])
            then = time.time() - 3600  # long enough ago to be a whole file
            client.utime(login["path"], (then, then))


def assert_that_the_readmes_commands_bring_up_the_same_again(composed, installation, tmp_path):
    (fence,) = fences(section(page("README.md"), "In containers"))
    commands = fence.text.splitlines()
    assert commands[0] == "docker compose up --wait"
    for command in commands:
        composed.as_a_reader(command, tmp_path)

    assert json.loads((tmp_path / "data" / "muster.json").read_text()) == installation
    tenants = composed.muster("tenant", "list")["tenants"]
    assert [each["tenant"] for each in tenants if each["name"] == "demo"] == [installation["tenant"]]


@pytest.fixture(scope="module")
def services():
    """The file as `docker compose` reads it where nothing is set."""
    command = ["docker", "compose", "--project-directory", str(ROOT), "config", "--format", "json"]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return json.loads(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)["services"]


def test_every_container_is_hardened_and_published_on_the_loopback_alone(services):
    for name, service in services.items():
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service.get("read_only") or name == "customer-sftp", name
        assert name in OTHERS or "cap_add" not in service, name
        assert {port["host_ip"] for port in service.get("ports", [])} <= {"127.0.0.1"}, name


def test_no_secret_stands_in_the_file_or_in_an_environment(services):
    for name, service in services.items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search("TOKEN|PASSWORD|PEPPER|KEY", variable)
            assert not secret or str(value).startswith("/secrets/"), f"{name}: {variable}"


def test_a_service_is_given_its_own_secrets_and_no_others(services):
    def secrets_of(name):
        volumes = services[name].get("volumes", [])
        return {volume["source"] for volume in volumes if volume["source"].endswith("-secrets")}

    assert secrets_of("directory") == {"directory-secrets"}
    assert secrets_of("importer") == {"importer-secrets"}
    assert secrets_of("notifier") == {"notifier-secrets"}
    assert secrets_of("cli") == set()
