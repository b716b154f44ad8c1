"""What administrators of one account reach: which methods, and which fields of their requests must stay within.

An administrator of an account tends the people, groups, accounts and invitations of that account and of those below
it, and nothing of sources, keys, imports, licenses, the tenant, or other administrators. A user is within who is in
one of those accounts: whoever has left is not, and is brought back or erased by the tenant's administrators.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Reach:
    """Fields that name accounts, groups, users or invitations: those that must be filled, and those that may be.

    `is_list`: the request names the tenant, and the operation narrows what it gives. `never_own`: the field that must
    not name the administrator's own account.
    """

    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    is_list: bool = False
    never_own: str = ""


_NAME: Final = Reach(required=("name",))

REACHES: Final = {
    f"/muster.directory.v1.{service}/{method}": reach
    for service, methods in {
        "AccountService": {
            "CreateAccount": Reach(required=("parent",)),
            "GetAccount": _NAME,
            "ListAccounts": Reach(optional=("parent",), is_list=True),
            "UpdateAccount": Reach(required=("account.name",)),
            "MoveAccount": Reach(required=("name", "parent"), never_own="name"),
            "DeleteAccount": Reach(required=("name",), never_own="name"),
        },
        "GroupService": {
            "CreateGroup": Reach(required=("account",)),
            "GetGroup": _NAME,
            "ListGroups": Reach(is_list=True),
            "ListMemberships": Reach(required=("group",)),
            "ModifyMemberships": Reach(required=("group",), optional=("add", "remove")),
            "UpdateGroup": Reach(required=("group.name",)),
            "DeleteGroup": _NAME,
            "MoveGroup": Reach(required=("name", "account")),
        },
        "UserService": {
            "CreateUser": Reach(required=("account",), optional=("groups",)),
            "GetUser": _NAME,
            "BatchGetUsers": Reach(optional=("names",), is_list=True),
            "ListUsers": Reach(optional=("account", "group"), is_list=True),
            "UpdateUser": Reach(required=("user.name",)),
            "DeleteUser": _NAME,
        },
        "InvitationService": {
            "CreateInvitation": Reach(required=("user",)),
            "BatchCreateInvitations": Reach(optional=("users",), is_list=True),
            "GetInvitation": _NAME,
            "ListInvitations": Reach(is_list=True),
            "RevokeInvitation": _NAME,
        },
    }.items()
    for method, reach in methods.items()
}
"""Full method name as gRPC has it → what of its request must be within the account."""
