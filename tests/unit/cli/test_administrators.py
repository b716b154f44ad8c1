"""`muster admin`: made with a password that is shown once, listed, reset, deleted."""

import pytest
from google.protobuf import timestamp_pb2
from muster.directory.v1 import administrators_pb2 as pb
from muster.directory.v1 import tenants_pb2
from muster.runtime.errors import RpcError

TENANT = "tenants/ten_1"
ACCOUNT = f"{TENANT}/accounts/acc_1"
NAME = f"{TENANT}/administrators/adm_1"
ANN = pb.Administrator(
    name=NAME,
    email="ann@example.org",
    role=pb.ADMINISTRATOR_ROLE_ACCOUNT,
    account=ACCOUNT,
    last_sign_in_time=timestamp_pb2.Timestamp(seconds=1_700_000_000),
)


@pytest.mark.parametrize(
    ("options", "parent", "role"),
    [
        (["--role", "support"], "", pb.ADMINISTRATOR_ROLE_SUPPORT),
        (["--role", "tenant", "--tenant", TENANT], TENANT, pb.ADMINISTRATOR_ROLE_TENANT),
        (["--role", "account", "--account", ACCOUNT], ACCOUNT, pb.ADMINISTRATOR_ROLE_ACCOUNT),
    ],
)
def test_an_administrator_is_made_and_its_password_shown_once(services, muster, options, parent, role):
    services.answer("CreateAdministrator", pb.CreateAdministratorResponse(administrator=ANN, password="p-1"))
    shown = muster("admin", "create", "ann@example.org", *options)
    assert shown.document == {"administrator": NAME, "password": "p-1"}
    assert "once" in shown.err
    (request,) = services.requests("CreateAdministrator")
    assert (request.parent, request.role, request.email) == (parent, role, "ann@example.org")
    assert request.request_id


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--role", "tenant"], "needs --tenant"),
        (["--role", "account", "--tenant", TENANT], "needs --account"),
        (["--role", "support", "--tenant", TENANT], "neither"),
        (["--role", "account", "--account", ACCOUNT, "--tenant", TENANT], "takes --account, and no other"),
    ],
)
def test_what_does_not_go_with_the_role_is_refused(services, muster, capsys, options, said):
    assert muster("admin", "create", "ann@example.org", *options).status == 1
    assert said in capsys.readouterr().err
    assert services.requests("CreateAdministrator") == []


def test_administrators_are_listed(services, muster):
    services.answer("ListAdministrators", pb.ListAdministratorsResponse(administrators=[ANN]))
    assert muster("admin", "list", "--tenant", TENANT).document == {
        "administrators": [
            {
                "administrator": NAME,
                "email": "ann@example.org",
                "name": None,
                "role": "account",
                "account": ACCOUNT,
                "totp": False,
                "last_sign_in": "2023-11-14T22:13:20Z",
            }
        ]
    }
    assert services.requests("ListAdministrators")[0].parent == TENANT


def test_without_a_tenant_those_of_all_tenants_and_accounts_are_listed_too(services, muster):
    services.answer("ListTenants", tenants_pb2.ListTenantsResponse(tenants=[tenants_pb2.Tenant(name=TENANT)]))
    root = pb.Administrator(name="administrators/adm_1", email="root@example.org")
    services.answer("ListAdministrators", pb.ListAdministratorsResponse(administrators=[root]))
    services.answer("ListAdministrators", pb.ListAdministratorsResponse(administrators=[ANN]))
    listed = muster("admin", "list").document["administrators"]
    assert [each["administrator"] for each in listed] == [root.name, NAME]
    assert [request.parent for request in services.requests("ListAdministrators")] == ["", TENANT]


def test_a_password_is_reset_and_an_administrator_deleted_by_name(services, muster):
    answer = pb.ResetAdministratorPasswordResponse(administrator=ANN, password="p-2")
    services.answer("ResetAdministratorPassword", answer)
    assert muster("admin", "reset-password", NAME).document == {"administrator": NAME, "password": "p-2"}
    services.answer("DeleteAdministrator", pb.DeleteAdministratorResponse())
    assert muster("admin", "delete", NAME).document == {"administrator": NAME}
    assert [services.requests(method)[0].name for method in ("ResetAdministratorPassword", "DeleteAdministrator")] == [
        NAME,
        NAME,
    ]


def test_a_mail_that_signs_in_already_says_what_to_do(services, muster, capsys):
    class TakenError(RpcError):
        reason = "ADMINISTRATOR_EXISTS"

    services.answer("CreateAdministrator", TakenError("an administrator signs in with this mail address already"))
    assert muster("admin", "create", "ann@example.org", "--role", "support").status == 1
    assert "muster admin reset-password" in capsys.readouterr().err
