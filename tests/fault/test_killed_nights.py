"""SIGKILL of an importer in a night that began by itself: the importer that comes after it ends the night."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from muster.directory.v1 import sources_pb2

from tests.fault.night import Night
from tests.stack.customer import Customer, status_of
from tests.stack.databases import KINDS
from tests.stack.service import Service
from tests.stack.waiting import wait_until


@pytest.mark.long
@pytest.mark.timeout(400)
@pytest.mark.parametrize("kind", KINDS)
def test_a_night_whose_importer_is_killed_is_ended_by_the_next_one(start_system, sftp_folder, smtp_sink, kind):
    with start_system(kind, IMPORTER_NIGHTS="true", IMPORTER_NIGHTS_EVERY_S="0.2") as system:
        night = Night(system, Customer(system), sftp_folder, smtp_sink)
        try:
            night.prepare()
            soon = (datetime.now(UTC) + timedelta(minutes=1)).strftime("%H:%M")
            source = sources_pb2.Source(name=night.source, nightly_time=soon, time_zone="UTC")
            request = sources_pb2.UpdateSourceRequest(source=source)
            request.update_mask.paths.extend(["nightly_time", "time_zone"])
            system.sources.UpdateSource(request)
            wait_until(
                lambda: len(night.customer.runs(night.source)) > 1, timeout_s=120, every_s=0.01, what="the night"
            )

            system.restart(Service.IMPORTER)

            wait_until(lambda: status_of(night.run()) == "applied", timeout_s=150, what="the night's end")
            runs = night.customer.runs(night.source)
            assert [status_of(run) for run in runs[1:-1]] in ([], ["failed"])
            assert night.register() == night.new
            night.assert_whole()
            night.assert_reported(runs)
        finally:
            night.close()
