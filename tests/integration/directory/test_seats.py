"""R35 · S5: the license is never exceeded, however many want its last seats at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from muster.directory.v1 import events_pb2, licenses_pb2
from muster.runtime.errors import failure_of

from services.directory.operations.leaving import leave
from services.directory.rules import names
from services.directory.rules.leaving import WayOut
from services.directory.store.events import Actor
from tests.integration.directory.serving import Caller, Office, refused

RACERS = 64


def set_seats(office: Office, seats: int, etag: str = ""):
    request = licenses_pb2.UpdateLicenseRequest(name=office.license, seats_total=seats, etag=etag)
    return office.support.licenses.UpdateLicense(request).license


def test_r35_sixty_four_racers_for_the_last_ten_seats_fill_exactly_ten(support: Caller):
    office = Office(support, seats=12)
    office.user()
    office.user()

    def race(number):
        try:
            return office.user(f"racer{number}@example.org").name
        except grpc.RpcError as error:
            return failure_of(error).reason

    with ThreadPoolExecutor(RACERS) as racers:
        outcomes = list(racers.map(race, range(RACERS)))
    refusals = [outcome for outcome in outcomes if not outcome.startswith("tenants/")]
    assert len(outcomes) - len(refusals) == 10
    assert set(refusals) == {"LICENSE_LIMIT_REACHED"}
    assert office.seats().seats_used == 12
    assert len(office.events("user.created")) == 12


def test_a_full_license_names_its_limit_and_its_use(support: Caller):
    office = Office(support, seats=0)
    with refused("LICENSE_LIMIT_REACHED") as told:
        office.user()
    assert told["failure"].code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert told["failure"].metadata == {"seats_total": "0", "seats_used": "0"}


def test_a_refused_user_leaves_no_trace(support: Caller):
    office = Office(support, seats=0)
    with refused("LICENSE_LIMIT_REACHED"):
        office.user("late@example.org")
    assert office.members(office.account().main_group) == []
    assert office.events("user.*") == []


def test_seats_may_be_fewer_than_are_used_and_then_nobody_is_added(office: Office):
    office.user()
    office.user()
    assert set_seats(office, 1).seats_used == 2
    with refused("LICENSE_LIMIT_REACHED"):
        office.user()
    set_seats(office, 3)
    office.user()
    assert office.seats().seats_used == 3


def test_a_change_of_seats_is_an_event_with_before_and_after(office: Office):
    set_seats(office, 25)
    set_seats(office, 25)
    (changed,) = office.events("license.*")
    assert changed.kind == "license.updated"
    assert changed.resource == office.license
    assert (changed.before["seats_total"], changed.after["seats_total"]) == (10, 25)
    assert changed.fields == ["seats_total"]


def test_a_stale_etag_refuses_a_lost_update(office: Office):
    read = office.seats()
    set_seats(office, 20, read.etag)
    with refused("STALE_ETAG"):
        set_seats(office, 30, read.etag)
    assert office.seats().seats_total == 20


def test_seats_below_zero_are_refused(office: Office):
    with refused("INVALID_ARGUMENT"):
        set_seats(office, -1)


def marks(office: Office) -> list[tuple[object, ...]]:
    told = [event for event in office.events("license.*") if event.kind != "license.updated"]
    return [(event.kind, event.after["seats_used"], event.after["seats_total"]) for event in told]


def test_a_license_that_is_nearly_full_or_full_is_told_once_a_passing(store, directory, support: Caller):
    office = Office(support, seats=10)
    users = [office.user().name for _ in range(8)]
    assert marks(office) == []
    office.user()
    office.user()
    with refused("LICENSE_LIMIT_REACHED"):
        office.user()
    told = [("license.near_full", 9, 10), ("license.full", 10, 10)]
    assert marks(office) == told
    ids = [names.parse(names.USER, user, field="user")[1] for user in users]
    with store.write(office.tenant_id) as session:
        leave(session, office.tenant_id, ids[:1], WayOut.BY_HAND, actor=Actor("test"), now=directory.clock())
    office.user()  # 9 of 10 were past the mark all the while; 10 are full again
    told.append(("license.full", 10, 10))
    assert marks(office) == told
    set_seats(office, 20)
    assert marks(office) == told
    set_seats(office, 11)
    assert marks(office) == [*told, ("license.near_full", 10, 11)]


def test_an_import_that_fills_the_license_tells_so_in_its_own_name(store, support: Caller, night):
    tenant = names.TENANT.format(night.tenant_id)
    request = licenses_pb2.UpdateLicenseRequest(name=f"{tenant}/license", seats_total=3)
    support.licenses.UpdateLicense(request)
    night.apply(night.plan("anna", "bo"))
    run = night.apply(night.plan("anna", "bo", "cecilia"))
    listed = support.events.ListEvents(events_pb2.ListEventsRequest(tenant=tenant, kind="license.full")).events
    (told,) = listed
    assert told.actor == names.SOURCE.format(night.tenant_id, night.source_id)
    assert told.import_run == names.IMPORT_RUN.format(night.tenant_id, run.id)
    assert told.after["seats_used"] == 3
