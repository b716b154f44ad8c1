"""`muster up` as a stranger meets it: one line, an upload, a run, a mail; children that die, and an end."""

from __future__ import annotations

import asyncio
import email
import email.policy
import json
import os
import signal
import stat
import subprocess
import sys
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import asyncssh
import psutil
import pytest

from tests.stack.waiting import wait_until

pytestmark = pytest.mark.xdist_group("up")  # one installation for the tests that can share it

MUSTER = Path(sys.executable).with_name("muster")
KEYS = {
    *("directory", "importer", "notifier", "scim", "sftp", "mail", "token", "tenant", "account", "pids"),
    *("scim_source", "scim_key", "sftp_source", "admin_login"),
}
CHILDREN = ["directory", "importer", "notifier", "scim_gateway", "sftp"]
FILE = (
    b"UniqueID,Name,Mail,Title,TelephoneNumber,Groups\r\n"
    b"EMP-0000001,Astrid Holm,astrid.holm@lakeside.example,Teacher,+46701740605,\r\n"
    b"EMP-0000002,Ben Okafor,ben.okafor@lakeside.example,Cook,,\r\n"
    b"EMP-0000003,Broken Mail,broken,,,\r\n"
)


class Up:
    """One running `muster up`."""

    def __init__(self, data, process, line):
        self.data = data
        self.process = process
        self.line = line

    def muster(self, *arguments, status=0):
        """Run one command against it and read its document."""
        done = self._command(arguments)
        assert done.returncode == status, done.stderr
        return json.loads(done.stdout)

    def try_muster(self, *arguments):
        """Run one command that may fail while a child is away; its document, or None."""
        done = self._command(arguments)
        return json.loads(done.stdout) if done.returncode == 0 else None

    def _command(self, arguments):
        return subprocess.run(
            [MUSTER, "--json", "--data", self.data, *arguments],
            capture_output=True,
            text=True,
            timeout=90,
            env=surroundings(),
            check=False,
        )

    def upload(self, content):
        asyncio.run(upload(self.line["sftp"], content))

    def pids(self):
        return json.loads((self.data / "muster.json").read_text())["pids"]


def surroundings():
    return {key: value for key, value in os.environ.items() if not key.startswith("MUSTER_")}


async def upload(sftp, content):
    """Upload with a plain SFTP client."""
    async with (
        asyncssh.connect(
            *(sftp["host"], sftp["port"]),
            username=sftp["username"],
            password=sftp["password"],
            known_hosts=None,
            client_keys=None,
            agent_path=None,
            config=None,
        ) as connection,
        connection.start_sftp_client() as files,
        files.open(sftp["path"], "wb") as file,
    ):
        await file.write(content)


