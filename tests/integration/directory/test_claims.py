"""Due sources shared among importers: each night one claim, one run, and none lost."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import datetime, timedelta

import pytest
from muster.directory.v1 import imports_pb2, sources_pb2, tenants_pb2
from sqlmodel import Session

from services.directory.operations import apply_worker, claims
from services.directory.operations.imports import Imports
from services.directory.operations.replay import Attempt
from services.directory.rules import names, schedule
from services.directory.store.seal import Seal
from services.directory.store.session import Store, TenantLockedError, open_engine
from services.directory.store.tables import Source, SourceState, Tenant
from tests.integration.directory.due import Customer, moment_of
from tests.integration.directory.serving import Caller, ServedDirectory, refused

pytestmark = pytest.mark.mostly("postgresql")

FAILED, NO_FILE = imports_pb2.IMPORT_RUN_STATUS_FAILED, imports_pb2.IMPORT_RUN_STATUS_NO_FILE
AWAY, BUSY = sources_pb2.RELEASE_REASON_SERVER_AWAY, sources_pb2.RELEASE_REASON_TENANT_BUSY
ENDS = sources_pb2.RELEASE_REASON_WORKER_ENDS
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@pytest.fixture
def customer(directory: ServedDirectory, support: Caller):
    """A customer whose file is due tonight; what it made is never due afterwards."""
    customer = Customer(directory, support)
    yield customer
    customer.leave()


def test_a_source_is_due_each_night_and_its_run_ends_the_night(customer: Customer):
    assert customer.claim() is None
    customer.night_falls()
    tonight = customer.due()
    claim = customer.claimed()
    assert (claim.source.name, claim.attempt, claim.is_last_attempt) == (customer.source, 1, False)
    assert customer.claim("two") is None
    customer.end(customer.open(claim))
    assert customer.claim() is None
    assert customer.due() == tonight + DAY


def test_a_killed_importers_source_is_resumed_by_another_after_the_lease(customer: Customer):
    customer.night_falls()
    dead = customer.claimed()
    customer.directory.clock.now += timedelta(seconds=50)
    customer.renew(dead)
    customer.directory.clock.now += timedelta(seconds=59)
    assert customer.claim("two") is None
    customer.directory.clock.now += timedelta(seconds=1)
    taken = customer.claim("two")
    assert taken is not None
    assert taken.attempt == 2
    with refused("CLAIM_LOST"):
        customer.renew(dead)
    with refused("CLAIM_LOST"):
        customer.open(dead)
    with refused("CLAIM_LOST"):
        customer.release(dead, ENDS)
    customer.end(customer.open(taken))
    assert len(customer.runs()) == 1


def test_a_claim_whose_answer_was_lost_is_had_by_asking_again(customer: Customer):
    customer.night_falls()
    first = customer.claim(request_id="attempt-1-of-a-lost-answer")
    assert first is not None
    assert customer.claim(request_id="attempt-1-of-a-lost-answer") == first


def test_nobody_else_takes_up_a_night_whose_run_is_under_way(customer: Customer):
    customer.night_falls()
    claim = customer.claimed()
    run = customer.open(claim)
    customer.directory.clock.now += timedelta(seconds=44)  # the run's lease is 45 s
    with customer.directory.store.write(customer.office.tenant_id) as session:
        source = session.get(Source, names.parse(names.SOURCE, customer.source, field="source"))
        source.claimed_until = customer.directory.clock.now
    assert customer.claim("two") is None
    customer.end(run)
    assert customer.claim("two") is None


def test_a_run_cut_short_leaves_its_night_due_and_the_other_one_ends_it(customer: Customer):
    customer.night_falls()
    tonight = customer.due()
    customer.end(customer.open(customer.claimed()), FAILED, "interrupted")
    assert customer.due() == tonight
    again = customer.claim("two")
    assert again is not None
    assert again.attempt == 2
    customer.end(customer.open(again))
    assert customer.due() == tonight + DAY


def test_an_importer_that_vanished_with_its_run_open_gives_way_by_the_runs_lease(customer: Customer):
    customer.night_falls()
    run = customer.open(customer.claimed())
    customer.directory.clock.now += timedelta(seconds=46)
    tenant_id, run_id = names.parse(names.IMPORT_RUN, run, field="run")
    imports = Imports(customer.directory.store, customer.directory.stages, clock=customer.directory.clock)
    assert apply_worker.open_runs(imports) is not None  # what the directory's worker does each second
    ended = customer.runs()[0]
    assert (ended.name, ended.reason) == (names.IMPORT_RUN.format(tenant_id, run_id), "interrupted")
    assert ended.message.endswith("The night is tried again by itself.")
    assert customer.claim("two") is not None


def test_a_server_that_is_away_is_tried_four_times_and_then_the_night_is_over(customer: Customer):
    customer.night_falls()
    tonight, waited = customer.due(), []
    for attempt in (1, 2, 3):
        claim = customer.claimed()
        assert (claim.attempt, claim.is_last_attempt) == (attempt, False)
        began = customer.directory.clock.now
        customer.release(claim, AWAY)
        waited.append(customer.due() - began)
        customer.night_falls()
    assert waited == list(schedule.TRY_AGAIN_AFTER)
    last = customer.claimed()
    assert last.is_last_attempt
    customer.end(customer.open(last), FAILED, "connection_failed")
    assert customer.due() == tonight + DAY
    customer.night_falls()
    assert customer.claimed().attempt == 1


@pytest.mark.parametrize(("reason", "later"), [(BUSY, schedule.BUSY_FOR), (ENDS, timedelta())])
def test_a_claim_given_back_is_due_again_and_was_no_try(customer: Customer, reason, later):
    customer.night_falls()
    customer.release(customer.claimed(), reason)
    assert customer.due() == customer.directory.clock.now + later
    customer.night_falls()
    assert customer.claimed().attempt == 1


def test_a_missed_night_is_caught_up_once(customer: Customer):
    customer.night_falls()
    tonight = customer.due()
    customer.directory.clock.now += 3 * DAY + timedelta(hours=5)
    customer.end(customer.open(customer.claimed()))
    assert customer.claim() is None
    assert customer.due() == tonight + 4 * DAY


def test_a_night_that_falls_while_another_is_caught_up_is_not_lost(customer: Customer):
    customer.night_falls()
    tonight = customer.due()
    customer.directory.clock.now = tonight + DAY - MINUTE
    run = customer.open(customer.claimed())
    customer.directory.clock.now += 5 * MINUTE
    customer.end(run)
    assert customer.due() == tonight + DAY
    assert customer.claim() is not None


def test_a_tenants_sources_are_claimed_one_after_the_other(customer: Customer):
    other = customer.make("Pupils")
    customer.directory.clock.now = max(customer.due(), customer.due(other))
    first = customer.claimed()
    assert customer.claim("two") is None
    customer.release(first, BUSY)
    second = customer.claimed()
    assert {first.source.name, second.source.name} == {customer.source, other}


def test_while_somebody_runs_a_source_by_hand_the_tenants_night_waits(customer: Customer):
    customer.night_falls()
    tonight = customer.due()
    by_hand = customer.open()
    assert customer.claim() is None
    customer.end(by_hand)
    assert customer.due() == tonight
    assert customer.claim() is not None


def test_the_go_ahead_after_a_trial_leaves_the_night_as_it_is(customer: Customer):
    source = customer.make("Pupils")
    before = customer.due(source)
    customer.directory.clock.now = before
    customer.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=source))
    assert customer.due(source) == before


def test_stopped_sources_and_scim_sources_are_never_due(customer: Customer):
    customer.night_falls()
    claim, name = customer.claimed(), customer.source
    sources = customer.support.sources
    scim = customer.office.scim_source().name
    assert not customer.has_nights(scim)
    for stop, start in [
        (
            lambda: sources.PauseSource(sources_pb2.PauseSourceRequest(name=name)),
            lambda: sources.ResumeSource(sources_pb2.ResumeSourceRequest(name=name)),
        ),
        (lambda: sources.DisableSource(sources_pb2.DisableSourceRequest(name=name)), customer.enable),
    ]:
        stop()
        assert not customer.has_nights()
        with refused("CLAIM_LOST"):
            customer.renew(claim)
        start()
        assert customer.due() > customer.directory.clock.now
        customer.night_falls()
        claim = customer.claimed()
    sources.DetachSource(sources_pb2.DetachSourceRequest(name=name, users=sources_pb2.DETACHED_USERS_DELETE))
    with refused("CLAIM_LOST"):
        customer.renew(claim)
    assert not customer.has_nights()
    sources.DeleteSource(sources_pb2.DeleteSourceRequest(name=name))
    customer.directory.clock.now += 2 * DAY
    assert customer.claim() is None


def test_another_nightly_time_or_zone_moves_the_night(customer: Customer):
    before = customer.due()
    for field, value, moved in [
        ("nightly_time", "05:30", 210 * MINUTE),
        ("time_zone", "Europe/Stockholm", 150 * MINUTE),
    ]:
        request = sources_pb2.UpdateSourceRequest(source=sources_pb2.Source(name=customer.source))
        setattr(request.source, field, value)
        request.update_mask.paths.append(field)
        answer = customer.support.sources.UpdateSource(request).source
        shift = moment_of(answer) - before
        assert shift in {moved, moved - DAY}


def test_a_night_that_kills_every_importer_is_given_up_and_says_so(customer: Customer):
    customer.night_falls()
    tonight = customer.due()
    for attempt in range(1, schedule.MOST_TRIES + 1):
        assert customer.claimed().attempt == attempt
        customer.directory.clock.now += timedelta(seconds=60)
    assert customer.claim() is None
    (run,) = customer.runs()
    assert (run.status, run.reason) == (FAILED, "interrupted")
    assert customer.due() == tonight + DAY


def test_a_tenant_that_was_deleted_has_no_nights(customer: Customer):
    customer.night_falls()
    customer.support.tenants.DeleteTenant(tenants_pb2.DeleteTenantRequest(name=customer.office.name))
    assert customer.claim() is None


def test_eight_importers_racing_for_fifty_sources_claim_each_once(store: Store, tmp_path, directory: ServedDirectory):
    imports = Imports(store, tmp_path, clock=directory.clock)
    wanted = _make_due(store, directory.clock(), tenants=50)
    taken: list[tuple[str, str]] = []

    def race(worker: str) -> None:
        claimer = claims.Claimer(worker, timedelta(minutes=1))
        while True:
            try:
                answer = claims.claim_due_source(
                    imports,
                    Seal(b"s" * 32),
                    claimer,
                    attempt=Attempt("test", "", b""),
                    answer=lambda source: sources_pb2.ClaimDueSourceResponse(
                        claim=sources_pb2.SourceClaim(claim=names.SOURCE.format(source.tenant_id, source.id))
                    ),
                )
            except TenantLockedError:
                continue  # SQLite's writers take turns: who waited too long asks again
            if not answer.HasField("claim"):
                return
            taken.append((answer.claim.claim, worker))

    threads = [threading.Thread(target=race, args=(f"importer-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert Counter(source for source, _ in taken) == Counter(wanted)


def _make_due(store: Store, now: datetime, *, tenants: int) -> list[str]:
    """Make tenants with a due source each, as the login itself: one transaction for all."""
    engine = open_engine(store.engine.url.render_as_string(hide_password=False))
    ids = range(900_001, 900_001 + tenants)
    with Session(engine) as session:
        session.add_all(Tenant(id=id_, display_name="Alder", main_account_id=1, create_time=now) for id_ in ids)
        session.flush()
        session.add_all(
            Source(tenant_id=id_, id=id_, display_name="file", state=SourceState.ENABLED, due_at=now, create_time=now)
            for id_ in ids
        )
        session.commit()
    engine.dispose()
    return [names.SOURCE.format(id_, id_) for id_ in ids]
