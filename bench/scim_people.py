"""Put people and groups of a SCIM connection into a register at once: over HTTP a hundred thousand take minutes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import insert, text
from sqlmodel import Session

from services.directory.operations.provisioning import groups
from services.directory.operations.provisioning.call import Call, begin
from services.directory.operations.provisioning.user_writes import insert_users
from services.directory.rules import names
from services.directory.rules.provisioned import GroupFacts, UserFacts, check_user
from services.directory.store import ids
from services.directory.store.provisioning_tables import USER, ProvisionedResource
from services.directory.store.session import Store, open_engine
from services.directory.store.tables import Membership, User

_AT_ONCE: Final = 5_000


def person_json(user_name: str) -> dict[str, Any]:
    """A user as an identity provider sends it."""
    return {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": user_name,
        "displayName": "Ann Example",
        "name": {"givenName": "Ann", "familyName": "Example"},
        "title": "Tester",
        "emails": [{"type": "work", "primary": True, "value": user_name}],
        "active": True,
    }


def fill(
    database_url: str, source: str, *, people: int, sizes: Sequence[int], spare: int = 0
) -> tuple[list[str], dict[int, str]]:
    """Make people, and groups of the first so many of them; gives the ids of all.

    The last `spare` of them are in a group of their own, so that they stay when they leave the others (S7).

    One is made by the directory's own operation, and the others like it: its rows, written at once.
    """
    tenant_id, source_id = names.parse(names.SOURCE, source, field="source")
    store = Store(database_url)
    made: list[int] = []
    for start in range(0, people, _AT_ONCE):
        with store.write(tenant_id, wait_s=60) as session:
            call = begin(session, tenant_id, source_id, now=datetime.now(UTC))
            made += _people(call, range(start, min(start + _AT_ONCE, people)))
    with store.write(tenant_id, wait_s=60) as session:
        call = begin(session, tenant_id, source_id, now=datetime.now(UTC))
        found = {size: _group(call, made[:size]) for size in sizes}
        if spare:
            _group(call, made[-spare:])
    store.close()
    _analyse(database_url)
    return [names.short_name("usr", each) for each in made], found


def _people(call: Call, numbers: range) -> Iterator[int]:
    facts = [_facts(person_json(f"person{number}@example.org")) for number in numbers]
    first = insert_users(call, [check_user(facts[0], region="")], [ids.next_id(call.session, "user")])[0].id
    connection = call.session.connection()
    others = ids.reserve_ids(connection, "user", len(facts) - 1)
    _like_the_first(call.session, call, first, dict(zip(others, facts[1:], strict=True)))
    yield first
    yield from others


def _like_the_first(session: Session, call: Call, first: int, others: dict[int, UserFacts]) -> None:
    if not others:
        return
    user = session.get_one(User, (call.tenant_id, first)).model_dump()
    kept = session.get_one(ProvisionedResource, (call.tenant_id, call.source.id, USER, first)).model_dump()
    rows, documents = [], []
    for user_id, facts in others.items():
        person = check_user(facts, region="")
        rows.append(user | {"id": user_id, "email": person.email, "display_name": person.display_name})
        documents.append(
            kept
            | {
                "resource_id": user_id,
                "name_key": person.name_key,
                "document": person.document,
                "folded": person.folded | {"id": names.short_name("usr", user_id)},
            }
        )
    connection = session.connection()
    connection.execute(insert(User), rows)
    connection.execute(insert(ProvisionedResource), documents)
    connection.execute(insert(Membership), _memberships(call, call.linked_main_group(), others))
    taken = text("UPDATE licenses SET seats_used = seats_used + :taken WHERE tenant_id = :t")
    connection.execute(taken, {"taken": len(others), "t": call.tenant_id})


def _group(call: Call, members: Sequence[int]) -> str:
    facts = GroupFacts(external_id="", display_name=f"Group of {len(members)}", attributes=b"{}")
    group_id = groups.create_group(call, facts, members[:1]).id
    for start in range(1, len(members), _AT_ONCE):
        rows = _memberships(call, group_id, members[start : start + _AT_ONCE])
        call.session.connection().execute(insert(Membership), rows)
    return names.short_name("grp", group_id)


def _memberships(call: Call, group_id: int, people: Any) -> list[dict[str, Any]]:
    return [
        {"tenant_id": call.tenant_id, "group_id": group_id, "user_id": user_id, "origin_source_id": call.source.id}
        for user_id in people
    ]


def _facts(said: dict[str, Any]) -> UserFacts:
    return UserFacts(
        user_name=said["userName"],
        external_id="",
        active=True,
        display_name=said["displayName"],
        email=said["userName"],
        title=said["title"],
        phone="",
        secondary_phone="",
        attributes=json.dumps(said).encode(),
    )


def _analyse(database_url: str) -> None:
    """Let the database know what came, as it finds out by itself within a minute in operation."""
    engine = open_engine(database_url)
    with engine.begin() as connection:
        connection.exec_driver_sql("ANALYZE")
    engine.dispose()
