"""Create, change, move, delete and read accounts: a tree with the main account on top."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from services.directory.operations.group_changes import end_memberships
from services.directory.operations.groups import lasting_account, member_counts
from services.directory.operations.scope import WHOLE_TENANT, Scope
from services.directory.operations.tenant_sql import TenantSql
from services.directory.operations.tenants import add_account, get_tenant
from services.directory.rules import text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import FailedPrecondition, NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import ACCOUNT
from services.directory.store import ids
from services.directory.store.events import Actor, Change, append_event, append_events
from services.directory.store.tables import Account, Group, Tenant

_IN_THE_WAY: Final = {
    "has_accounts": (
        "SELECT 1 FROM accounts WHERE tenant_id = :t AND parent_id = :a",
        "there are accounts below it: delete or move them first",
    ),
    "has_groups": (
        "SELECT 1 FROM groups WHERE tenant_id = :t AND account_id = :a AND NOT is_main",
        "it has groups: delete or move them first",
    ),
    "has_sources": (
        "SELECT 1 FROM sources WHERE tenant_id = :t AND account_id = :a AND delete_time IS NULL",
        "a source is linked to it: delete the source or link it to another account first",
    ),
    "has_administrators": (
        "SELECT 1 FROM administrators WHERE tenant_id = :t AND account_id = :a",
        "it has administrators of its own: delete them first (`muster admin list` names them)",
    ),
}
"""Why an account cannot be deleted → how to see it, and what to do about it."""


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
    lasting_account(session, tenant_id, parent_id)
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


def update_account(
    session: Session,
    tenant_id: int,
    account_id: int,
    changes: Mapping[str, str],
    *,
    etag: str,
    actor: Actor,
    now: datetime,
) -> AccountView:
    """Change the display_name, which the main group has, too. Errors: InvalidArgument, NotFound, StaleEtag."""
    checks = FieldChecks()
    name = checks.parse("account.display_name", text.parse_display_name, changes["display_name"])
    checks.end()
    account = _locked(session, tenant_id, account_id, etag)
    if name != account.display_name:
        before, account.display_name = account.display_name, name
        account.revision += 1
        main_group = session.get_one(Group, (tenant_id, account.main_group_id), with_for_update=True)
        main_group.display_name = name
        main_group.revision += 1
        main_group.update_time = now
        session.flush()
        change = Change(
            "account.updated", ("acc", account_id), before={"display_name": before}, after={"display_name": name}
        )
        append_events(session, tenant_id, [change], actor=actor, now=now)
    return _with_counts(session, tenant_id, [account])[0]


def move_account(
    session: Session, tenant_id: int, account_id: int, parent_id: int, *, etag: str, actor: Actor, now: datetime
) -> AccountView:
    """Put an account, with all below it, under another; `parent_id` 0 is the main account.

    Errors: NotFound, StaleEtag, FailedPrecondition.
    """
    _lock_tree(session, tenant_id)
    account = _locked(session, tenant_id, account_id, etag)
    _require_sub_account(account, "moved")
    parent_id = parent_id or get_tenant(session, tenant_id).main_account_id
    lasting_account(session, tenant_id, parent_id)
    if _is_below(TenantSql(session, tenant_id, now), parent_id, account_id):
        raise FailedPrecondition("an account cannot be put under itself or what is below it", why="below_itself")
    if parent_id != account.parent_id:
        before, after = ({"parent": ACCOUNT.format(tenant_id, each)} for each in (account.parent_id, parent_id))
        account.parent_id = parent_id
        account.revision += 1
        session.flush()
        moved = Change("account.moved", ("acc", account_id), before=before, after=after)
        append_events(session, tenant_id, [moved], actor=actor, now=now)
    return _with_counts(session, tenant_id, [account])[0]


def delete_account(
    session: Session, tenant_id: int, account_id: int, *, etag: str, actor: Actor, now: datetime
) -> None:
    """Delete an account with nothing in it but people, who leave it.

    Errors: NotFound, StaleEtag, FailedPrecondition.
    """
    _lock_tree(session, tenant_id)
    account = _locked(session, tenant_id, account_id, etag)
    _require_sub_account(account, "deleted")
    sql = TenantSql(session, tenant_id, now)
    for why, (question, what_to_do) in _IN_THE_WAY.items():
        if sql.run(f"SELECT EXISTS ({question})", a=account_id).scalar_one():
            raise FailedPrecondition(f"the account cannot be deleted: {what_to_do}", why=why)
    left = end_memberships(sql, account.main_group_id)
    before = {"display_name": account.display_name, "parent": ACCOUNT.format(tenant_id, account.parent_id)}
    session.expunge(account)
    sql.run("DELETE FROM groups WHERE tenant_id = :t AND id = :g", g=account.main_group_id)
    sql.run("DELETE FROM accounts WHERE tenant_id = :t AND id = :a", a=account_id)
    deleted = Change("account.deleted", ("acc", account_id), before=before)
    append_events(session, tenant_id, [*left, deleted], actor=actor, now=now)


def get_account(session: Session, tenant_id: int, account_id: int) -> AccountView:
    """Read one account. Errors: NotFound."""
    return _with_counts(session, tenant_id, [require_account(session, tenant_id, account_id)])[0]


def list_accounts(
    session: Session, tenant_id: int, *, scope: Scope = WHOLE_TENANT, after_id: int, limit: int, parent_id: int = 0
) -> list[AccountView]:
    """Read accounts within a scope in order of creation, past `after_id`, the main account first.

    With `parent_id` only those right below one.
    """
    query = select(Account).where(
        col(Account.tenant_id) == tenant_id, col(Account.id) > after_id, scope.holds_account(col(Account.id))
    )
    if parent_id:
        query = query.where(col(Account.parent_id) == parent_id)
    return _with_counts(session, tenant_id, list(session.exec(query.order_by(col(Account.id)).limit(limit))))


def require_account(session: Session, tenant_id: int, account_id: int) -> Account:
    """Read one account's row. Errors: NotFound."""
    account = session.get(Account, (tenant_id, account_id))
    if account is None:
        raise NotFound(resource=ACCOUNT.format(tenant_id, account_id))
    return account


