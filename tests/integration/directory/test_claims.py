"""Due sources shared among importers: each night one claim, one run, and none lost."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from muster.directory.v1 import imports_pb2, sources_pb2, tenants_pb2
from sqlalchemy import text
from sqlmodel import Session

from services.directory.operations import claims, import_applies
from services.directory.operations.imports import Imports
from services.directory.operations.replay import Attempt
from services.directory.rules import names, schedule
from services.directory.rules.grants import Grant
from services.directory.store.seal import Seal
from services.directory.store.session import Store, open_engine
from services.directory.store.tables import Source, SourceState, Tenant
from tests.integration.directory.serving import Caller, Office, ServedDirectory, refused

FAILED, NO_FILE = imports_pb2.IMPORT_RUN_STATUS_FAILED, imports_pb2.IMPORT_RUN_STATUS_NO_FILE
AWAY, BUSY = sources_pb2.RELEASE_REASON_SERVER_AWAY, sources_pb2.RELEASE_REASON_TENANT_BUSY
ENDS = sources_pb2.RELEASE_REASON_WORKER_ENDS
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


class Customer:
    """A tenant with one file, and an importer that looks after it; other tenants' sources are never due here."""

    def __init__(self, directory: ServedDirectory, support: Caller):
        self.directory, self.support = directory, support
        self.importer = directory.caller(Grant.IMPORTER)
        self.office = Office(support)
        self.source = self.make("Personnel")
        self.enable()

    def make(self, name: str, **settings) -> str:
        request = sources_pb2.CreateSourceRequest(
            tenant=self.office.name,
            source=sources_pb2.Source(display_name=name, nightly_time="02:00", time_zone="UTC", **settings),
        )
        return self.support.sources.CreateSource(request).source.name

    def enable(self):
        self.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=self.source))

    def due(self, source: str = "") -> datetime | None:
        """When the source is due; None when it never is."""
        record = self.support.sources.GetSource(sources_pb2.GetSourceRequest(name=source or self.source)).source
        return _moment(record) if record.HasField("next_run_time") else None

    def night_falls(self):
        """Move the time to when the source is due."""
        due = self.due()
        assert due is not None
        self.directory.clock.now = max(self.directory.clock.now, due)

    def claim(self, worker: str = "one", request_id: str = "") -> sources_pb2.SourceClaim | None:
        request = sources_pb2.ClaimDueSourceRequest(worker=worker, lease_seconds=60, request_id=request_id)
        answer = self.importer.sources.ClaimDueSource(request)
        return answer.claim if answer.HasField("claim") else None

    def claimed(self) -> sources_pb2.SourceClaim:
        claim = self.claim()
        assert claim is not None
        return claim

    def release(self, claim: sources_pb2.SourceClaim, reason: sources_pb2.ReleaseReason.ValueType):
        request = sources_pb2.ReleaseClaimRequest(source=claim.source.name, claim=claim.claim, reason=reason)
        self.importer.sources.ReleaseClaim(request)

    def renew(self, claim: sources_pb2.SourceClaim):
        request = sources_pb2.RenewClaimRequest(source=claim.source.name, claim=claim.claim, lease_seconds=60)
        self.importer.sources.RenewClaim(request)

    def open(self, claim: sources_pb2.SourceClaim | None = None) -> str:
        request = imports_pb2.CreateImportRunRequest(source=self.source, claim=claim.claim if claim else "")
        return self.importer.imports.CreateImportRun(request, timeout=5).import_run.name

    def end(self, run: str, status=NO_FILE, reason: str = ""):
        request = imports_pb2.RefuseImportRunRequest(import_run=run, status=status, reason=reason)
        return self.importer.imports.RefuseImportRun(request).import_run

    def runs(self) -> list[imports_pb2.ImportRun]:
        return list(
            self.support.imports.ListImportRuns(imports_pb2.ListImportRunsRequest(source=self.source)).import_runs
        )


def _moment(source: sources_pb2.Source) -> datetime:
    return source.next_run_time.ToDatetime(tzinfo=UTC)


@pytest.fixture
def customer(directory: ServedDirectory, support: Caller):
    """A customer whose file is due tonight; what it made is never due afterwards."""
    customer = Customer(directory, support)
    yield customer
    with directory.store.write(customer.office.tenant_id) as session:
        session.connection().execute(
            text("UPDATE sources SET state = 3 WHERE tenant_id = :t"), {"t": customer.office.tenant_id}
        )


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
        source.claimed_until = customer.directory.clock.now  # type: ignore[union-attr]
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
    assert import_applies._open_runs(imports) is not None  # what the directory's worker does each second
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
    assert before is not None
    customer.directory.clock.now = before
    customer.support.sources.EnableSource(sources_pb2.EnableSourceRequest(name=source))
    assert customer.due(source) == before


def test_stopped_sources_and_scim_sources_are_never_due(customer: Customer):
    customer.night_falls()
    claim, name = customer.claimed(), customer.source
    sources = customer.support.sources
    scim = customer.office.scim_source().name
    assert customer.due(scim) is None
    for stop, start in [
        (
            lambda: sources.PauseSource(sources_pb2.PauseSourceRequest(name=name)),
            lambda: sources.ResumeSource(sources_pb2.ResumeSourceRequest(name=name)),
        ),
        (lambda: sources.DisableSource(sources_pb2.DisableSourceRequest(name=name)), customer.enable),
        (
            lambda: sources.DetachSource(
                sources_pb2.DetachSourceRequest(name=name, users=sources_pb2.DETACHED_USERS_DELETE)
            ),
            customer.enable,
        ),
    ]:
        stop()
        assert customer.due() is None
        with refused("CLAIM_LOST"):
            customer.renew(claim)
        start()
        assert customer.due() > customer.directory.clock.now
        customer.night_falls()
        claim = customer.claimed()
    sources.DeleteSource(sources_pb2.DeleteSourceRequest(name=name))
    with refused("CLAIM_LOST"):
        customer.renew(claim)
    customer.directory.clock.now += 2 * DAY
    assert customer.claim() is None


def test_another_nightly_time_or_zone_moves_the_night(customer: Customer):
    before = customer.due()
    for change, moved in [({"nightly_time": "05:30"}, 210 * MINUTE), ({"time_zone": "Europe/Stockholm"}, 150 * MINUTE)]:
        request = sources_pb2.UpdateSourceRequest(source=sources_pb2.Source(name=customer.source, **change))
        request.update_mask.paths.extend(change)
        answer = customer.support.sources.UpdateSource(request).source
        shift = _moment(answer) - before
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
            answer = claims.claim_due_source(
                imports,
                Seal(b"s" * 32),
                claimer,
                attempt=Attempt("test", "", b""),
                answer=lambda source: sources_pb2.ClaimDueSourceResponse(
                    claim=sources_pb2.SourceClaim(claim=names.SOURCE.format(source.tenant_id, source.id))
                ),
            )
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
