"""R44: writers share a tenant, an apply has it alone, and nobody waits longer than two seconds for it."""

from __future__ import annotations

import threading
import time

import grpc
import pytest
from muster.directory.v1 import users_pb2_grpc
from muster.runtime.client import OPTIONS
from muster.runtime.errors import failure_of
from muster.runtime.identity import bearer
from sqlalchemy import text
from sqlmodel import col, select

from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.store.session import Lock
from services.directory.store.tables import License, RunStatus
from tests.integration.directory.nights import Night
from tests.integration.directory.serving import Caller, Office, ServedDirectory
from tests.stack.waiting import wait_until


@pytest.fixture
def applying(directory: ServedDirectory, office: Office, impatient):
    """Hold the tenant as an apply does."""
    tenant_id = names.parse_tenant(office.name, field="tenant")
    held, end = threading.Event(), threading.Event()

    def hold():
        with directory.store.write(tenant_id, lock=Lock.EXCLUSIVE):
            held.set()
            assert end.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    yield end
    end.set()
    thread.join(30)


@pytest.fixture
def impatient(directory: ServedDirectory):
    """A caller whose channel retries nothing, so that each wait shows."""
    options = [option for option in OPTIONS if option[0] not in {"grpc.service_config", "grpc.enable_retries"}]
    with grpc.insecure_channel(directory.target, options=[*options, ("grpc.enable_retries", 0)]) as channel:
        stub = users_pb2_grpc.UserServiceStub(channel)
        metadata = (bearer(directory.token(Grant.SUPPORT)),)
        yield lambda request, **how: stub.CreateUser(request, metadata=metadata, **how)


def test_r44_a_writer_waits_two_seconds_for_an_apply_and_is_told_when_to_come_again(
    office: Office, applying, impatient
):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        impatient(office.user_request(), timeout=20)
    failure = failure_of(caught.value)
    assert (failure.reason, failure.retry_after_s) == ("TENANT_BUSY", 2.0)
    assert failure.code is grpc.StatusCode.UNAVAILABLE
    assert 1.5 < time.monotonic() - began < 6


def test_r44_a_writer_goes_on_when_the_apply_ends_in_time(office: Office, applying, impatient):
    threading.Timer(0.5, applying.set).start()
    assert impatient(office.user_request(), timeout=20).user.name


def test_a_near_deadline_shortens_the_wait(office: Office, applying, directory, impatient):
    began = time.monotonic()
    with pytest.raises(grpc.RpcError) as caught:
        impatient(office.user_request(), timeout=0.5)
    assert caught.value.code() in {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE}
    assert time.monotonic() - began < 1.5


def test_reading_does_not_wait_for_an_apply(office: Office, applying):
    assert office.seats().seats_used == 0


def test_r44_another_tenant_does_not_wait_for_an_apply(office: Office, applying, directory, support: Caller):
    if directory.store.is_sqlite:
        return  # one writer at a time there
    assert Office(support).user().name


@pytest.fixture
def night_under_way(store, night):
    """A night whose apply has written everything but its seats, and waits there."""
    run = night.plan("anna+CREW", "bo", "cia")
    with store.write(night.tenant_id, lock=Lock.NONE) as session:
        session.exec(select(License).where(col(License.tenant_id) == night.tenant_id).with_for_update()).one()
        applying = threading.Thread(target=night.apply, args=(run,))
        applying.start()
        with store.engine.connect() as looking:
            waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
            wait_until(lambda: looking.execute(waiting).scalar_one(), what="the apply to come to the seats")
        yield applying
    applying.join(30)
    assert night.read(run).status == RunStatus.APPLIED


@pytest.mark.parametrize("store", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_two_tenants_applies_run_at_once(store, night_under_way, tmp_path, clock):
    other = Night(store, tmp_path / "other", clock)
    applying = threading.Thread(target=other.apply, args=(other.plan("dan+CREW", "eva"),))
    applying.start()
    applying.join(20)
    assert not applying.is_alive()
    assert night_under_way.is_alive()
