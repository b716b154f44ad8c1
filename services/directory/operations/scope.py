"""Keep administrators of an account to that account and those below it: one check, and conditions for lists."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, func, true
from sqlalchemy import select as columns
from sqlmodel import Session, col

from services.directory.rules.errors import PermissionDenied
from services.directory.store.people_tables import Invitation
from services.directory.store.tables import Account, Group, Membership, User


@dataclass(frozen=True)
class Scope:
    """What of a tenant a caller reaches: an account and those below it, or all of it (account 0)."""

    tenant_id: int
    account_id: int = 0

    def holds_account(self, account_id: Any) -> ColumnElement[bool]:
        """Say in SQL that an account is within."""
        return account_id.in_(_accounts(self)) if self.account_id else true()

    def holds_group(self, group_id: Any) -> ColumnElement[bool]:
        """Say in SQL that a group is within: it is one of an account within."""
        return group_id.in_(_groups(self)) if self.account_id else true()

    def holds_user(self, user_id: Any) -> ColumnElement[bool]:
        """Say in SQL that a user is within: it is in an account within."""
        return user_id.in_(_users(self)) if self.account_id else true()


WHOLE_TENANT = Scope(0)
"""No bounds but the tenant's own."""


def require_in_scope(session: Session, scope: Scope, named: Mapping[str, Collection[int]]) -> None:
    """Require that all are within: `named` has ids by the prefix of their names (`acc`, `grp`, `usr`, `inv`).

    Errors: PermissionDenied, for what does not exist, too, which is not told.
    """
    within: dict[str, tuple[Any, ColumnElement[bool]]] = {
        "acc": (Account, scope.holds_account(col(Account.id))),
        "grp": (Group, scope.holds_group(col(Group.id))),
        "usr": (User, scope.holds_user(col(User.id))),
        "inv": (Invitation, scope.holds_user(col(Invitation.user_id))),
    }
    for prefix, numbers in named.items():
        table, condition = within[prefix]
        wanted = set(numbers)
        held = columns(func.count()).where(table.tenant_id == scope.tenant_id, table.id.in_(wanted), condition)
        if session.connection().execute(held).scalar_one() != len(wanted):
            raise PermissionDenied


def _accounts(scope: Scope) -> Select[Any]:
    """UNION and not UNION ALL: each account once, so that it ends whatever the parents are."""
    top = columns(col(Account.id)).where(col(Account.tenant_id) == scope.tenant_id, col(Account.id) == scope.account_id)
    within = top.cte("accounts_within", recursive=True)
    below = columns(col(Account.id)).where(
        col(Account.tenant_id) == scope.tenant_id, col(Account.parent_id) == within.c.id
    )
    return columns(within.union(below).c.id)


def _groups(scope: Scope) -> Select[Any]:
    return columns(col(Group.id)).where(
        col(Group.tenant_id) == scope.tenant_id, col(Group.account_id).in_(_accounts(scope))
    )


def _users(scope: Scope) -> Select[Any]:
    """Being in an account is being in its main group."""
    return (
        columns(col(Membership.user_id))
        .join(
            Account,
            (col(Account.tenant_id) == scope.tenant_id) & (col(Account.main_group_id) == col(Membership.group_id)),
        )
        .where(col(Membership.tenant_id) == scope.tenant_id, col(Account.id).in_(_accounts(scope)))
    )
