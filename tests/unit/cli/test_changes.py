"""Tenants, accounts, groups and members changed from the command line."""

import pytest
from google.protobuf import timestamp_pb2
from muster.directory.v1 import accounts_pb2, groups_pb2, tenants_pb2, users_pb2

TENANT = "tenants/ten_1"
GROUP = groups_pb2.Group(name="g", display_name="Crew", account="a", kind=groups_pb2.GROUP_KIND_MANUAL)
ACCOUNT = accounts_pb2.Account(name="a", display_name="Elm School", parent="m")


@pytest.mark.parametrize(
    ("options", "group", "paths"),
    [
        (["--name", "Crew"], groups_pb2.Group(name="g", display_name="Crew"), ["display_name"]),
        (["--group-id", "CREW"], groups_pb2.Group(name="g", group_external_id="CREW"), ["group_external_id"]),
        (["--no-group-id"], groups_pb2.Group(name="g"), ["group_external_id"]),
    ],
)
def test_group_update_names_what_is_to_change(services, muster, options, group, paths):
    services.answer("UpdateGroup", groups_pb2.UpdateGroupResponse(group=GROUP))
    assert muster("group", "update", "g", *options).document["kind"] == "manual"
    (request,) = services.requests("UpdateGroup")
    assert (request.group, list(request.update_mask.paths)) == (group, paths)
    assert request.request_id


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["group", "update", "g"], "nothing to change"),
        (["group", "update", "g", "--group-id", "X", "--no-group-id"], "contradict"),
        (["group", "update", "g", "--group-id", " "], "--no-group-id"),
        (["tenant", "update", TENANT], "nothing to change"),
        (["user", "update", "u"], "nothing to change"),
    ],
)
def test_an_update_that_says_nothing_or_two_things_is_refused(muster, capsys, command, said):
    assert muster(*command).status == 1
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("members", "choice", "warned"),
    [("add", groups_pb2.MOVED_MEMBERS_ADD, False), ("remove", groups_pb2.MOVED_MEMBERS_REMOVE, True)],
)
def test_group_move_says_what_remove_means(services, muster, members, choice, warned):
    services.answer("MoveGroup", groups_pb2.MoveGroupResponse(group=GROUP, added=2, left=1))
    answer = muster("group", "move", "g", "--to", "a", "--members", members)
    assert (answer.document["account"], answer.document["added"], answer.document["left"]) == ("a", 2, 1)
    (request,) = services.requests("MoveGroup")
    assert (request.name, request.account, request.members) == ("g", "a", choice)
    assert ("may believe them still in it and never add them again" in answer.err) is warned


def test_group_move_does_not_guess_what_happens_to_the_people(muster):
    assert muster("group", "move", "g", "--to", "a").status == 2


def test_a_deleted_groups_id_is_listed_and_released(services, muster):
    services.answer("DeleteGroup", groups_pb2.DeleteGroupResponse())
    kept = groups_pb2.ReservedGroupId(
        group_external_id="CREW", group="g", create_time=timestamp_pb2.Timestamp(seconds=1_700_000_000)
    )
    services.answer("ListReservedGroupIds", groups_pb2.ListReservedGroupIdsResponse(reserved_group_ids=[kept]))
    services.answer("ReleaseGroupId", groups_pb2.ReleaseGroupIdResponse())
    assert muster("group", "delete", "g").document == {"group": "g", "state": "deleted"}
    assert muster("group", "reserved", "--tenant", TENANT).document == {
        "reserved": [{"group_id": "CREW", "group": "g", "source": None, "deleted": "2023-11-14T22:13:20Z"}]
    }
    assert muster("group", "release", "CREW", "--tenant", TENANT).document == {"group_id": "CREW", "state": "released"}
    (request,) = services.requests("ReleaseGroupId")
    assert (request.tenant, request.group_external_id) == (TENANT, "CREW")


