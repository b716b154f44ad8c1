"""Write a reference register into the directory's tables as a new tenant, and read it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert
from sqlmodel import Session, SQLModel, col, select

from services.directory.rules.leaving import WayOut
from services.directory.store import ids, tables
from services.directory.store.administrator_tables import Administrator, Role
from services.directory.store.people_tables import FormerClaim as FormerClaimRow
from services.directory.store.people_tables import ReservedGroupId
from services.directory.store.session import Store
from tests.reference.values import MANUAL, Claim, FormerClaim, Group, Membership, Register, User

NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass
class Seeded:
    """A register's names and the ids that stand for them."""

    tenant_id: int
    now: datetime
    accounts: Mapping[str, int]
    groups: Mapping[str, int]
    sources: Mapping[str, int]
    users: Mapping[str, int]
    user_names: dict[int, str] = field(default_factory=dict)

    def source_name(self, source_id: int) -> str:
        """Name who owns a user."""
        return {number: name for name, number in self.sources.items()}.get(source_id, MANUAL)

    def name_newcomer(self, user_id: int, external_id: str, register: Register) -> str:
        """Name somebody new as the model does: the external id, primed as often as it takes."""
        name = external_id
        while name in register.users:
            name += "'"
        self.user_names[user_id] = name
        return name


def seed(
    store: Store, register: Register, *, now: datetime, row_hashes: Mapping[tuple[str, str], str] | None = None
) -> Seeded:
    """Write the register; `row_hashes` are kept with claims, by source and UniqueID."""
    with store.write(None) as session:
        session.connection().execute(delete(Administrator))  # a mail signs in once, whatever the tenant
        [tenant_id] = ids.reserve_ids(session.connection(), "tenant", 1)
        seeded = Seeded(
            tenant_id=tenant_id,
            now=now,
            accounts=_number(session, "account", register.accounts),
            groups=_number(session, "group", register.groups),
            sources=_number(session, "source", register.sources),
            users=_number(session, "user", register.users),
        )
        seeded.user_names.update({number: name for name, number in seeded.users.items()})
        main_account_id = seeded.accounts[next(iter(register.accounts))]
        _insert(
            session, tables.Tenant, [{"id": tenant_id, "display_name": "t", "main_account_id": main_account_id}], now
        )
    with store.write(tenant_id) as session:
        rows = _rows(register, seeded, row_hashes or {})
        for table, values in rows.items():
            _insert(session, table, [{"tenant_id": tenant_id, **value} for value in values], now)
    return seeded


def _last_of_each(register: Register) -> Sequence[FormerClaim]:
    """Claims that ended with their users."""
    return [former for former in register.former_claims.values() if former.with_user]


def _state(user: User) -> tables.UserState:
    if user.active:
        return tables.UserState.ACTIVE
    return tables.UserState.DORMANT if user.dormant else tables.UserState.DELETED


def _way_out(user: User) -> WayOut:
    if user.active:
        return WayOut.NONE
    return WayOut.DEACTIVATED if user.dormant else WayOut.NOT_IN_FILE


def _number(session: Session, sequence: str, names: Mapping[str, object]) -> dict[str, int]:
    numbers = ids.reserve_ids(session.connection(), sequence, len(names)) if names else []
    return dict(zip(names, numbers, strict=True))


def _insert(session: Session, table: type[SQLModel], rows: Sequence[dict[str, Any]], now: datetime) -> None:
    columns = table.__table__.columns.keys()  # type: ignore[attr-defined]
    times = {name: now for name in ("create_time", "update_time") if name in columns}
    if rows:
        session.connection().execute(insert(table), [{**times, **row} for row in rows])


