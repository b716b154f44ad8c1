"""An identity provider meets services that die: it is told to come again, nothing is lost and nothing is double."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from muster.directory.v1 import users_pb2

from tests.stack.provider import Provider
from tests.stack.service import Service
from tests.stack.waiting import wait_until

PEOPLE = 40


@pytest.fixture
def provider(customer) -> Provider:
    return Provider(customer)


def provision_all(provider: Provider, started: threading.Event) -> list[int]:
    """Create everybody as a provider does: what fails with 5xx or no answer is tried again in the next cycle.

    A 409 for one whose answer was lost is the provider's sign to look the user up.
    """
    statuses: list[int] = []

    def create(number: int) -> None:
        def tried() -> bool:
            answer = provider.create_user(f"person{number}@example.org", externalId=f"ext-{number}")
            statuses.append(answer.status)
            if answer.status == 503:
                assert answer.retry_after is not None
                assert int(answer.retry_after) > 0
            return answer.status in {201, 409}

        if number == PEOPLE // 4:
            started.set()
        wait_until(tried, timeout_s=90, what="a user to be created")

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(create, range(PEOPLE)))
    return statuses


@pytest.mark.mostly("postgresql")
@pytest.mark.parametrize("service", [Service.DIRECTORY, Service.SCIM_GATEWAY])
def test_a_service_killed_under_load_loses_and_doubles_nobody(provider, customer, service):
    started = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        provisioning = threads.submit(provision_all, provider, started)
        assert started.wait(60)
        customer.system.restart(service)
        statuses = provisioning.result(120)
    assert set(statuses) <= {201, 409, 503, 0}
    expected = sorted(f"person{number}@example.org" for number in range(PEOPLE))
    assert sorted(provider.user_names()) == expected
    request = users_pb2.ListUsersRequest(tenant=customer.tenant, show_deleted=True, page_size=1000)
    assert sorted(user.email for user in customer.system.users.ListUsers(request).users) == expected
    assert customer.seats()[1] == PEOPLE


@pytest.mark.mostly("postgresql")
def test_without_the_directory_the_gateway_says_when_to_come_again(provider, customer):
    customer.system.kill(Service.DIRECTORY)
    answer = provider.create_user("ann@example.org")
    assert answer.status == 503
    assert int(answer.retry_after or "0") > 0
    assert answer.body["schemas"] == ["urn:ietf:params:scim:api:messages:2.0:Error"]
    customer.system.start(Service.DIRECTORY)
    wait_until(
        lambda: provider.create_user("ann@example.org").status == 201, timeout_s=60, what="the directory's return"
    )
