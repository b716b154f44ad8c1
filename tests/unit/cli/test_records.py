"""Tenants, accounts, groups, users, licenses, messages and events as scripts read them."""

import pytest
from google.protobuf import struct_pb2, timestamp_pb2
from muster.directory.v1 import (
    accounts_pb2,
    events_pb2,
    groups_pb2,
    invitations_pb2,
    licenses_pb2,
    tenants_pb2,
    users_pb2,
)
from muster.notifier.v1 import messages_pb2
from muster.runtime.errors import RpcError

TENANT = "tenants/ten_1"


def a_user(**fields):
    return users_pb2.User(
        **{
            "name": f"{TENANT}/users/usr_1",
            "display_name": "Ada Ek",
            "email": "ada@northlake.example",
            "state": users_pb2.USER_STATE_ACTIVE,
        }
        | fields
    )


def test_tenant_create_prints_the_tenant_and_its_main_account(services, muster):
    made = tenants_pb2.Tenant(name=TENANT, main_account=f"{TENANT}/accounts/acc_1")
    services.answer("CreateTenant", tenants_pb2.CreateTenantResponse(tenant=made))
    answer = muster("tenant", "create", "Northlake", "--seats", "200", "--language", "sv")
    assert answer.document == {"tenant": TENANT, "account": f"{TENANT}/accounts/acc_1"}
    (request,) = services.requests("CreateTenant")
    assert (request.display_name, request.seats_total, request.language) == ("Northlake", 200, "sv")
    assert request.request_id


def test_a_list_is_read_to_its_last_page(services, muster):
    first = accounts_pb2.Account(name="a", display_name="Main", main_group="g", user_count=3)
    second = accounts_pb2.Account(name="b", display_name="Elm School", parent="a", main_group="h")
    services.answer(
        "ListAccounts",
        accounts_pb2.ListAccountsResponse(accounts=[first], next_page_token="next"),
        accounts_pb2.ListAccountsResponse(accounts=[second]),
    )
    assert muster("account", "list", "--tenant", TENANT).document == {
        "accounts": [
            {"account": "a", "name": "Main", "parent": None, "main_group": "g", "user_count": 3},
            {"account": "b", "name": "Elm School", "parent": "a", "main_group": "h", "user_count": 0},
        ]
    }
    assert [request.page_token for request in services.requests("ListAccounts")] == ["", "next"]


def test_group_list_says_kind_and_owner_in_words(services, muster):
    synced = groups_pb2.Group(
        name="g", display_name="Staff", group_external_id="DEPT-1", account="a", kind=groups_pb2.GROUP_KIND_SYNCED
    )
    services.answer("ListGroups", groups_pb2.ListGroupsResponse(groups=[synced]))
    (group,) = muster("group", "list", "--tenant", TENANT).document["groups"]
    assert group == {
        "group": "g",
        "name": "Staff",
        "group_id": "DEPT-1",
        "account": "a",
        "kind": "synced",
        "owner": "manual",
        "member_count": 0,
    }


def test_group_members_say_who_put_them_there(services, muster):
    memberships = [
        groups_pb2.Membership(user="u", email="u@x.example", source="s2", sources=["s1", "s2"], is_by_hand=True),
        groups_pb2.Membership(user="v", email="v@x.example", is_by_hand=True),
    ]
    services.answer("ListMemberships", groups_pb2.ListMembershipsResponse(memberships=memberships))
    members = muster("group", "members", "g").document["members"]
    assert [member["source"] for member in members] == ["s2", "manual"]
    assert [member["sources"] for member in members] == [["manual", "s1", "s2"], ["manual"]]


