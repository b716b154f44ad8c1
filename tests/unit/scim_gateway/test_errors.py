"""What the directory refuses is told in SCIM, with the cure, to the administrator of an identity provider."""

from __future__ import annotations

import grpc
import pytest
from grpc.aio import AioRpcError, Metadata
from muster.directory.v1 import error_reason_pb2
from muster.runtime.errors import RpcError, scim_status_of, to_status
from scim2_models import UnauthorizedException

from services.scim_gateway.auth import key_of
from services.scim_gateway.errors import TryLaterException, scim_error
from services.scim_gateway.service import GatewayService

REASONS = [
    each.name.removeprefix("ERROR_REASON_") for each in error_reason_pb2.ErrorReason.DESCRIPTOR.values if each.number
]


def told(reason, message="", *, retry_after_s=None, **fields):
    """What a client gets when a service raises this."""
    raised = RpcError(message, **fields)
    raised.reason, raised.retry_after_s = reason, retry_after_s
    status = to_status(raised)
    error = AioRpcError(status.code, Metadata(), Metadata(*status.trailing_metadata), details=status.details)
    return scim_error(error)


@pytest.mark.parametrize("reason", REASONS)
def test_every_reason_has_the_status_of_the_table(reason):
    found = told(reason, "a message")
    if scim_status_of(reason) == 500:
        assert found is None
    else:
        assert found is not None
        assert found.status == scim_status_of(reason)
        assert len(found.detail) > 5


@pytest.mark.parametrize(
    "reason",
    [
        "EMAIL_TAKEN",
        "USER_NAME_TAKEN",
        "OWNED_BY_OTHER_SOURCE",
        "GROUP_ID_TAKEN",
        "GROUP_ID_RESERVED",
        "GROUP_SYNCED_ELSEWHERE",
    ],
)
def test_what_is_taken_is_a_matter_of_uniqueness(reason):
    assert told(reason).scim_type == "uniqueness"


def test_a_full_license_names_limit_use_and_cure():
    detail = told("LICENSE_LIMIT_REACHED", metadata={"seats_total": "200", "seats_used": "200"}).detail
    assert "200 of 200 seats" in detail
    assert "Add seats" in detail


@pytest.mark.parametrize(("state", "cure"), [("paused", "can resume it"), ("disabled", "can enable it")])
def test_a_connection_that_stands_still_says_how_it_goes_on(state, cure):
    assert cure in told("SOURCE_STATE", metadata={"state": state}).detail


def test_what_is_wrong_with_values_is_named():
    found = told("INVALID_ARGUMENT", violations=[("emails", "is no mail address"), ("title", "is too long")])
    assert (found.scim_type, found.detail) == ("invalidValue", "emails: is no mail address; title: is too long.")


def test_a_busy_tenant_says_when_to_come_back_in_whole_seconds():
    response = GatewayService().error_response(told("TENANT_BUSY", retry_after_s=2.5))
    assert (response.status, response.headers["Retry-After"]) == (503, "3")


@pytest.mark.parametrize("code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED])
def test_a_directory_that_does_not_answer_is_a_matter_of_time(code):
    found = scim_error(AioRpcError(code, Metadata(), Metadata()))
    assert isinstance(found, TryLaterException)
    assert GatewayService().error_response(found).headers["Retry-After"].isdigit()


def test_a_fault_shows_nothing_of_the_inside():
    response = GatewayService().error_response(ValueError("ann@example.org in line 3"))
    assert response.status == 500
    assert "ann" not in str(response.body)
    assert "request id" in response.body["detail"]


def test_a_refused_key_is_challenged():
    response = GatewayService().error_response(told("UNAUTHENTICATED"))
    assert response.status == 401
    assert response.headers["WWW-Authenticate"].startswith('Bearer realm="SCIM", error="invalid_token"')


def test_who_shows_no_key_is_asked_for_one_and_told_no_error():
    with pytest.raises(UnauthorizedException) as missing:
        key_of(None)
    response = GatewayService().error_response(missing.value)
    assert (response.status, response.headers["WWW-Authenticate"]) == (401, 'Bearer realm="SCIM"')


def test_a_connection_that_the_guard_has_paused_is_told_so_and_when_to_come_back():
    error = told("GUARD_TRIPPED", metadata={"people": "101", "active": "400"}, retry_after_s=1800.0)
    response = GatewayService().error_response(error)
    assert (response.status, response.headers["Retry-After"]) == (429, "1800")
    assert "101 of 400 active users" in response.body["detail"]