def test_members_come_and_go_and_who_is_in_no_account_is_named(services, muster):
    services.answer(
        "ModifyMemberships",
        groups_pb2.ModifyMembershipsResponse(added=2),
        groups_pb2.ModifyMembershipsResponse(removed=1, left_users=["u"]),
    )
    added = muster("member", "add", "g", "u", "v")
    assert added.document == {"added": 2, "removed": 0, "left_users": []}
    removed = muster("member", "remove", "g", "u")
    assert removed.document == {"added": 0, "removed": 1, "left_users": ["u"]}
    assert "in no account any more" in removed.err
    first, second = services.requests("ModifyMemberships")
    assert (first.group, list(first.add), list(second.remove)) == ("g", ["u", "v"], ["u"])


def test_an_account_is_renamed_moved_and_deleted(services, muster):
    services.answer("UpdateAccount", accounts_pb2.UpdateAccountResponse(account=ACCOUNT))
    services.answer("MoveAccount", accounts_pb2.MoveAccountResponse(account=ACCOUNT))
    services.answer("DeleteAccount", accounts_pb2.DeleteAccountResponse())
    assert muster("account", "update", "a", "--name", "Elm School").document["name"] == "Elm School"
    assert muster("account", "move", "a", "--to", "m").document["parent"] == "m"
    assert muster("account", "delete", "a").document == {"account": "a", "state": "deleted"}
    assert services.requests("UpdateAccount")[0].account == accounts_pb2.Account(name="a", display_name="Elm School")
    assert services.requests("MoveAccount")[0].parent == "m"
    assert services.requests("DeleteAccount")[0].name == "a"


def test_a_tenant_is_changed_and_deleted_and_then_listed_on_request(services, muster):
    ended = tenants_pb2.Tenant(name=TENANT, delete_time=timestamp_pb2.Timestamp(seconds=1_700_000_000))
    services.answer("UpdateTenant", tenants_pb2.UpdateTenantResponse(tenant=tenants_pb2.Tenant(name=TENANT)))
    services.answer("DeleteTenant", tenants_pb2.DeleteTenantResponse(tenant=ended))
    services.answer("ListTenants", tenants_pb2.ListTenantsResponse(tenants=[ended]))
    assert muster("tenant", "update", TENANT, "--accept-url", "", "--language", "sv").document["deleted"] is None
    (request,) = services.requests("UpdateTenant")
    assert request.tenant == tenants_pb2.Tenant(name=TENANT, language="sv")
    assert list(request.update_mask.paths) == ["accept_url", "language"]
    assert muster("tenant", "delete", TENANT).document["deleted"] == "2023-11-14T22:13:20Z"
    assert muster("tenant", "list", "--all").document["tenants"][0]["tenant"] == TENANT
    assert services.requests("ListTenants")[0].show_deleted


PERSON = users_pb2.User(
    name="u", display_name="Ada Ek", email="ada@x.example", state=users_pb2.USER_STATE_ACTIVE, title="Cook"
)


def test_user_update_names_what_is_to_change_and_can_empty_it(services, muster):
    services.answer("UpdateUser", users_pb2.UpdateUserResponse(user=PERSON))
    assert muster("user", "update", "u", "--email", "ada@x.example", "--phone", "").document["title"] == "Cook"
    (request,) = services.requests("UpdateUser")
    assert (request.user, list(request.update_mask.paths)) == (
        users_pb2.User(name="u", email="ada@x.example"),
        ["email", "phone"],
    )
    assert request.request_id


@pytest.mark.parametrize(("owner", "warned"), [("", False), ("s", True)])
def test_user_delete_says_when_a_source_can_bring_the_user_back(services, muster, owner, warned):
    gone = users_pb2.User(name="u", state=users_pb2.USER_STATE_DELETED, owner=owner, owner_display_name="Payroll")
    services.answer("DeleteUser", users_pb2.DeleteUserResponse(user=gone))
    answer = muster("user", "delete", "u")
    assert answer.document["state"] == "deleted"
    assert ("comes back" in answer.err) is warned


def test_user_restore_shows_the_user(services, muster):
    services.answer("UndeleteUser", users_pb2.UndeleteUserResponse(user=PERSON))
    assert muster("user", "restore", "u").document["state"] == "active"
    (request,) = services.requests("UndeleteUser")
    assert request.name == "u"
