"""Write a reference register into the directory's tables as a new tenant, and read it back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlmodel import Session, SQLModel, col, select

from services.directory.store import ids, tables
from services.directory.store.session import Store
from tests.reference.values import MANUAL, Claim, Group, Membership, Register, User


@dataclass
class Seeded:
    """A register's names and the ids that stand for them."""

    tenant_id: int
    accounts: Mapping[str, int]
    groups: Mapping[str, int]
    sources: Mapping[str, int]
    users: Mapping[str, int]
    user_names: dict[int, str] = field(default_factory=dict)

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
    """Write the register in one transaction; `row_hashes` are kept with claims, by source and UniqueID."""
    with store.write(None) as session:
        [tenant_id] = ids.reserve_ids(session.connection(), "tenant", 1)
        seeded = Seeded(
            tenant_id=tenant_id,
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
        rows = _rows(register, seeded, row_hashes or {})
        for table, values in rows.items():
            _insert(session, table, [{"tenant_id": tenant_id, **value} for value in values], now)
    return seeded


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
    return {
        tables.License: [
            {"seats_total": register.seats_total, "seats_used": sum(user.active for user in users.values())}
        ],
        tables.Account: [
            {"id": seeded.accounts[name], "display_name": name, "main_group_id": seeded.groups[main_group]}
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
        tables.Source: [
            {
                "id": number,
                "display_name": name,
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
                "state": tables.UserState.ACTIVE if user.active else tables.UserState.DELETED,
                "password_reset_required": user.password_reset_required,
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
    with store.read(None) as session:
        found = {table: _all(session, table, seeded.tenant_id) for table in (tables.Claim, tables.Group, tables.User)}
        memberships = _all(session, tables.Membership, seeded.tenant_id)
        [license_] = _all(session, tables.License, seeded.tenant_id)
    user_names = dict(seeded.user_names)
    for claim in found[tables.Claim]:
        if claim.user_id not in user_names:
            user_names[claim.user_id] = seeded.name_newcomer(claim.user_id, claim.external_id, before)
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
    with store.read(None) as session:
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
        password_reset_required=user.password_reset_required,
    )