def _locked(session: Session, tenant_id: int, account_id: int, etag: str) -> Account:
    account = session.get(Account, (tenant_id, account_id), with_for_update=True)
    resource = ACCOUNT.format(tenant_id, account_id)
    if account is None:
        raise NotFound(resource=resource)
    require_etag(etag, resource=resource, revision=account.revision)
    return account


def _lock_tree(session: Session, tenant_id: int) -> None:
    """Let one writer at a time move accounts: two moves at once could make a circle."""
    session.exec(select(Tenant.id).where(col(Tenant.id) == tenant_id).with_for_update(key_share=True)).one()


def _require_sub_account(account: Account, what: str) -> None:
    if not account.parent_id:
        raise FailedPrecondition(f"the main account stays on top: it cannot be {what}", why="main_account")


def _is_below(sql: TenantSql, account_id: int, other_id: int) -> bool:
    """Whether an account is another one, or somewhere below it."""
    found = sql.run(
        """
        WITH RECURSIVE above (id, parent_id) AS (
            SELECT id, parent_id FROM accounts WHERE tenant_id = :t AND id = :a
            UNION
            SELECT up.id, up.parent_id FROM accounts up JOIN above ON up.id = above.parent_id WHERE up.tenant_id = :t)
        SELECT EXISTS (SELECT 1 FROM above WHERE id = :other)
        """,
        a=account_id,
        other=other_id,
    )
    return bool(found.scalar_one())


def _with_counts(session: Session, tenant_id: int, accounts: Sequence[Account]) -> list[AccountView]:
    counts = member_counts(session, tenant_id, [account.main_group_id for account in accounts])
    return [AccountView(account, counts.get(account.main_group_id, 0)) for account in accounts]