def test_user_list_shows_groups_and_accounts_by_name(services, muster):
    user = a_user(
        owner=f"{TENANT}/sources/src_1",
        owner_display_name="Personnel",
        external_id="EMP-0000001",
        phone="+46701740605",
        group_display_names=["Staff"],
        account_display_names=["Elm School"],
    )
    services.answer("ListUsers", users_pb2.ListUsersResponse(users=[user]))
    answer = muster("user", "list", "--tenant", TENANT, "--email", "ada@northlake.example", "--all")
    assert answer.document["users"] == [
        {
            "user": f"{TENANT}/users/usr_1",
            "name": "Ada Ek",
            "email": "ada@northlake.example",
            "title": None,
            "phone": "+46701740605",
            "secondary_phone": None,
            "external_id": "EMP-0000001",
            "owner": f"{TENANT}/sources/src_1",
            "owner_name": "Personnel",
            "state": "active",
            "invitation": "none",
            "password_reset_required": False,
            "groups": ["Staff"],
            "accounts": ["Elm School"],
        }
    ]
    (request,) = services.requests("ListUsers")
    assert request.show_deleted
    assert request.email == "ada@northlake.example"


def test_user_create_passes_every_group(services, muster):
    services.answer("CreateUser", users_pb2.CreateUserResponse(user=a_user()))
    answer = muster("user", "create", "Ada Ek", "ada@x.example", "--account", "a", "--group", "g", "--group", "h")
    assert answer.document == {"user": f"{TENANT}/users/usr_1"}
    assert list(services.requests("CreateUser")[0].groups) == ["g", "h"]


def test_license_refused_lists_who_waits_for_a_seat(services, muster):
    refusal = licenses_pb2.Refusal(
        source="s",
        user_name="ada@x.example",
        attempts=2,
        first_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
        last_time=timestamp_pb2.Timestamp(seconds=1_700_000_060),
    )
    services.answer("ListRefusals", licenses_pb2.ListRefusalsResponse(refusals=[refusal], total=1))
    assert muster("license", "refused", "--tenant", TENANT).document == {
        "refused": [
            {
                "source": "s",
                "user_name": "ada@x.example",
                "external_id": None,
                "attempts": 2,
                "first": "2023-11-14T22:13:20Z",
                "last": "2023-11-14T22:14:20Z",
            }
        ]
    }
    assert services.requests("ListRefusals")[0].license == f"{TENANT}/license"


def test_a_dormant_user_is_shown_as_such(services, muster):
    services.answer("GetUser", users_pb2.GetUserResponse(user=a_user(state=users_pb2.USER_STATE_DORMANT)))
    assert muster("user", "show", "u").document["state"] == "dormant"


def test_license_show_prints_total_used_and_refused(services, muster):
    seats = licenses_pb2.License(seats_total=10, seats_used=4)
    services.answer("GetLicense", licenses_pb2.GetLicenseResponse(license=seats))
    services.answer("ListRefusals", licenses_pb2.ListRefusalsResponse(total=3))
    answer = muster("license", "show", "--tenant", TENANT)
    assert answer.document == {"seats_total": 10, "seats_used": 4, "seats_over": 0, "refused": 3}
    assert services.requests("GetLicense")[0].name == f"{TENANT}/license"


def test_license_set_below_what_is_used_says_so(services, muster):
    seats = licenses_pb2.License(seats_total=2, seats_used=5)
    services.answer("UpdateLicense", licenses_pb2.UpdateLicenseResponse(license=seats))
    answer = muster("license", "set", "--tenant", TENANT, "--seats", "2")
    assert answer.document == {"seats_total": 2, "seats_used": 5, "seats_over": 3}
    assert answer.err.startswith("5 active users, and 2 seats: nobody loses access")
    assert "until there are 6 seats, or fewer users" in answer.err