def _rows(
    register: Register, seeded: Seeded, row_hashes: Mapping[tuple[str, str], str]
) -> dict[type[SQLModel], list[dict[str, Any]]]:
    """Rows by table, in the order in which tables refer to each other."""
    origin = {MANUAL: tables.MANUAL, **seeded.sources}
    users = register.users
    main_account = next(iter(register.accounts))
    left_at = {former.user: seeded.now - timedelta(days=former.days_ago) for former in _last_of_each(register)}
    return {
        tables.License: [
            {"seats_total": register.seats_total, "seats_used": sum(user.active for user in users.values())}
        ],
        tables.Account: [
            {
                "id": seeded.accounts[name],
                "parent_id": 0 if name == main_account else seeded.accounts[register.parents.get(name, main_account)],
                "display_name": name,
                "main_group_id": seeded.groups[main_group],
            }
            for name, main_group in register.accounts.items()
        ],
        tables.Group: [
            {
                "id": seeded.groups[name],
                "account_id": seeded.accounts[group.account],
                "display_name": name,
                "external_id": group.group_external_id,
                "is_main": group.is_main,
                "owner_source_id": origin[group.owner],
            }
            for name, group in register.groups.items()
        ],
        ReservedGroupId: [
            {"external_id": external_id, "group_id": 0} for external_id in sorted(register.reserved_group_ids)
        ],
        Administrator: [
            {"id": number, "role": Role.TENANT, "email": email}
            for number, email in enumerate(sorted(register.administrators), start=1)
        ],
        tables.Source: [
            {
                "id": number,
                "display_name": name,
                "position": register.sources[name].position,
                "kind": tables.SourceKind.SCIM if register.sources[name].is_scim else tables.SourceKind.SFTP,
                "allowed_networks": [],
                "limits": {},
                "report_to": [],
            }
            for name, number in seeded.sources.items()
        ],
        tables.User: [
            {
                "id": seeded.users[name],
                "email": user.email,
                "display_name": user.display_name,
                "title": user.title,
                "phone": user.phone,
                "secondary_phone": user.secondary_phone,
                "owner_source_id": origin[user.owner],
                "state": _state(user),
                "password_reset_required": user.password_reset_required,
                "way_out": _way_out(user),
                "leave_time": None if user.active else left_at.get(name, seeded.now),
            }
            for name, user in users.items()
        ],
        tables.Claim: [
            {
                "source_id": seeded.sources[source],
                "external_id": external_id,
                "user_id": seeded.users[claim.user],
                "missed_files": claim.missed_files,
                "deletion_left_out": claim.deletion_left_out,
                "row_hash": row_hashes.get((source, external_id)),
            }
            for (source, external_id), claim in register.claims.items()
        ],
        FormerClaimRow: [
            {
                "source_id": seeded.sources[source],
                "external_id": external_id,
                "user_id": seeded.users[former.user],
                "end_time": seeded.now - timedelta(days=former.days_ago, hours=0 if former.with_user else 1),
            }
            for (source, external_id), former in register.former_claims.items()
        ],
        tables.Membership: [
            {
                "group_id": seeded.groups[entry.group],
                "user_id": seeded.users[entry.user],
                "origin_source_id": origin[entry.origin],
            }
            for entry in register.memberships
        ],
    }


def read_register(store: Store, seeded: Seeded, before: Register) -> Register:
    """Read the tenant back, with the names of `before` for whatever was there; the sources are `before`'s own."""
    sources = {number: name for name, number in seeded.sources.items()} | {tables.MANUAL: MANUAL}
    with store.read(seeded.tenant_id) as session:
        found = {table: _all(session, table, seeded.tenant_id) for table in (tables.Claim, tables.Group, tables.User)}
        memberships = _all(session, tables.Membership, seeded.tenant_id)
        former_claims = _all(session, FormerClaimRow, seeded.tenant_id)
        [license_] = _all(session, tables.License, seeded.tenant_id)
    user_names = dict(seeded.user_names)
    for claim in found[tables.Claim]:
        if claim.user_id not in user_names:
            user_names[claim.user_id] = seeded.name_newcomer(claim.user_id, claim.external_id, before)
    left_at = {user.id: user.leave_time for user in found[tables.User] if user.leave_time is not None}
    account_names = {number: name for name, number in seeded.accounts.items()}
    group_names = {number: name for name, number in seeded.groups.items()}
    for group in found[tables.Group]:
        group_names.setdefault(group.id, f"new:{group.external_id}")
    after = replace(
        before,
        users={user_names[user.id]: _user(user, sources) for user in found[tables.User]},
        claims={
            (sources[claim.source_id], claim.external_id): Claim(
                user_names[claim.user_id], claim.missed_files, claim.deletion_left_out
            )
            for claim in found[tables.Claim]
        },
        former_claims={
            (sources[former.source_id], former.external_id): FormerClaim(
                user_names[former.user_id],
                (seeded.now - former.end_time).days,
                with_user=former.end_time >= left_at.get(former.user_id, NEVER),
            )
            for former in sorted(former_claims, key=lambda former: former.end_time)
        },
        groups={
            group_names[group.id]: Group(
                account_names[group.account_id], group.external_id, sources[group.owner_source_id], group.is_main
            )
            for group in found[tables.Group]
        },
        memberships=frozenset(
            Membership(user_names[entry.user_id], group_names[entry.group_id], sources[entry.origin_source_id])
            for entry in memberships
        ),
        seats_total=license_.seats_total,
    )
    assert license_.seats_used == sum(user.active for user in after.users.values()), "seats_used has drifted"
    return after


def read_row_hashes(store: Store, seeded: Seeded) -> dict[tuple[str, str], str]:
    """Read which rows are settled: the hashes kept with claims, by source and UniqueID."""
    sources = {number: name for name, number in seeded.sources.items()}
    with store.read(seeded.tenant_id) as session:
        claims = _all(session, tables.Claim, seeded.tenant_id)
    return {(sources[claim.source_id], claim.external_id): claim.row_hash for claim in claims if claim.row_hash}


def _all(session: Session, table: Any, tenant_id: int) -> Sequence[Any]:
    return session.exec(select(table).where(col(table.tenant_id) == tenant_id)).all()


def _user(user: tables.User, sources: Mapping[int, str]) -> User:
    return User(
        email=user.email,
        display_name=user.display_name,
        title=user.title,
        phone=user.phone,
        secondary_phone=user.secondary_phone,
        owner=sources[user.owner_source_id],
        active=user.state == tables.UserState.ACTIVE,
        dormant=user.state == tables.UserState.DORMANT,
        password_reset_required=user.password_reset_required,
    )
