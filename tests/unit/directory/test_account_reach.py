"""What administrators of an account reach is written down whole: no method is forgotten, and no field that names."""

from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool
from muster.directory.v1 import accounts_pb2, groups_pb2, invitations_pb2, users_pb2

from services.directory.rules.account_reach import REACHES
from services.directory.rules.grants import METHOD_RULES, Grant

FILES = (accounts_pb2, groups_pb2, invitations_pb2, users_pb2)
NAMING = {"name", "names", "parent", "account", "group", "groups", "user", "users", "add", "remove"}
"""Top-level fields that name things; `tenant` is compared with every caller's."""


def request_of(method: str):
    _, service, name = method.split("/")
    return descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name).input_type


@pytest.mark.parametrize("method", REACHES)
def test_every_field_that_names_something_is_looked_at(method):
    reach = REACHES[method]
    looked_at = {path.partition(".")[0] for path in (*reach.required, *reach.optional)}
    fields = {field.name for field in request_of(method).fields}
    assert looked_at == fields & NAMING
    assert reach.required or reach.is_list
    assert reach.is_list == ("tenant" in fields and not reach.required)


def test_it_is_less_than_a_tenants_administrator_reaches_and_a_row_of_its_own():
    assert set(REACHES) < {method for method, rule in METHOD_RULES.items() if Grant.TENANT in rule.grants}
    assert not [method for method, rule in METHOD_RULES.items() if Grant.ACCOUNT in rule.grants and not rule.by_key]


def test_what_is_left_out_of_the_services_that_are_reached():
    reached = {method.split("/")[1] for method in REACHES}
    left_out = {
        method.rpartition("/")[2]
        for method, rule in METHOD_RULES.items()
        if Grant.TENANT in rule.grants and method.split("/")[1] in reached and method not in REACHES
    }
    assert left_out == {"ReleaseGroupId", "ListReservedGroupIds", "UndeleteUser", "ExportUser", "EraseUser"}
