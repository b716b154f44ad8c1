"""request_id: an answer is given once and repeated for 24 hours, and its effect happens once."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from muster.directory.v1 import licenses_pb2, sources_pb2, tenants_pb2
from sqlmodel import col, func, select

from services.directory.store.tables import RequestReplay
from tests.integration.directory.serving import Caller, Office, ServedDirectory, fields_of, refused


@pytest.fixture
def request_id():
    return str(uuid.uuid4())


def test_the_same_request_again_gets_the_same_answer_and_no_second_effect(office: Office, request_id):
    request = office.user_request(request_id=request_id)
    first = office.support.users.CreateUser(request)
    assert office.support.users.CreateUser(request) == first
    assert office.seats().seats_used == 1
    assert len(office.events("user.created")) == 1


def test_tenants_themselves_are_created_once(support: Caller, request_id):
    request = tenants_pb2.CreateTenantRequest(display_name="Once", request_id=request_id)
    assert support.tenants.CreateTenant(request) == support.tenants.CreateTenant(request)


def test_twenty_retries_at_once_have_one_effect_and_one_answer(office: Office, request_id):
    request = office.user_request(request_id=request_id)
    with ThreadPoolExecutor(20) as callers:
        answers = list(callers.map(lambda _: office.support.users.CreateUser(request), range(20)))
    assert all(answer == answers[0] for answer in answers)
    assert office.seats().seats_used == 1


def test_the_same_request_id_with_another_body_is_refused(office: Office, request_id):
    office.support.users.CreateUser(office.user_request(request_id=request_id))
    with refused("REQUEST_ID_REUSED") as told:
        office.support.users.CreateUser(office.user_request(request_id=request_id))
    assert fields_of(told) == ["request_id"]
    with refused("REQUEST_ID_REUSED"):
        update = licenses_pb2.UpdateLicenseRequest(name=office.license, seats_total=5, request_id=request_id)
        office.support.licenses.UpdateLicense(update)


def test_a_request_that_was_refused_may_be_tried_again(support: Caller, request_id):
    office = Office(support, seats=0)
    request = office.user_request(request_id=request_id)
    with refused("LICENSE_LIMIT_REACHED"):
        support.users.CreateUser(request)
    support.licenses.UpdateLicense(licenses_pb2.UpdateLicenseRequest(name=office.license, seats_total=1))
    support.users.CreateUser(request)


def test_request_ids_of_two_tenants_do_not_meet(office: Office, support: Caller, request_id):
    other = Office(support)
    first = office.support.users.CreateUser(office.user_request(request_id=request_id))
    assert support.users.CreateUser(other.user_request(request_id=request_id)) != first


def test_a_day_later_the_request_id_is_forgotten(directory: ServedDirectory, office: Office, store, request_id):
    group = office.group()
    ann = office.user()
    office.change_members(group.name, add=[ann.name], request_id=request_id)
    office.change_members(group.name, remove=[ann.name])
    directory.clock.pass_hours(23.9)
    office.change_members(group.name, add=[ann.name], request_id=request_id)
    assert office.members(group.name) == []
    directory.clock.pass_hours(0.2)
    office.change_members(group.name, add=[ann.name], request_id=request_id)
    assert office.members(group.name) == [ann.name]
    with store.read(office.tenant_id) as session:
        count = select(func.count()).where(col(RequestReplay.request_id) == request_id)
        assert session.exec(count).one() == 1


def test_a_kept_answer_shows_no_password_in_the_database(office: Office, store, request_id):
    request = sources_pb2.CreateSourceRequest(
        tenant=office.name, source=sources_pb2.Source(display_name="Drop"), request_id=request_id
    )
    login = office.support.sources.CreateSource(request).drop_login
    assert office.support.sources.CreateSource(request).drop_login == login
    with store.read(office.tenant_id) as session:
        kept = session.exec(select(RequestReplay).where(col(RequestReplay.request_id) == request_id)).one()
    assert login.password.encode() not in kept.answer


@pytest.mark.parametrize("malformed", ["x" * 65, "a b", "é"])
def test_a_malformed_request_id_is_refused(office: Office, malformed):
    with refused("INVALID_ARGUMENT") as told:
        office.support.users.CreateUser(office.user_request(request_id=malformed))
    assert fields_of(told) == ["request_id"]
