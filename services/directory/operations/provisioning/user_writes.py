"""Write what a connection says of a user, and what follows from it: seats, leaving and coming back (S5, S6, S9)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from sqlalchemy.exc import IntegrityError

from services.directory.operations.licenses import take_seats
from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.guard import bring_in, put_out
from services.directory.operations.provisioning.reads import Management, UserView
from services.directory.operations.refusals import forget_refusal
from services.directory.operations.returning import returns_by
from services.directory.rules.errors import EmailTaken, UserNameTaken
from services.directory.rules.leaving import Return, WayOut
from services.directory.rules.names import short_name
from services.directory.rules.provisioned import ProvisionedUser
from services.directory.store.events import Change, tell_apart
from services.directory.store.provisioning_tables import USER, ProvisionedResource
from services.directory.store.session import violates
from services.directory.store.statements import Insertion, settle
from services.directory.store.tables import MANUAL, User, UserState

COLUMNS: Final = ("email", "display_name", "title", "phone", "secondary_phone")
"""What the register itself keeps of a person."""

_TOLD_OTHERWISE: Final = frozenset({"schemas", "active", "externalId", "displayName", "title"})
"""Attributes whose change an event tells in its own words."""


def insert_users(call: Call, people: Sequence[ProvisionedUser], user_ids: Sequence[int]) -> list[UserView]:
    """Make users of the connection, all or none; what is told of each counts as a call's of its own (`told_kinds`).

    There may be more ids than people.

    Errors: EmailTaken, UserNameTaken, LicenseLimitReached.
    """
    numbered = list(zip(user_ids, people, strict=False))
    rows = [
        {
            "tenant_id": call.tenant_id,
            "id": user_id,
            "owner_source_id": call.source_id,
            "now": call.now,
            **(_AWAKE if person.active else _asleep(call)),
            **_all_values(person),
        }
        for user_id, person in numbered
    ]
    active = [user_id for user_id, person in numbered if person.active]
    with _guarded(call):
        _INSERT.run_many(call.session, rows)
        _keep(call, numbered)
        entered = {change.resource: change for change in _enter_account(call, active)}
    if active:
        take_seats(call.session, call.tenant_id, len(active), actor=call.actor, now=call.now)
    tell_apart(call.session, {("usr", user_id): place for place, (user_id, _) in enumerate(numbered)})
    told = []
    for user_id, person in numbered:
        resource = ("usr", user_id)
        told.append(Change("user.created", resource, after=_told(person, _all_values(person))))
        then = entered.get(resource) if person.active else Change("user.dormant", resource)
        told += [then] if then else []
    call.tell(told)
    return [
        UserView(
            id=user_id,
            document=person.document,
            is_active=person.active,
            management=Management.OWN,
            revision=1,
            create_time=call.now,
            update_time=call.now,
        )
        for user_id, person in numbered
    ]


_AWAKE: Final = {"state": int(UserState.ACTIVE), "way_out": 0, "leave_time": None}

_NEW: Final = "tenant_id id owner_source_id email display_name title phone secondary_phone state way_out leave_time"
_INSERT: Final = Insertion(
    User, {**{column: f":{column}" for column in _NEW.split()}, "create_time": ":now", "update_time": ":now"}
)


def take_over(call: Call, user: User, person: ProvisionedUser) -> None:
    """S9: the same user with the connection's attributes; password and manual groups stay, nothing is mailed."""
    before = {column: getattr(user, column) for column in COLUMNS}
    values = _register_values(person)
    set_columns(call, user, values | {"owner_source_id": call.source_id})
    with _guarded(call):
        _keep(call, [(user.id, person)])
    groups = _enter_account(call, [user.id])
    changed = [column for column, value in values.items() if before[column] != value]
    after = {column: values[column] for column in changed} | _keys(person)
    call.tell(
        [
            Change("user.taken_over", ("usr", user.id), before={name: before[name] for name in changed}, after=after),
            *groups,
        ]
    )
    if not person.active:
        put_out(call, [user.id], WayOut.DEACTIVATED)
    else:
        forget_refusal(call.session, call.tenant_id, call.source_id, person.name_key)


