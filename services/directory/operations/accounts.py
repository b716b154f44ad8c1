"""Create and read accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from services.directory.operations.groups import member_counts
from services.directory.operations.tenants import add_account, get_tenant
from services.directory.rules import text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import NotFound
from services.directory.rules.names import ACCOUNT
from services.directory.store import ids
from services.directory.store.events import Actor, append_event
from services.directory.store.tables import Account


@dataclass(frozen=True)
class AccountView:
    """An account and how many people are in it."""

    account: Account
    user_count: int


def create_account(
    session: Session, tenant_id: int, display_name: str, parent_id: int, *, actor: Actor, now: datetime
) -> AccountView:
    """Make a sub-account and its main group; `parent_id` 0 is the main account. Errors: InvalidArgument, NotFound."""
    checks = FieldChecks()
    name = checks.parse("display_name", text.parse_display_name, display_name)
    checks.end()
    parent_id = parent_id or get_tenant(session, tenant_id).main_account_id
    require_account(session, tenant_id, parent_id)
    account = add_account(
        session,
        tenant_id,
        account_id=ids.next_id(session, "account"),
        display_name=name,
        now=now,
        parent_id=parent_id,
    )
    append_event(
        session,
        tenant_id,
        kind="account.created",
        resource=("acc", account.id),
        actor=actor,
        now=now,
        after={"display_name": name, "parent": ACCOUNT.format(tenant_id, parent_id)},
    )
    return AccountView(account, user_count=0)


def get_account(session: Session, tenant_id: int, account_id: int) -> AccountView:
    """Read one account. Errors: NotFound."""
    return _with_counts(session, tenant_id, [require_account(session, tenant_id, account_id)])[0]


def list_accounts(session: Session, tenant_id: int, *, after_id: int, limit: int) -> list[AccountView]:
    """Read accounts in order of creation, past `after_id`; the main account is the first."""
    query = select(Account).where(col(Account.tenant_id) == tenant_id, col(Account.id) > after_id)
    return _with_counts(session, tenant_id, list(session.exec(query.order_by(col(Account.id)).limit(limit))))


def require_account(session: Session, tenant_id: int, account_id: int) -> Account:
    """Read one account's row. Errors: NotFound."""
    account = session.get(Account, (tenant_id, account_id))
    if account is None:
        raise NotFound(resource=ACCOUNT.format(tenant_id, account_id))
    return account


def _with_counts(session: Session, tenant_id: int, accounts: Sequence[Account]) -> list[AccountView]:
    counts = member_counts(session, tenant_id, [account.main_group_id for account in accounts])
    return [AccountView(account, counts.get(account.main_group_id, 0)) for account in accounts]
