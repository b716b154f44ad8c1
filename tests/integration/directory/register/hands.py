"""What people do by hand, as calls of the directory in the model's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from google.protobuf.field_mask_pb2 import FieldMask
from muster.directory.v1 import accounts_pb2, groups_pb2, licenses_pb2, operations_pb2, sources_pb2, users_pb2

if TYPE_CHECKING:
    from tests.integration.directory.register.world import World


class Hands:
    """Vendor support's calls on one tenant."""

    def __init__(self, world: World) -> None:
        self.world, self.support = world, world.support

    # --- people ---

    def create_user(self, account: str, email: str, display_name: str, groups: Sequence[str]) -> str:
        request = users_pb2.CreateUserRequest(
            account=self.world.accounts.resource(account),
            email=email,
            display_name=display_name,
            groups=[self.world.groups.resource(group) for group in groups],
        )
        return self.support.users.CreateUser(request).user.name

    def update_user(self, user: str, **values: Any) -> None:
        changed = users_pb2.User(name=self.world.users.resource(user), **values)
        self.support.users.UpdateUser(
            users_pb2.UpdateUserRequest(user=changed, update_mask=FieldMask(paths=list(values)))
        )

    def delete_user(self, user: str) -> None:
        self.support.users.DeleteUser(users_pb2.DeleteUserRequest(name=self.world.users.resource(user)))

    def restore_user(self, user: str) -> None:
        self.support.users.UndeleteUser(users_pb2.UndeleteUserRequest(name=self.world.users.resource(user)))

    def erase_user(self, user: str) -> None:
        self.support.users.EraseUser(users_pb2.EraseUserRequest(name=self.world.users.resource(user)))

    def set_seats(self, seats: int) -> None:
        name = self.world.office.license
        self.support.licenses.UpdateLicense(licenses_pb2.UpdateLicenseRequest(name=name, seats_total=seats))

    # --- accounts and groups ---

    def create_account(self, name: str, parent: str) -> accounts_pb2.Account:
        return self.world.office.account(name, self.world.accounts.resource(parent))

    def move_account(self, account: str, parent: str) -> None:
        accounts = self.world.accounts
        self.support.accounts.MoveAccount(
            accounts_pb2.MoveAccountRequest(name=accounts.resource(account), parent=accounts.resource(parent))
        )

    def delete_account(self, account: str) -> None:
        name = self.world.accounts.resource(account)
        self.support.accounts.DeleteAccount(accounts_pb2.DeleteAccountRequest(name=name))

    def create_group(self, name: str, account: str, group_id: str) -> str:
        request = groups_pb2.CreateGroupRequest(
            account=self.world.accounts.resource(account), display_name=name, group_external_id=group_id
        )
        return self.support.groups.CreateGroup(request).group.name

    def update_group(self, group: str, group_id: str) -> None:
        changed = groups_pb2.Group(name=self.world.groups.resource(group), group_external_id=group_id)
        self.support.groups.UpdateGroup(
            groups_pb2.UpdateGroupRequest(group=changed, update_mask=FieldMask(paths=["group_external_id"]))
        )

    def delete_group(self, group: str) -> None:
        self.support.groups.DeleteGroup(groups_pb2.DeleteGroupRequest(name=self.world.groups.resource(group)))

    def move_group(self, group: str, account: str, *, with_members: bool) -> None:
        request = groups_pb2.MoveGroupRequest(
            name=self.world.groups.resource(group),
            account=self.world.accounts.resource(account),
            members=groups_pb2.MOVED_MEMBERS_ADD if with_members else groups_pb2.MOVED_MEMBERS_REMOVE,
        )
        self.support.groups.MoveGroup(request)

    def release_group_id(self, group_id: str) -> None:
        request = groups_pb2.ReleaseGroupIdRequest(tenant=self.world.office.name, group_external_id=group_id)
        self.support.groups.ReleaseGroupId(request)

    def modify_members(self, group: str, add: Sequence[str], remove: Sequence[str]) -> None:
        request = groups_pb2.ModifyMembershipsRequest(
            group=self.world.groups.resource(group),
            add=[self.world.users.resource(user) for user in add],
            remove=[self.world.users.resource(user) for user in remove],
        )
        self.support.groups.ModifyMemberships(request)

    # --- sources and upkeep ---

    def detach(self, source: str, *, keep_users: bool) -> None:
        """Detach a source, delete it, and begin anew with another."""
        name = self.world.sources.resource(source)
        users = sources_pb2.DETACHED_USERS_KEEP_AS_MANUAL if keep_users else sources_pb2.DETACHED_USERS_DELETE
        self.support.sources.DetachSource(sources_pb2.DetachSourceRequest(name=name, users=users))
        self.world.begin_anew(source)

    def purge(self) -> None:
        done = self.support.operations.PurgeExpired(operations_pb2.PurgeExpiredRequest())
        assert not done.is_under_way