def change_user(call: Call, user: User, person: ProvisionedUser, *, kept: Any) -> None:
    """Write what differs, and put the user to sleep or wake it as `active` says (S6).

    `kept` is what the connection said last; None of a user whom it deleted and who comes back.
    """
    values = _register_values(person)
    before = {column: getattr(user, column) for column in values}
    changed = [column for column, value in values.items() if before[column] != value]
    said = (person.document, person.active, person.external_id)
    if kept is not None and not changed and said == (kept.document, bool(kept.is_active), kept.external_id):
        return
    if kept is not None and user.state == UserState.ACTIVE and not person.active:
        # Before anything is written: a mail that somebody else has is no reason to keep the user in (S6).
        put_out(call, [user.id], WayOut.DEACTIVATED)
        user.state, user.way_out, user.revision = UserState.DORMANT, WayOut.DEACTIVATED, user.revision + 1
    set_columns(call, user, {column: values[column] for column in changed})
    with _guarded(call):
        _keep(call, [(user.id, person)])
    if kept is not None:
        news: dict[str, Any] = {name: values[name] for name in changed} | _told_keys(kept, person)
        old = {name: before[name] for name in changed}
        call.tell([Change("user.updated", ("usr", user.id), before=old, after=news)] if news else [])
    if kept is None and not person.active:
        set_columns(call, user, _asleep(call))
        call.tell([Change("user.dormant", ("usr", user.id))])
    elif kept is None:
        told = _told(person, {column: getattr(user, column) for column in COLUMNS})
        bring_in(call, [user.id], told={user.id: told})
    else:
        _follow_active(call, user, person)
    if kept is None or not person.active or user.state != UserState.ACTIVE:
        forget_refusal(call.session, call.tenant_id, call.source_id, person.name_key)


def is_to_wake(user: User, person: ProvisionedUser) -> bool:
    """Say whether `active: true` brings a dormant user back: not one who waits for a SCIM group (S7)."""
    return user.state == UserState.DORMANT and person.active and returns_by(user.way_out, Return.ACTIVATION)


def _follow_active(call: Call, user: User, person: ProvisionedUser) -> None:
    """Wake a dormant user, or let it wait for another thing, as `active` says (S6, S7)."""
    if is_to_wake(user, person):
        bring_in(call, [user.id])
    elif user.state == UserState.DORMANT and not person.active and not returns_by(user.way_out, Return.ACTIVATION):
        # Deactivated while it waits for a SCIM group: from now on it waits for `active: true` (S7).
        set_columns(call, user, {"way_out": int(WayOut.DEACTIVATED)})
        call.run(
            f"DELETE FROM sleeping_memberships WHERE tenant_id = :t AND user_id = :u AND origin_source_id = {MANUAL}",
            u=user.id,
        )


def _asleep(call: Call) -> dict[str, Any]:
    """Columns of a user whom the connection brings along inactive."""
    return {"state": int(UserState.DORMANT), "way_out": int(WayOut.DEACTIVATED), "leave_time": call.now}


def set_columns(call: Call, user: User, values: dict[str, Any]) -> None:
    """Write columns of a user's row, and its new revision and time."""
    news = values | {"revision": user.revision + 1, "update_time": call.now}
    assigned = ", ".join(f"{name} = :{name}" for name in sorted(news))
    with _guarded(call):
        call.run(f"UPDATE users SET {assigned} WHERE tenant_id = :t AND id = :u", u=user.id, **news)
    for name, value in news.items():
        setattr(user, name, value)


