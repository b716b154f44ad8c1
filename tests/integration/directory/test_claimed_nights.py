"""Nights by themselves: a real importer on a real SFTP server claims what is due, whatever is killed on the way."""

from __future__ import annotations

import json
import signal
import socket
import threading
from contextlib import contextmanager
from typing import Any

import pytest
from muster.directory.v1 import imports_pb2, sources_pb2, users_pb2
from muster.runtime.client import open_channel

from services.directory.operations import apply_worker
from services.directory.operations.imports import Imports
from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.store.tables import Source
from services.importer import app
from services.importer.directory import Directory
from services.importer.errors import InterruptedRunError
from services.importer.night import LEASE_S, Nights
from services.importer.night_claim import NightClaim
from services.importer.run import Importer
from tests.builders import a_csv, a_row
from tests.integration.directory.due import Customer
from tests.stack.customer import FILE
from tests.stack.sftp import SftpFolder
from tests.stack.waiting import wait_until

pytestmark = pytest.mark.mostly("postgresql")

REST = frozenset(
    imports_pb2.ImportRunStatus.Value(f"IMPORT_RUN_STATUS_{word}")
    for word in ("APPLIED", "UNCHANGED", "REFUSED", "NO_FILE", "FAILED", "HELD")
)


class Night(Customer):
    """A tenant whose file lies on an SFTP server, and importers that run it."""

    def __init__(self, directory, support, folder: SftpFolder):
        self.folder = folder
        super().__init__(directory, support)
        self.token = directory.token(Grant.IMPORTER)

    def make(self, name: str, **settings: Any) -> str:
        server = self.folder.server
        source = sources_pb2.Source(
            display_name=name, account=self.office.main_account, nightly_time="02:00", stable_for_seconds=1
        )
        source.sftp.host, source.sftp.port, source.sftp.username = (
            server.host,
            settings.get("port", server.port),
            server.username,
        )
        source.sftp.path, source.sftp.host_key = self.folder.path_of(FILE), server.host_keys[0]
        credentials = sources_pb2.SftpCredentials(password=server.password)
        request = sources_pb2.CreateSourceRequest(tenant=self.office.name, source=source, credentials=credentials)
        return self.support.sources.CreateSource(request).source.name

    @contextmanager
    def worker(self, *, at_a_time: int = 2):
        """One importer's nights, its directory and itself; nothing waits in it."""
        stopping = threading.Event()

        def wait(_: float) -> None:
            if stopping.is_set():
                raise InterruptedRunError

        with open_channel(self.directory.target, self.token) as channel:
            directory = Directory(channel, wait=wait)
            importer = Importer(directory, None, now=self.directory.clock, wait=wait)
            nights = Nights(directory, importer, at_a_time=at_a_time, every_s=0.02, stopping=stopping)
            yield nights, directory, importer
            nights.join(30)

    def run_due(self) -> dict[str, int]:
        with self.worker() as (nights, _, _):
            return dict(nights.run_due().ended)

    def at_rest(self) -> list[imports_pb2.ImportRun]:
        """All runs of the source, newest first, once none is under way."""
        wait_until(lambda: all(run.status in REST for run in self.runs()), every_s=0.02, what="rest")
        return self.runs()

    def mails(self) -> set[str]:
        listed = self.support.users.ListUsers(users_pb2.ListUsersRequest(tenant=self.office.name)).users
        return {user.email for user in listed}

    def let_leases_end(self) -> None:
        """Pass a minute, and look for dead importers' runs as the directory's worker does every second."""
        self.directory.clock.pass_hours((LEASE_S + 1) / 3600)
        imports = Imports(self.directory.store, self.directory.stages, clock=self.directory.clock)
        apply_worker.open_runs(imports)


@pytest.fixture
def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@pytest.fixture
def night(directory, support, sftp_folder):
    """A tenant whose first file waits to be fetched."""
    night = Night(directory, support, sftp_folder)
    night.folder.put(FILE, a_csv(*map(a_row, range(3))))
    yield night
    night.leave()


def words(runs) -> list[str]:
    return [imports_pb2.ImportRunStatus.Name(run.status).removeprefix("IMPORT_RUN_STATUS_").lower() for run in runs]


def test_a_night_happens_by_itself_and_the_next_one_too(night: Night):
    assert night.run_due() == {}
    night.night_falls()
    assert night.run_due() == {"applied": 1}
    assert night.mails() == {a_row(number)["Mail"] for number in range(3)}
    assert night.run_due() == {}
    night.night_falls()
    assert night.run_due() == {"unchanged": 1}
    assert words(night.runs()) == ["unchanged", "applied"]


@pytest.mark.mostly("sqlite")
def test_a_source_in_trial_is_fetched_and_planned_and_nothing_is_written(night: Night):
    night.support.sources.DisableSource(sources_pb2.DisableSourceRequest(name=night.source))
    night.source = night.make("In trial")
    night.night_falls()
    assert night.run_due() == {"planned": 1}
    assert night.mails() == set()
    assert night.due() > night.directory.clock.now


