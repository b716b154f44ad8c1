"""R35 · S5: the license is never exceeded, however many want its last seats at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import grpc
from muster.directory.v1 import licenses_pb2
from muster.runtime.errors import failure_of

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