def kept_facts(call: Call, user_id: int) -> Any:
    """What the connection said last: a row with document, external_id, is_active and is_gone, or None."""
    return call.run(
        "SELECT document, external_id, is_active, is_gone FROM provisioned_resources "
        f"WHERE tenant_id = :t AND source_id = :s AND kind = {USER} AND resource_id = :u",
        u=user_id,
    ).first()


def _keep(call: Call, people: Sequence[tuple[int, ProvisionedUser]]) -> None:
    """Keep what the connection said of people, whose ids are given, over what it may have said before."""
    rows = [
        {
            "t": call.tenant_id,
            "s": call.source_id,
            "u": user_id,
            "name": person.name_key,
            "key": person.external_id,
            "active": person.active,
            "document": person.document,
            "folded": json.dumps(person.folded | {"id": short_name("usr", user_id)}),
        }
        for user_id, person in people
    ]
    _KEEP.run_many(call.session, rows)


_KEEP: Final = Insertion(
    ProvisionedResource,
    {
        "tenant_id": ":t",
        "source_id": ":s",
        "kind": str(USER),
        "resource_id": ":u",
        "name_key": ":name",
        "external_id": ":key",
        "is_active": ":active",
        "is_gone": "false",
        "document": ":document",
        "folded": ":folded",
    },
    conflict="""ON CONFLICT (tenant_id, source_id, kind, resource_id) DO UPDATE SET name_key = excluded.name_key,
        external_id = excluded.external_id, is_active = excluded.is_active, is_gone = excluded.is_gone,
        document = excluded.document, folded = excluded.folded""",
)


def _enter_account(call: Call, user_ids: Sequence[int]) -> list[Change]:
    """Put active users into the connection's account, which is into its main group."""
    main_group_id = call.linked_main_group()
    if not main_group_id or not user_ids:
        return []
    entered = call.run(
        "INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id) "
        "SELECT :t, :g, i.id, :s FROM {each} WHERE true ORDER BY i.id ON CONFLICT DO NOTHING RETURNING user_id",
        g=main_group_id,
        ids=call.ids(user_ids),
    ).scalars()
    return [Change("membership.added", ("usr", each), after={"groups": [main_group_id]}) for each in sorted(entered)]


@contextmanager
def _guarded(call: Call) -> Iterator[None]:
    """Write inside; two calls at once that take the same name or mail are told so as one after the other would be."""
    try:
        yield
        settle(call.session.connection())
    except IntegrityError as error:
        if violates(error, "users_by_email", "users.email"):
            raise EmailTaken from None
        if violates(error, "provisioned_users_by_name", "provisioned_resources.name_key"):
            raise UserNameTaken from None
        raise


def _register_values(person: ProvisionedUser) -> dict[str, str]:
    """The register's columns as the person has them; an unusable phone is left out, so that the old one stays (R21)."""
    values = {
        "email": person.email,
        "display_name": person.display_name,
        "title": person.title,
        "phone": person.phone,
        "secondary_phone": person.secondary_phone,
    }
    return {column: value for column, value in values.items() if value is not None}


def _all_values(person: ProvisionedUser) -> dict[str, str]:
    """The register's columns of somebody new, who has no old phone."""
    return _register_values(person) | {"phone": person.phone or "", "secondary_phone": person.secondary_phone or ""}


def _keys(person: ProvisionedUser) -> dict[str, str]:
    return {"external_id": person.external_id} if person.external_id else {}


def _told(person: ProvisionedUser, values: dict[str, str]) -> dict[str, str]:
    return {column: value for column, value in values.items() if value} | _keys(person)


def _told_keys(kept: Any, person: ProvisionedUser) -> dict[str, Any]:
    """What changed beside the register's columns: the external id, and other attributes by name alone."""
    old, new = json.loads(kept.document), json.loads(person.document)
    others = sorted(name for name in {*old, *new} if old.get(name) != new.get(name) and name not in _TOLD_OTHERWISE)
    keys = {"external_id": person.external_id} if kept.external_id != person.external_id else {}
    return keys | ({"attributes": others} if others else {})