@pytest.mark.parametrize(
    ("total", "used", "said"),
    [
        (0, 0, "The tenant has no seats: nobody can be added."),
        (0, 4, "4 active users, and no seats: nobody loses access"),
        (4, 4, "4 active users, and 4 seats: nobody loses access"),
        (5, 4, ""),
    ],
)
def test_what_a_license_without_a_free_seat_means_is_said(services, muster, total, used, said):
    seats = licenses_pb2.License(seats_total=total, seats_used=used)
    services.answer("UpdateLicense", licenses_pb2.UpdateLicenseResponse(license=seats))
    assert muster("license", "set", "--tenant", TENANT, "--seats", str(total)).err.startswith(said)


def test_messages_say_kind_and_state_in_words(services, muster):
    message = messages_pb2.Message(
        name="m", kind=messages_pb2.MESSAGE_KIND_NO_FILE, to="r@x.example", state=messages_pb2.MESSAGE_STATE_SENT
    )
    services.answer("ListMessages", messages_pb2.ListMessagesResponse(messages=[message]))
    (shown,) = muster("messages", "list", "--tenant", TENANT).document["messages"]
    assert (shown["kind"], shown["state"], shown["attempts"]) == ("no_file", "sent", 0)


def an_invitation(**fields):
    return invitations_pb2.Invitation(
        name=f"{TENANT}/invitations/inv_1",
        user=f"{TENANT}/users/usr_1",
        email="ada@northlake.example",
        expire_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
        **fields,
    )


def test_invite_names_all_users_in_one_call(services, muster):
    made = an_invitation(state=users_pb2.INVITATION_STATE_PENDING)
    services.answer("BatchCreateInvitations", invitations_pb2.BatchCreateInvitationsResponse(invitations=[made]))
    answer = muster("invite", f"{TENANT}/users/usr_1", f"{TENANT}/users/usr_2")
    assert answer.document == {
        "invitations": [
            {
                "invitation": f"{TENANT}/invitations/inv_1",
                "user": f"{TENANT}/users/usr_1",
                "email": "ada@northlake.example",
                "state": "pending",
                "expires": "2023-11-14T22:13:20Z",
                "sent": None,
                "run": None,
            }
        ]
    }
    (request,) = services.requests("BatchCreateInvitations")
    assert (request.tenant, list(request.users)) == (TENANT, [f"{TENANT}/users/usr_1", f"{TENANT}/users/usr_2"])
    assert request.request_id


def test_invitations_are_listed_by_state_and_revoked_by_name(services, muster):
    sent = an_invitation(state=users_pb2.INVITATION_STATE_SENT)
    gone = an_invitation(state=users_pb2.INVITATION_STATE_REVOKED)
    services.answer("ListInvitations", invitations_pb2.ListInvitationsResponse(invitations=[sent]))
    services.answer("RevokeInvitation", invitations_pb2.RevokeInvitationResponse(invitation=gone))
    (shown,) = muster("invitations", "list", "--tenant", TENANT, "--state", "sent").document["invitations"]
    assert shown["state"] == "sent"
    assert list(services.requests("ListInvitations")[0].states) == [users_pb2.INVITATION_STATE_SENT]
    assert muster("invitations", "revoke", sent.name).document["state"] == "revoked"
    assert services.requests("RevokeInvitation")[0].name == sent.name


def test_a_users_invitation_is_shown_in_a_word(services, muster):
    invited = a_user(invitation=users_pb2.INVITATION_STATE_EXPIRED)
    services.answer("GetUser", users_pb2.GetUserResponse(user=invited))
    assert muster("user", "show", "u").document["invitation"] == "expired"


def test_events_are_asked_for_as_the_command_line_says(services, muster):
    services.answer("ListEvents", events_pb2.ListEventsResponse(), events_pb2.ListEventsResponse())
    muster("events", "list", "--tenant", TENANT)
    muster("events", "list", "--tenant", TENANT, "--resource", "u", "--archived", "--newest-first")
    plain, asked = services.requests("ListEvents")
    assert (plain.resource, plain.archived, plain.newest_first) == ("", False, False)
    assert (asked.resource, asked.archived, asked.newest_first) == ("u", True, True)


