"""A worker of nights: what it claims, what it keeps alive, what it gives back."""

from __future__ import annotations

import itertools
import threading
from contextlib import ExitStack

import pytest
from muster.directory.v1 import sources_pb2
from muster.runtime import errors
from muster.runtime.client import open_channel

from services.importer.directory import Directory
from services.importer.errors import (
    ConnectionFailedError,
    FaultError,
    FetchFailedError,
    InterruptedRunError,
    NoFileError,
)
from services.importer.night import LEASE_S, Nights
from services.importer.night_claim import NightClaim, PutBackError
from services.importer.run import Importer
from tests.stack.waiting import wait_until
from tests.unit.importer.directory_double import AwayError, DirectoryDouble, TenantBusyError, serve

SERVER_AWAY, BUSY = sources_pb2.RELEASE_REASON_SERVER_AWAY, sources_pb2.RELEASE_REASON_TENANT_BUSY
ENDS = sources_pb2.RELEASE_REASON_WORKER_ENDS


class ClaimLostError(errors.RpcError):
    reason = "CLAIM_LOST"


class Worker:
    """One worker in front of a directory double; its source has no file, and each look at the clock takes 20 s."""

    def __init__(self, stack: ExitStack) -> None:
        self.directory = DirectoryDouble()  # type: ignore[abstract]  # the methods the importer calls are there
        server = serve(self.directory)
        stack.callback(server.stop, grace_s=0)
        channel = stack.enter_context(open_channel(f"127.0.0.1:{server.port}", "mst_svc_importer"))
        self.stopping, self._moments = threading.Event(), itertools.count(step=LEASE_S / 3)
        client = Directory(channel, wait=self._wait)
        importer = Importer(client, None, now=lambda: None, wait=self._wait)  # type: ignore[arg-type,return-value]
        self.nights = Nights(
            client,
            importer,
            at_a_time=2,
            every_s=0.01,
            stopping=self.stopping,
            worker="one",
            clock=self._moments.__next__,
        )

    def _wait(self, _seconds: float) -> None:
        if self.stopping.is_set():
            raise InterruptedRunError


@pytest.fixture
def worker():
    with ExitStack() as stack:
        yield Worker(stack)


def test_a_worker_runs_what_is_due_until_nothing_is(worker: Worker):
    worker.directory.due = 3
    # Its server has no pinned host key: that is refused, which is an end.
    assert dict(worker.nights.run_due().ended) == {"refused": 3}
    assert set(worker.directory.claims_of_runs) == {"claim-1", "claim-2", "claim-3"}
    assert worker.directory.released == []


@pytest.mark.parametrize(
    ("fault", "given_back"), [(TenantBusyError("busy"), [BUSY]), (ClaimLostError("gone"), []), (AwayError("away"), [])]
)
def test_a_night_without_its_turn_is_put_back_and_a_lost_one_left(worker: Worker, fault, given_back):
    worker.directory.due = 1
    worker.directory.faults["CreateImportRun"] = [fault]
    worker.nights.run_due()
    assert worker.directory.released == given_back


def test_claims_under_way_are_renewed_before_their_lease_is_over_until_they_are_lost(worker: Worker):
    worker.directory.due, worker.directory.held_up = 1, threading.Event()
    nights = threading.Thread(target=worker.nights.serve)
    nights.start()
    try:
        worker.directory.wait_for("RenewClaim", 2)
        worker.directory.faults["RenewClaim"] = [ClaimLostError("gone")]
        wait_until(lambda: not worker.directory.faults["RenewClaim"], every_s=0.005, what="the loss to be told")
        told = worker.directory.calls["RenewClaim"]
        worker.directory.wait_for("ClaimDueSource", worker.directory.calls["ClaimDueSource"] + 3)
        assert worker.directory.calls["RenewClaim"] == told
    finally:
        worker.directory.held_up.set()
        worker.nights.stop()
        nights.join(10)
        worker.nights.join(10)


def test_a_worker_told_to_end_gives_back_what_it_has_not_opened(worker: Worker):
    worker.directory.due, worker.directory.held_up = 1, threading.Event()
    nights = threading.Thread(target=worker.nights.serve)
    nights.start()
    worker.directory.wait_for("GetSourceSecret", 1)
    worker.nights.stop()
    worker.directory.faults["CreateImportRun"] = [ClaimLostError("gone")]
    worker.directory.held_up.set()
    nights.join(10)
    worker.nights.join(10)
    assert worker.directory.released == [ENDS]


def test_a_directory_that_is_away_is_asked_again_by_a_worker_that_serves(worker: Worker):
    worker.directory.faults["ClaimDueSource"] = [AwayError("away") for _ in range(5)]
    nights = threading.Thread(target=worker.nights.serve)
    nights.start()
    worker.directory.wait_for("ClaimDueSource", 7)
    worker.nights.stop()
    nights.join(10)
    assert not nights.is_alive()


def test_run_due_is_not_ended_by_a_store_that_is_being_written_to(worker: Worker):
    worker.directory.due = 1
    worker.directory.faults["ClaimDueSource"] = [TenantBusyError("busy") for _ in range(5)]
    assert dict(worker.nights.run_due().ended) == {"refused": 1}


def test_what_may_pass_is_put_back_but_at_the_last_try():
    first, last = NightClaim("c", is_last_attempt=False), NightClaim("c", is_last_attempt=True)
    for error in (ConnectionFailedError(), FetchFailedError(), FaultError()):
        assert (first.puts_back(error), last.puts_back(error)) == (True, False)
    assert (first.puts_back(NoFileError()), last.puts_back(NoFileError())) == (False, False)
    assert (first.puts_back(InterruptedRunError()), last.puts_back(InterruptedRunError())) == (True, True)
    assert PutBackError(FetchFailedError()).code == "fetch_failed"
