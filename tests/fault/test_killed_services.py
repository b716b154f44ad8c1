"""SIGKILL of each service during a night: the register is the old or the new one, and nobody is mailed twice."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.fault.night import Night, Point
from tests.stack.customer import outcome_of, status_of
from tests.stack.service import Service
from tests.stack.waiting import wait_until

BEFORE_AND_WHILE_APPLYING = pytest.mark.parametrize(
    "point",
    [
        pytest.param(Point.STAGING, marks=pytest.mark.long),
        pytest.param(Point.PLANNING, marks=pytest.mark.mostly("postgresql")),
        Point.APPLYING,
    ],
    ids=lambda point: point.name.lower(),
)


@BEFORE_AND_WHILE_APPLYING
def test_r45_a_killed_directory_leaves_the_old_or_the_new_register(night: Night, point: Point):
    night.begin()
    night.wait_for(point)

    night.system.restart(Service.DIRECTORY)

    night.assert_whole()
    if point is Point.APPLYING:
        assert outcome_of(night.run()) == "applied"  # by the new directory, without anybody asking
    night.assert_reported([night.run()])
    night.assert_next_night_works()


@pytest.mark.long
@pytest.mark.parametrize("point", [Point.STAGING, Point.PLANNING], ids=lambda point: point.name.lower())
def test_r45_a_killed_importer_leaves_the_old_register_and_its_run_gives_way(night: Night, point: Point):
    lost = night.begin()
    night.wait_for(point)

    night.system.restart(Service.IMPORTER)
    assert lost.result(30) is None
    interrupted = night.run()

    night.assert_next_night_works()
    ended = night.customer.get_run(interrupted.name)
    assert (status_of(ended), ended.reason) in {("failed", "interrupted"), ("applied", "")}
    night.assert_reported([ended, night.run()])


@pytest.mark.long
def test_a_run_that_is_applying_needs_no_importer(night: Night):
    night.begin()
    night.wait_for(Point.APPLYING)

    night.system.kill(Service.IMPORTER)

    assert outcome_of(night.customer.at_rest(night.run().name)) == "applied"
    night.assert_whole()
    night.system.start(Service.IMPORTER)
    night.assert_next_night_works()


@pytest.mark.long
def test_a_report_comes_once_though_the_notifier_was_killed_before_the_night(night: Night):
    night.system.kill(Service.NOTIFIER)
    run = night.customer.run(night.source)

    night.system.start(Service.NOTIFIER)

    night.assert_reported([run])


@pytest.mark.long
def test_a_report_comes_once_though_the_notifier_was_killed_during_the_night(night: Night):
    ended = night.begin()
    night.wait_for(Point.APPLYING)

    night.system.restart(Service.NOTIFIER)

    run = ended.result(60)
    assert run is not None
    night.assert_reported([run])


@pytest.mark.mostly("postgresql")
@pytest.mark.parametrize("looks", [0, *(pytest.param(looks, marks=pytest.mark.long) for looks in (5, 20, 60))])
def test_a_directory_killed_amid_an_undo_puts_everything_back_once(night: Night, looks: int):
    applied = night.customer.run(night.source)
    assert night.register() == night.new
    undo = night.begin_undo(applied)
    for _ in range(looks):  # each takes some milliseconds of the undo's
        night.run()

    night.system.restart(Service.DIRECTORY)

    ended = night.customer.at_rest(undo.name)
    assert outcome_of(ended) == "applied"  # by the new directory, without anybody asking
    assert status_of(night.customer.get_run(applied.name)) == "undone"
    assert night.register() == night.old
    assert night.customer.seats()[1] == len(night.old)
    assert (ended.counts.deleted, ended.counts.restored) == (applied.counts.created, applied.counts.deleted)
    events = Counter(night.events_of(ended))
    assert (events["run.applied"], events["user.deleted"], events["user.restored"]) == (
        1,
        applied.counts.created,
        applied.counts.deleted,
    )
    assert night.events_of(applied).count("run.undone") == 1


@pytest.mark.mostly("sqlite")
def test_a_notifier_killed_while_mailing_repeats_at_most_what_was_under_way(night: Night):
    before = len(night.mails()) or len(night.smtp_sink.wait_for(1, to=night.customer.report_to))
    dry_row = b"UniqueID,Name,Mail\r\n"
    runs = [night.customer.import_file(night.source, dry_row) for _ in range(8)]  # eight refusals, eight reports
    wait_until(lambda: len(night.mails()) > before, every_s=0.001, what="the first mail")

    night.system.restart(Service.NOTIFIER)

    night.assert_reported(runs, repeats=1)


@pytest.mark.long
def test_a_mail_server_that_is_away_gets_the_report_when_it_is_back(night: Night):
    night.smtp_sink.wait_for(1, to=night.customer.report_to)
    night.smtp_sink.go_away()
    try:
        run = night.customer.run(night.source)
        night.system.restart(Service.NOTIFIER)
    finally:
        night.smtp_sink.come_back()

    night.assert_reported([run])


@pytest.mark.mostly("postgresql")
def test_everything_killed_at_once_comes_back_whole(night: Night):
    night.begin()
    night.wait_for(Point.APPLYING)

    for service in Service:
        night.system.kill(service)
    for service in Service:
        night.system.start(service)

    night.assert_whole()
    night.assert_reported([night.run()])
    night.assert_next_night_works()