@contextmanager
def started(data, *options):
    """Start `muster up`, wait for its line, and leave nothing behind."""
    process = subprocess.Popen(
        [MUSTER, "--json", "--data", data, "up", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=surroundings(),
    )
    try:
        said = process.stdout.readline()
        assert said, process.stderr.read()
        yield Up(data, process, json.loads(said))
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(15)
        process.stdout.close()
        process.stderr.close()


def all_gone(pids):
    return not any(psutil.pid_exists(pid) for pid in pids)


@pytest.fixture(scope="module")
def up(tmp_path_factory):
    with started(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


def test_up_prints_its_line_and_keeps_its_secrets_private(up):
    assert set(up.line) == KEYS
    assert set(up.line["pids"]) == set(CHILDREN)
    assert set(up.line["sftp"]) == {"host", "port", "username", "password", "path"}
    assert stat.S_IMODE(up.data.stat().st_mode) == 0o700
    for name in ("muster.json", "kept.json", "drop_host_key"):
        assert stat.S_IMODE((up.data / name).stat().st_mode) == 0o600
    logs = "".join(path.read_text() for path in (up.data / "logs").iterdir())
    assert up.line["sftp"]["password"] not in logs
    assert up.line["scim_key"] not in logs
    assert set(up.line["admin_login"]) == {"email", "password"}
    assert up.line["admin_login"]["password"] not in logs


@pytest.fixture(scope="module")
def first_run(up):
    """The file's first visit, whose people the later tests find."""
    up.upload(FILE)
    return up.muster("run", up.line["sftp_source"])


def test_a_file_put_into_the_drop_becomes_users_and_a_mail(up, first_run):
    run = first_run
    assert (run["status"], run["counts"]["created"], run["counts"]["rejected"]) == ("applied", 2, 1)
    assert [(each["line"], each["reason"]) for each in run["rejected"]] == [(4, "mail_invalid")]
    users = up.muster("user", "list", "--tenant", up.line["tenant"])["users"]
    assert {user["email"] for user in users} >= {"astrid.holm@lakeside.example", "ben.okafor@lakeside.example"}
    assert {user["owner"] for user in users} == {up.line["sftp_source"]}
    mails = wait_until(lambda: list(Path(up.line["mail"]).glob("*.eml")), timeout_s=30)
    report = email.message_from_bytes(mails[0].read_bytes(), policy=email.policy.default)
    assert report["To"] == "report@demo.example"
    messages = up.muster("messages", "list", "--tenant", up.line["tenant"])["messages"]
    about = [(each["kind"], each["state"]) for each in messages if each["about"] == run["run"]]
    assert about == [("report", "sent")]


@pytest.mark.parametrize(
    "name", [name if name == "directory" else pytest.param(name, marks=pytest.mark.long) for name in CHILDREN]
)
def test_a_killed_child_is_back_on_its_port_and_nothing_is_lost(up, first_run, name):
    before = up.pids()[name]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: up.pids()[name] != before, timeout_s=20)
    wait_until(lambda: uploaded_again(up), timeout_s=30)
    run = wait_until(lambda: up.try_muster("run", up.line["sftp_source"]), timeout_s=60)
    assert (run["counts"]["rows"], run["counts"]["unchanged"], run["counts"]["created"]) == (3, 2, 0)
    assert run["source"] == first_run["source"]
    users = up.muster("user", "list", "--tenant", up.line["tenant"])["users"]
    assert len(users) == 2
    assert wait_until(lambda: scim(up.line, "/Users?count=0"), timeout_s=30)["totalResults"] == 0


def scim(line, path):
    """Read from the gateway as an identity provider; None while a child is still coming back."""
    request = urllib.request.Request(line["scim"] + path, headers={"Authorization": f"Bearer {line['scim_key']}"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except OSError:
        return None


def uploaded_again(up):
    """Upload once more; false while the drop or the directory is still coming back."""
    try:
        up.upload(FILE)
    except (OSError, asyncssh.Error):
        return False
    return True


def test_an_identity_provider_connects_with_the_key(up):
    assert scim(up.line, "/Users?count=0")["totalResults"] == 0
    assert scim(up.line | {"scim_key": up.line["token"]}, "/Users") is None
    (key,) = up.muster("scim-key", "list", "--source", up.line["scim_source"])["keys"]
    assert key["state"] == "active"
    assert key["last_used"]


def test_a_scim_source_has_no_file_to_run(up, tmp_path):
    (tmp_path / "users.csv").write_bytes(FILE)
    for command in (["run", up.line["scim_source"]], ["import", "users.csv", "--source", up.line["scim_source"]]):
        done = subprocess.run(
            [MUSTER, "--data", up.data, *command],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            env=surroundings(),
            check=False,
        )
        assert (done.returncode, done.stderr.count("\n")) == (1, 1)
        assert "SCIM" in done.stderr


def test_a_second_up_on_the_same_directory_is_refused(up):
    done = subprocess.run(
        [MUSTER, "--data", up.data, "up"], capture_output=True, text=True, timeout=60, env=surroundings(), check=False
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "another `muster up`" in done.stderr


@pytest.mark.long
def test_a_later_up_goes_on_with_the_same_data_ports_and_logins(tmp_path):
    data = tmp_path / "data"
    with started(data) as first:
        first.upload(FILE)
        first.muster("run", first.line["sftp_source"])
        children = list(first.pids().values())
        first.process.send_signal(signal.SIGTERM)
        assert first.process.wait(10) == 0
        assert all_gone(children)
    with started(data) as second:
        assert {key: second.line[key] for key in KEYS - {"pids"}} == {key: first.line[key] for key in KEYS - {"pids"}}
        assert len(second.muster("user", "list", "--tenant", second.line["tenant"])["users"]) == 2
        second.upload(FILE)
        children = list(second.pids().values())
        second.process.kill()
        second.process.wait()
        wait_until(lambda: all_gone(children), timeout_s=15)


@pytest.mark.long
def test_up_on_postgresql_keeps_no_sqlite_file(databases, tmp_path):
    url, data = databases.make("postgresql"), tmp_path / "data"
    with started(data, "--database-url", url, "--seats", "7") as running:
        running.upload(FILE)
        assert running.muster("run", running.line["sftp_source"])["counts"]["created"] == 2
        seats = running.muster("license", "show", "--tenant", running.line["tenant"])
        assert (seats["seats_total"], seats["seats_used"]) == (7, 2)
        assert scim(running.line, "/Users?count=0")["totalResults"] == 0
        wait_until(lambda: running.muster("messages", "list", "--tenant", running.line["tenant"])["messages"])
        assert list(data.glob("*.db")) == []
        children = list(running.pids().values())
    assert all_gone(children)
    databases.drop(url)