@pytest.mark.mostly("postgresql")
def test_all_files_of_a_tenant_run_in_one_go_one_after_the_other(night: Night):
    sources = [night.source, *(night.make(f"File {number}") for number in range(2))]
    for name in sources:
        night.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=name))
    night.directory.clock.now = max(night.due(name) for name in sources)
    assert sum(night.run_due().values()) == 3
    assert all(night.due(name) > night.directory.clock.now for name in sources)


@pytest.mark.mostly("sqlite")
def test_r5_a_missing_file_is_no_file_each_night_and_counted(night: Night):
    night.folder.remove(FILE)
    for nights in (1, 2):
        night.night_falls()
        assert night.run_due() == {"no_file": 1}
        assert night.runs()[0].nights_without_file == nights


@pytest.mark.mostly("sqlite")
def test_a_server_that_is_away_has_no_run_until_the_last_try(night: Night, closed_port: int):
    night.support.sources.DisableSource(sources_pb2.DisableSourceRequest(name=night.source))
    night.source = night.make("Away", port=closed_port)
    night.enable()
    night.night_falls()
    assert night.run_due() == {"put_back": 1}
    assert night.runs() == []
    tenant_id, source_id = names.parse(names.SOURCE, night.source, field="source")
    with night.directory.store.write(tenant_id) as session:
        session.get(Source, (tenant_id, source_id)).night_attempts = 3
    night.night_falls()
    assert night.run_due() == {"failed": 1}
    assert night.runs()[0].reason == "connection_failed"


STEPS = ("secret", "record_unchanged", "create_run", "settled_hashes", "stage", "plan", "apply", "watch")
TELLING = {
    ("secret", "before"): [pytest.mark.mostly("sqlite")],
    ("create_run", "after"): [],
    ("plan", "after"): [pytest.mark.mostly("sqlite")],
    ("apply", "after"): [pytest.mark.mostly("postgresql")],
}
"""Steps at which something else is left behind than at the one before; the long form has them all."""

AT_EACH_STEP = [
    pytest.param(step, when, marks=TELLING.get((step, when), [pytest.mark.long]))
    for step in STEPS
    for when in ("before", "after")
]


class Killed(BaseException):
    """SIGKILL: nothing of the importer is heard of any more."""


@pytest.mark.parametrize(("step", "when"), AT_EACH_STEP)
def test_a_killed_importers_night_is_ended_by_another_and_once(night: Night, step: str, when: str):
    night.night_falls()
    tonight = night.due()
    with night.worker() as (_, directory, importer):
        claim = directory.claim_due_source("one", lease_s=LEASE_S, request_id="")
        assert claim is not None
        original = getattr(directory, step)

        def die(*given, **named):
            if when == "after":
                original(*given, **named)
            raise Killed

        setattr(directory, step, die)
        with pytest.raises(Killed):
            importer.run_source(
                claim.source,
                dry_run=False,
                publish=lambda _: None,
                claim=NightClaim(claim.claim, is_last_attempt=claim.is_last_attempt),
            )
    assert night.run_due() == {}  # it is claimed, or its run is under way
    assert night.mails() in (set(), {a_row(number)["Mail"] for number in range(3)})
    night.let_leases_end()
    runs = night.at_rest()
    by_the_directory = words(runs) == ["applied"]
    assert by_the_directory == ((step, when) in {("apply", "after"), ("watch", "before"), ("watch", "after")})
    assert night.run_due() == ({} if by_the_directory else {"applied": 1})
    runs = night.at_rest()
    assert words(runs) in (["applied"], ["applied", "failed"])
    assert [run.reason for run in runs[1:]] in ([], ["interrupted"])
    ends = [event.kind for event in night.office.events("run.*") if event.kind != "run.created"]
    assert sorted(ends) == sorted(f"run.{word}" for word in words(runs))  # each run is reported once
    assert night.mails() == {a_row(number)["Mail"] for number in range(3)}
    assert night.due() > tonight


@pytest.mark.mostly("sqlite")
def test_an_importer_that_ends_gives_its_night_back_for_another_and_opens_no_run(night: Night):
    night.night_falls()
    tonight = night.due()
    with night.worker() as (nights, directory, _):
        original = directory.secret

        def told_to_end(source: str):
            nights.stop()
            return original(source)

        directory.secret = told_to_end
        night.folder.put(FILE, a_csv(*map(a_row, range(4))), age_s=None)  # fresh: it is looked at twice
        nights.run_due()
    assert night.runs() == []
    assert night.due() == tonight
    night.folder.put(FILE, a_csv(*map(a_row, range(4))))
    assert night.run_due() == {"applied": 1}


@pytest.mark.mostly("sqlite")
def test_run_due_prints_what_it_did_and_its_status_says_whether_all_came_to_rest(
    night: Night, monkeypatch, capsys, closed_port: int
):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(app, "configure_logging", lambda _: None)
    monkeypatch.setenv("IMPORTER_DIRECTORY", night.directory.target)
    monkeypatch.setenv("IMPORTER_TOKEN", night.token)
    night.night_falls()
    assert app.main(["run", "--due"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"nights": {"applied": 1}}
    assert app.main(["run", "--due"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {"nights": {}}
    monkeypatch.setenv("IMPORTER_DIRECTORY", f"127.0.0.1:{closed_port}")
    assert app.main(["run", "--due"]) == 1
    assert "the directory does not answer" in capsys.readouterr().err
