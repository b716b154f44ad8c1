"""What the register keeps twice is compared: each disagreement is named, and a healthy register has none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from muster.directory.v1 import operations_pb2 as pb
from muster.directory.v1 import sources_pb2, users_pb2
from sqlalchemy import text

from services.directory.operations.integrity import problems_of
from services.directory.operations.integrity_checks import CHECKS
from services.directory.operations.leaving import leave
from services.directory.rules import names
from services.directory.rules.leaving import WayOut
from tests.integration.directory.connection import connect
from tests.integration.directory.nights import SOMEBODY, Night
from tests.integration.directory.serving import Office, refused

BROKEN = {
    "seats_used": ["UPDATE licenses SET seats_used = seats_used - 1 WHERE tenant_id = :t"],
    "main_group": ["UPDATE accounts SET main_group_id = 1 WHERE tenant_id = :t AND id = :school"],
    "main_group_of_no_account": ["UPDATE groups SET is_main = true WHERE tenant_id = :t AND id = :group"],
    "account_tree": ["UPDATE accounts SET parent_id = 0 WHERE tenant_id = :t AND id = :school"],
    "group_owner": ["UPDATE groups SET owner_source_id = 99999999 WHERE tenant_id = :t AND id = :group"],
    "membership_of_inactive": [
        (
            "INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)"
            " SELECT :t, main_group_id, :gone, 0 FROM accounts WHERE tenant_id = :t AND id = :school"
        )
    ],
    "outside_account": [
        "INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id) VALUES (:t, :group, :manual, 0)",
        "DELETE FROM memberships WHERE tenant_id = :t AND user_id = :manual AND group_id <> :group",
    ],
    "membership_origin": [
        "UPDATE memberships SET origin_source_id = 99999999 WHERE tenant_id = :t AND user_id = :manual",
    ],
    "sleeping_membership": [
        (
            "INSERT INTO sleeping_memberships (tenant_id, group_id, user_id, origin_source_id)"
            " VALUES (:t, :group, :manual, 0)"
        )
    ],
    "mail_twice": ["UPDATE users SET email = 'PROVIDED@example.org' WHERE tenant_id = :t AND id = :manual"],
    "way_out": ["UPDATE users SET leave_time = create_time WHERE tenant_id = :t AND id = :manual"],
    "erased_user": ["UPDATE users SET title = 'Boss' WHERE tenant_id = :t AND erase_time IS NOT NULL"],
    "user_owner": ["UPDATE users SET owner_source_id = 99999999 WHERE tenant_id = :t AND id = :manual"],
    "invitation_of_inactive": [
        (
            "INSERT INTO invitations (tenant_id, id, user_id, state, create_time, expire_time)"
            " SELECT :t, 1, :gone, 1, create_time, create_time FROM users WHERE tenant_id = :t AND id = :gone"
        )
    ],
    "claim_of_inactive": [
        "INSERT INTO claims (tenant_id, source_id, external_id, user_id) VALUES (:t, :source, 'KEY-OF-NOBODY', :gone)"
    ],
    "claim_owner": [
        "INSERT INTO claims (tenant_id, source_id, external_id, user_id) VALUES (:t, :source, 'KEY-OF-HAND', :manual)"
    ],
    "owner_without_claim": ["UPDATE users SET owner_source_id = :source WHERE tenant_id = :t AND id = :manual"],
    "provisioned_user": [
        (
            "INSERT INTO provisioned_resources (tenant_id, source_id, kind, resource_id, document, folded)"
            " VALUES (:t, :source, 1, 99999999, '{}', '{}')"
        )
    ],
    "provisioned_group": [
        (
            "INSERT INTO provisioned_resources (tenant_id, source_id, kind, resource_id, document, folded)"
            " VALUES (:t, :source, 2, :group, '{}', '{}')"
        )
    ],
    "open_run": [
        (
            "INSERT INTO import_runs (tenant_id, id, source_id, status, file, counts, active_until, create_time)"
            " SELECT :t, 1, :source, 1, '{}', '{}', create_time, create_time FROM sources"
            " WHERE tenant_id = :t AND id = :source"
        )
    ],
    "no_created_event": ["DELETE FROM events WHERE tenant_id = :t AND resource_id = :manual AND kind = 'user.created'"],
    "last_event": [
        (
            "UPDATE events SET kind = 'user.restored' WHERE tenant_id = :t AND resource_id = :gone"
            " AND kind = 'user.deleted'"
        )
    ],
}
"""What breaks each invariant, and nothing else."""


@pytest.fixture(scope="module")
def story(store, directory, support):
    """A tenant in which much has happened, by the names under which BROKEN knows its rows."""
    office = Office(support)
    connection = connect(directory, office)
    provided, asleep = connection.create("provided@example.org"), connection.create("asleep@example.org")
    connection.create_group("Crisis", "CRISIS", members=[provided.id, asleep.id])
    connection.set_active(asleep, active=False)
    connection.delete(connection.create("deleted@example.org").id)
    connection.create("never@example.org", active=False)
    school = office.account()
    group = office.group(account=school.name)
    manual, gone, erased = (office.user(account=office.main_account).name for _ in range(3))
    office.change_members(group.name, add=[gone])
    with store.write(office.tenant_id) as session:
        leave(session, office.tenant_id, [_number(gone)], WayOut.BY_HAND, actor=SOMEBODY, now=directory.clock())
    support.users.EraseUser(users_pb2.EraseUserRequest(name=erased))
    other = connect(directory, office, name="Left")
    other.create_group("Left", "LEFT", members=[other.create().id])
    users = sources_pb2.DETACHED_USERS_KEEP_AS_MANUAL
    support.sources.DetachSource(sources_pb2.DetachSourceRequest(name=other.source, users=users))
    kept = {"manual": manual, "gone": gone, "school": school.name, "group": group.name, "source": connection.source}
    return office, {word: _number(name) for word, name in kept.items()}


def check(support, tenant=""):
    answers = support.operations.CheckIntegrity(pb.CheckIntegrityRequest(tenant=tenant))
    return [answer.problem for answer in answers]


def test_every_check_has_a_way_to_break_it():
    assert {each.kind for each in CHECKS} == set(BROKEN)


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_invariant_is_named_and_no_other(store, directory, story, kind):
    office, ids = story
    with store.write(office.tenant_id) as session:
        assert problems_of(session, office.tenant_id, now=directory.clock()) == []
        for statement in BROKEN[kind]:
            bound = {word: number for word, number in ids.items() if f":{word}" in statement}
            assert session.connection().execute(text(statement), {"t": office.tenant_id, **bound}).rowcount >= 1
        found = problems_of(session, office.tenant_id, now=directory.clock() + timedelta(hours=1))
        session.rollback()
    assert {problem.kind for problem in found} == {kind}
    assert all(problem.resource.startswith(office.name) and "{" not in problem.message for problem in found)


def test_a_register_that_lived_through_nights_is_healthy(store, directory, support):
    night = Night(store, directory.stages, directory.clock)
    night.apply(night.plan("anna", "bo", "cecilia"))
    night.apply(night.plan("anna/Anna Berg", "bo"))
    assert check(support, names.TENANT.format(night.tenant_id)) == []


def test_support_is_told_of_all_tenants_or_of_one(store, support, story):
    office, _ = story
    seats = "UPDATE licenses SET seats_used = seats_used + {} WHERE tenant_id = :t"
    other = Office(support)
    with store.write(office.tenant_id) as session:
        session.connection().execute(text(seats.format(1)), {"t": office.tenant_id})
    try:
        for tenant in ("", office.name):
            (problem,) = check(support, tenant)
            assert (problem.tenant, problem.kind, problem.resource) == (office.name, "seats_used", office.license)
            assert problem.message.endswith("users are active")
        assert check(support, other.name) == []
    finally:
        with store.write(office.tenant_id) as session:
            session.connection().execute(text(seats.format(-1)), {"t": office.tenant_id})


def test_a_tenant_that_is_none_is_not_found(support):
    with refused("NOT_FOUND"):
        check(support, names.TENANT.format(999_999_999))


def _number(name):
    return names.parse_id(name.rpartition("/")[2].partition("_")[0], name.rpartition("/")[2])
