"""The tenant `demo` of `muster up` is made once, and an older one gets what it lacks."""

from __future__ import annotations

from dataclasses import replace

import pytest
from muster.directory.v1 import sources_pb2

from cli.up import demo_tenant
from cli.up.keepsake import Kept
from services.directory.rules.grants import Grant
from services.directory.rules.tokens import API_KEY
from tests.integration.directory.serving import ServedDirectory, sign_in


@pytest.fixture
def kept(directory: ServedDirectory) -> Kept:
    return replace(Kept.make(""), tokens={"support": directory.token(Grant.SUPPORT)})


def sources(support, tenant):
    return list(support.sources.ListSources(sources_pb2.ListSourcesRequest(tenant=tenant)).sources)


def test_it_has_a_drop_and_a_connection_that_are_enabled(directory: ServedDirectory, support, kept):
    demo = demo_tenant.make_or_find(directory.target, kept, seats=5)
    drop, connection = sources(support, demo["tenant"])
    assert (drop.name, connection.name) == (demo["sftp_source"], demo["scim_source"])
    assert {drop.state, connection.state} == {sources_pb2.SOURCE_STATE_ENABLED}
    assert connection.unknown_groups == sources_pb2.UNKNOWN_GROUPS_CREATE
    assert API_KEY.id_of(demo["scim_key"])


def test_it_has_an_administrator_who_signs_in(directory: ServedDirectory, support, kept):
    demo = demo_tenant.make_or_find(directory.target, kept, seats=5)
    signed_in = sign_in(support, **demo["admin_login"]).administrator
    assert signed_in.name.startswith(f"{demo['tenant']}/administrators/")
    other = demo_tenant.make_or_find(directory.target, replace(kept, setup_id=Kept.make("").setup_id), seats=5)
    assert other["admin_login"]["email"] != demo["admin_login"]["email"]


def test_an_interrupted_set_up_is_taken_up_again(directory: ServedDirectory, support, kept):
    first = demo_tenant.make_or_find(directory.target, kept, seats=5)
    assert demo_tenant.make_or_find(directory.target, kept, seats=5) == first
    assert demo_tenant.make_or_find(directory.target, replace(kept, demo=first), seats=None) == first
    assert len(sources(support, first["tenant"])) == 2


def test_an_older_tenant_without_a_connection_or_an_administrator_gets_them(directory: ServedDirectory, support, kept):
    made = demo_tenant.make_or_find(directory.target, kept, seats=5)
    old = {name: made[name] for name in ("tenant", "account", "sftp_source", "login")}
    older = replace(kept, demo=old, setup_id=Kept.make("").setup_id)  # its requests were others
    found = demo_tenant.make_or_find(directory.target, older, seats=None)
    assert {name: found[name] for name in old} == old
    assert [source.name for source in sources(support, made["tenant"])][-1] == found["scim_source"]
    assert found["scim_source"] != made["scim_source"]
    assert sign_in(support, **found["admin_login"])
