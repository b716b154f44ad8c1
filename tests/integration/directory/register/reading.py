"""Read a tenant's whole state from the tables, and write the model's state in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import text

from services.directory.store.tables import MANUAL as MANUAL_ID
from services.directory.store.tables import UtcDateTime
from tests.integration.directory.register.names import id_of
from tests.integration.directory.register.world import World
from tests.reference.register import RESTORABLE_FOR, State, Tenant
from tests.reference.values import MANUAL

_STATES = {1: State.ACTIVE.value, 2: State.DELETED.value, 3: State.DORMANT.value}
State_ = Mapping[str, Any]


def modelled(tenant: Tenant, world: World) -> State_:
    """What the model says the register is."""
    return {
        "users": {
            name: (
                person.email,
                person.display_name,
                person.title,
                person.phone,
                person.secondary_phone,
                person.owner,
                person.state.value,
                person.password_reset_required,
            )
            for name, person in tenant.users.items()
        },
        "former claims": {key: ended for key, ended in tenant.former.items() if world.now - ended < RESTORABLE_FOR},
        "claims": {
            key: (claim.user, claim.missed_files, claim.deletion_left_out) for key, claim in tenant.claims.items()
        },
        "groups": {
            name: (group.account, group.group_external_id or "", group.owner, group.is_main)
            for name, group in tenant.groups.items()
        },
        "accounts": {name: (account.parent, account.main_group) for name, account in tenant.accounts.items()},
        "memberships": {(entry.user, entry.group, entry.origin) for entry in tenant.memberships},
        "sleeping": {
            (entry.user, entry.group, entry.origin): until
            for entry, until in tenant.sleeping.items()
            if until is None or until > world.now
        },
        "said": {
            (source, user): (said.user_name.lower(), said.external_id, said.active, said.gone)
            for (source, user), said in tenant.said.items()
        },
        "seats": (tenant.seats_total, len(tenant.active())),
        "reserved": tenant.reserved,
    }


def kept(world: World) -> State_:
    """What the directory's tables say it is."""
    tenant_id = id_of(world.office.name)
    with world.directory.store.read(tenant_id) as session:
        connection = session.connection()

        def rows(query: str) -> Any:
            return connection.execute(text(query), {"t": tenant_id}).all()

        users = rows(
            "SELECT id, email, display_name, title, phone, secondary_phone, owner_source_id, state,"
            " password_reset_required FROM users WHERE tenant_id = :t"
        )
        claims = rows(
            "SELECT source_id, external_id, user_id, missed_files, deletion_left_out FROM claims WHERE tenant_id = :t"
        )
        former = connection.execute(
            text("SELECT source_id, external_id, user_id, end_time FROM former_claims WHERE tenant_id = :t").columns(
                end_time=UtcDateTime()
            ),
            {"t": tenant_id},
        ).all()
        groups = rows("SELECT id, account_id, external_id, owner_source_id, is_main FROM groups WHERE tenant_id = :t")
        accounts = rows("SELECT id, parent_id, main_group_id FROM accounts WHERE tenant_id = :t")
        members = rows("SELECT user_id, group_id, origin_source_id FROM memberships WHERE tenant_id = :t")
        sleeping = connection.execute(
            text(
                "SELECT user_id, group_id, origin_source_id, until FROM sleeping_memberships WHERE tenant_id = :t"
            ).columns(until=UtcDateTime()),
            {"t": tenant_id},
        ).all()
        said = rows(
            "SELECT source_id, resource_id, name_key, external_id, is_active, is_gone FROM provisioned_resources"
            " WHERE tenant_id = :t AND kind = 1"
        )
        [seats] = rows("SELECT seats_total, seats_used FROM licenses WHERE tenant_id = :t")
        reserved = rows("SELECT external_id FROM reserved_group_ids WHERE tenant_id = :t")
    user, group, account, source = world.users.of_id, world.groups.of_id, world.accounts.of_id, _source(world)
    return {
        "users": {user(row[0]): (*row[1:6], source(row[6]), _STATES[row[7]], bool(row[8])) for row in users},
        "former claims": {
            (source(row[0]), row[1], user(row[2])): row[3] for row in former if world.now - row[3] < RESTORABLE_FOR
        },
        "claims": {(source(row[0]), row[1]): (user(row[2]), row[3], bool(row[4])) for row in claims},
        "groups": {group(row[0]): (account(row[1]), row[2] or "", source(row[3]), bool(row[4])) for row in groups},
        "accounts": {account(row[0]): (account(row[1]) if row[1] else "", group(row[2])) for row in accounts},
        "memberships": {(user(row[0]), group(row[1]), source(row[2])) for row in members},
        "sleeping": {
            (user(row[0]), group(row[1]), source(row[2])): row[3]
            for row in sleeping
            if row[3] is None or row[3] > world.now
        },
        "said": {(source(row[0]), user(row[1])): (row[2], row[3], bool(row[4]), bool(row[5])) for row in said},
        "seats": tuple(seats),
        "reserved": {row[0] for row in reserved},
    }


def _source(world: World) -> Any:
    return lambda number: MANUAL if number == MANUAL_ID else world.sources.of_id(number)


def differences(expected: State_, got: State_) -> list[str]:
    """Say what differs, one line each; nothing when the two agree."""
    told = []
    for part, wanted in expected.items():
        found = got[part]
        if isinstance(wanted, dict):
            told += [
                f"{part} {key}: model {wanted.get(key)}, directory {found.get(key)}"
                for key in sorted({*wanted, *found}, key=str)
                if wanted.get(key, "-") != found.get(key, "-")
            ]
        elif isinstance(wanted, set):
            told += [f"{part}: only the model has {each}" for each in sorted(wanted - found, key=str)]
            told += [f"{part}: only the directory has {each}" for each in sorted(found - wanted, key=str)]
        elif wanted != found:
            told.append(f"{part}: model {wanted}, directory {found}")
    return told