def test_a_message_is_sent_once_more_by_its_name(services, muster):
    answer = messages_pb2.ResendMessageResponse(
        message=messages_pb2.Message(name="m", state=messages_pb2.MESSAGE_STATE_QUEUED, attempts=2)
    )
    services.answer("ResendMessage", answer)
    shown = muster("messages", "resend", f"{TENANT}/messages/msg_1").document
    assert (shown["state"], shown["attempts"]) == ("queued", 2)
    assert services.requests("ResendMessage")[0].name == f"{TENANT}/messages/msg_1"


def test_previews_are_shown_or_written_as_files(services, muster, tmp_path):
    preview = messages_pb2.Preview(
        name="key_expires", kind=messages_pb2.MESSAGE_KIND_KEY, subject="S", text="Text", html="<p>Text</p>"
    )
    services.answer("PreviewMessages", messages_pb2.PreviewMessagesResponse(previews=[preview]))
    asked = ("messages", "preview", "key", "--tenant", TENANT, "--language", "sv", "--into", str(tmp_path / "seen"))
    (shown,) = muster(*asked).document["previews"]
    assert (shown["preview"], shown["kind"], shown["text"]) == ("key_expires", "key", "Text")
    (request,) = services.requests("PreviewMessages")
    assert (request.kind, request.language) == (messages_pb2.MESSAGE_KIND_KEY, "sv")
    assert (tmp_path / "seen" / "key_expires.html").read_text() == "<p>Text</p>"
    assert (tmp_path / "seen" / "key_expires.txt").read_text() == "Text"


def test_events_keep_values_before_and_after(services, muster):
    before, after = struct_pb2.Struct(), struct_pb2.Struct()
    before.update({"title": "Cook"})
    after.update({"title": "Teacher"})
    event = events_pb2.Event(
        name="e",
        time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
        actor="s",
        kind="user.updated",
        resource="u",
        fields=["title"],
        before=before,
        after=after,
    )
    services.answer("ListEvents", events_pb2.ListEventsResponse(events=[event]))
    (shown,) = muster("events", "list", "--tenant", TENANT, "--kind", "user.*").document["events"]
    assert shown["time"] == "2023-11-14T22:13:20Z"
    assert (shown["fields"], shown["before"], shown["after"]) == (["title"], {"title": "Cook"}, {"title": "Teacher"})


def test_a_long_table_ends_with_how_many_more(services, muster):
    users = [a_user(name=f"u{number}") for number in range(25)]
    services.answer("ListUsers", users_pb2.ListUsersResponse(users=users))
    answer = muster("user", "list", "--tenant", TENANT, as_json=False)
    assert "u19" in answer.out
    assert "u20" not in answer.out
    assert "and 5 more" in answer.out


def test_a_name_cannot_move_the_cursor(services, muster):
    user = a_user(display_name="Eve\x1b[2J [red]Ek")
    services.answer("GetUser", users_pb2.GetUserResponse(user=user))
    answer = muster("user", "show", "u", as_json=False)
    assert "\x1b" not in answer.out
    assert "Eve[2J [red]Ek" in answer.out


def test_an_error_is_one_line_on_stderr_with_cause_and_cure(services, muster, capsys):
    class UserMissingError(RpcError):
        reason = "NOT_FOUND"

    services.answer("GetUser", UserMissingError("no such user:\ntenants/x"))
    assert muster("user", "show", "tenants/x").status == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err == (
        "muster: no such user: tenants/x (NOT_FOUND); check the name with the matching `list` command\n"
    )


def test_an_error_names_the_fields_it_is_about(services, muster, capsys):
    class WrongError(RpcError):
        reason = "INVALID_ARGUMENT"

    services.answer("CreateUser", WrongError("the request is wrong", violations=[("email", "is no address")]))
    assert muster("user", "create", "Ada", "ada", "--account", "a").status == 1
    assert "email: is no address" in capsys.readouterr().err
