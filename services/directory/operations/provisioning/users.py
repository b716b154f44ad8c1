"""Create, change and delete users as a connection says (S2, S4 to S6, S9, S14)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from sqlmodel import col, select

from services.directory.operations.leaving import leave
from services.directory.operations.parties import party_of
from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.departures import forget
from services.directory.operations.provisioning.guard import watch
from services.directory.operations.provisioning.reads import UserView, foreign_users, get_user
from services.directory.operations.provisioning.user_writes import (
    change_user,
    insert_users,
    is_to_wake,
    kept_facts,
    take_over,
)
from services.directory.operations.refusals import forget_refusal
from services.directory.operations.returning import returns_by
from services.directory.rules.errors import EmailTaken, InvalidArgument, NotFound, OwnedByOtherSource, UserNameTaken
from services.directory.rules.etags import require_etag
from services.directory.rules.leaving import RESTORABLE_FOR, Return, WayOut
from services.directory.rules.names import USER as USER_NAME
from services.directory.rules.ownership import Party, Verdict, over_user
from services.directory.rules.provisioned import ProvisionedUser, UserFacts, check_user
from services.directory.store.events import Change
from services.directory.store.ids import reserve_later
from services.directory.store.provisioning_tables import USER, ProvisionedResource
from services.directory.store.tables import Source, User, UserState


def create_user(call: Call, facts: UserFacts) -> UserView:
    """Make a user, take a manual one with the same mail over (S9), or restore one that the connection deleted (S6).

    Said again word for word, with an externalId, it is a retry, and answers with the user that is there (S13).
    Errors: InvalidArgument, UserNameTaken, EmailTaken, OwnedByOtherSource, LicenseLimitReached.
    """
    person = check_user(facts, region=call.source.region)
    user_ids = reserve_later(call.session.connection(), "user", 1)
    if not _in_the_way(call, [person]):
        return insert_users(call, [person], user_ids())[0]
    made = _made_before(call, person)
    if made is not None:
        return get_user(call, made, with_groups=True)
    _require_free_name(call, person, user_id=0)
    holder = _holder_of(call, person.email)
    if holder is not None and _verdict(call, holder) is not Verdict.TAKEOVER:
        raise _taken(call, holder)
    gone = _gone_user(call, person)
    if holder is not None:
        user_id = holder.id
        take_over(call, holder, person)
    elif gone is not None:
        user_id = gone.id
        change_user(call, gone, person, kept=None)
    else:
        user_id = insert_users(call, [person], user_ids())[0].id
        forget_refusal(call.session, call.tenant_id, call.source_id, person.name_key)
    return get_user(call, user_id, with_groups=True)


def create_users(call: Call, all_facts: Sequence[UserFacts]) -> list[UserView | None]:
    """Make those of several users who are plainly new, with as many statements as one; None for each of the others.

    They are left to `create_user`: who is there or was, is refused, or has the name, key or mail of one before.
    Errors: UserNameTaken, EmailTaken, LicenseLimitReached; then none is made.
    """
    people: dict[int, ProvisionedUser] = {}
    names: set[tuple[str, str]] = set()
    for place, facts in enumerate(all_facts):
        with suppress(InvalidArgument):
            person = check_user(facts, region=call.source.region)
            own = {
                ("name", person.name_key),
                ("email", person.email),
                ("key", person.external_id or f"none of {place}"),
            }
            if own.isdisjoint(names):
                people[place] = person
            names |= own
    if not people:
        return [None] * len(all_facts)
    user_ids = reserve_later(call.session.connection(), "user", len(people))
    in_the_way = _in_the_way(call, list(people.values()))
    new = {place: person for number, (place, person) in enumerate(people.items()) if number not in in_the_way}
    made = dict(zip(new, insert_users(call, list(new.values()), user_ids()), strict=True)) if new else {}
    return [made.get(place) for place in range(len(all_facts))]


def update_user(call: Call, user_id: int, facts: UserFacts, *, etag: str) -> UserView:
    """Replace all that the connection says of a user; a manual one is taken over, a file-owned one stays as it is.

    Errors: InvalidArgument, NotFound, StaleEtag, UserNameTaken, EmailTaken, OwnedByOtherSource, LicenseLimitReached.
    """
    person = check_user(facts, region=call.source.region)
    user, kept = _locked(call, user_id, etag)
    verdict = _verdict(call, user)
    if verdict is Verdict.READ_ONLY:
        return get_user(call, user_id, with_groups=True)
    _require_free_name(call, person, user_id=user_id)
    if verdict is Verdict.TAKEOVER:
        _require_free_email(call, person, user_id=user_id)
        take_over(call, user, person)
    else:
        stays = user.state == UserState.ACTIVE and person.active
        if is_to_wake(user, person) or (stays and user.email != person.email):
            _require_free_email(call, person, user_id=user_id)
        change_user(call, user, person, kept=kept)
    return get_user(call, user_id, with_groups=True)


def delete_user(call: Call, user_id: int, *, etag: str) -> None:
    """Delete a user of the connection; of a file-owned one end the connection's claim (S14).

    Errors: NotFound (also for a manual user, who is nothing of the connection's), StaleEtag, GuardTripped.
    """
    user, _ = _locked(call, user_id, etag)
    verdict = _verdict(call, user)
    if verdict is Verdict.TAKEOVER:
        raise NotFound(resource=USER_NAME.format(call.tenant_id, user_id))
    if verdict is Verdict.READ_ONLY:
        left = call.run(
            "DELETE FROM memberships WHERE tenant_id = :t AND user_id = :u AND origin_source_id = :s"
            " RETURNING group_id",
            u=user_id,
        ).scalars()
        groups = sorted(left)
        call.tell([Change("membership.removed", ("usr", user_id), before={"groups": groups})] if groups else [])
        return
    leave(call.session, call.tenant_id, [user_id], WayOut.SCIM_DELETED, actor=call.actor, now=call.now)
    forget(call, user_id)
    watch(call, 1 if user.state == UserState.ACTIVE else 0)  # who was asleep had been put out before


def take_over_as_is(call: Call, users: Sequence[User]) -> None:
    """Take manual users over whom the sync has put into a group (S14); what they say of themselves stays."""
    for view, user in zip(foreign_users(call, [user.id for user in users]), users, strict=True):
        facts = UserFacts(
            user_name=user.email,
            external_id="",
            active=True,
            display_name=user.display_name,
            email=user.email,
            title=user.title,
            phone=user.phone,
            secondary_phone=user.secondary_phone,
            attributes=view.document.encode(),
        )
        person = check_user(facts, region=call.source.region)
        _require_free_name(call, person, user_id=user.id)
        take_over(call, user, person)


def _locked(call: Call, user_id: int, etag: str) -> tuple[User, Any]:
    """Read a user whom the connection sees, and hold its row to the end; with it what the connection said last, if own.

    Errors: NotFound, StaleEtag.
    """
    user = call.session.get(User, (call.tenant_id, user_id), with_for_update=True)
    resource = USER_NAME.format(call.tenant_id, user_id)
    if user is None:
        raise NotFound(resource=resource)
    kept = kept_facts(call, user_id) if user.owner_source_id == call.source_id else None
    is_seen = user.state == UserState.ACTIVE if user.owner_source_id != call.source_id else kept and not kept.is_gone
    if not is_seen:
        raise NotFound(resource=resource)
    require_etag(etag, resource=resource, revision=user.revision)
    call.session.expunge(user)
    return user, kept


def _in_the_way(call: Call, people: Sequence[ProvisionedUser]) -> set[int]:
    """Say of which of these users, by place, anybody at all is in the way, or was refused or deleted (S5, S6)."""
    found = call.run(
        _ANYBODY[call.is_sqlite],
        names=[person.name_key for person in people],
        external_ids=[person.external_id for person in people],
        emails=[person.email for person in people],
    )
    return {place - 1 for place in found.scalars()}


def _made_before(call: Call, person: ProvisionedUser) -> int | None:
    """Find the user of whom the connection's last word is this very one; without externalId it is no retry."""
    if not person.external_id:
        return None
    made: int | None = call.run(
        f"{_BEARERS} AND external_id = :key AND is_active = :active AND document = :document LIMIT 1",
        name=person.name_key,
        key=person.external_id,
        active=person.active,
        document=person.document,
    ).scalar()
    return made


def _gone_user(call: Call, person: ProvisionedUser) -> User | None:
    """Find the user whom the connection deleted and now sends again: by externalId, else by userName (S6).

    It is still the connection's own, and left less than 90 days ago; of several the one who left last.
    """
    is_gone = _GONE_BY_KEY if person.external_id else _GONE_BY_NAME
    if call.run(is_gone, key=person.external_id or person.name_key).first() is None:
        return None
    same_key = col(ProvisionedResource.external_id) == person.external_id
    same_name = col(ProvisionedResource.name_key) == person.name_key
    query = (
        select(User)
        .join(ProvisionedResource, col(ProvisionedResource.resource_id) == col(User.id))
        .where(
            col(ProvisionedResource.tenant_id) == call.tenant_id,
            col(ProvisionedResource.source_id) == call.source_id,
            col(ProvisionedResource.kind) == USER,
            col(ProvisionedResource.is_gone).is_(True),
            same_key if person.external_id else same_name,
            col(User.tenant_id) == call.tenant_id,
            col(User.owner_source_id) == call.source_id,
            col(User.state) == UserState.DELETED,
            col(User.erase_time).is_(None),
        )
        .order_by(col(User.leave_time).desc(), col(User.id).desc())
        .with_for_update(of=User)
    )
    for user in call.session.exec(query).all():
        call.session.expunge(user)
        is_late = user.leave_time is not None and user.leave_time + RESTORABLE_FOR <= call.now
        if not is_late and returns_by(user.way_out, Return.SCIM_POST):
            return user
    return None


_GONE: Final = f"WHERE tenant_id = :t AND source_id = :s AND kind = {USER} AND is_gone"
_GONE_BY_KEY: Final = (
    "SELECT 1 FROM provisioned_resources{index:provisioned_resources_by_external_id}"
    f" {_GONE} AND external_id = :key LIMIT 1"
)
_GONE_BY_NAME: Final = (
    f"SELECT 1 FROM provisioned_resources{{index:provisioned_resources_by_name}} {_GONE} AND name_key = :key LIMIT 1"
)

_PEOPLE: Final = {
    True: "json_each(:names) n JOIN json_each(:external_ids) x ON x.key = n.key"
    " JOIN json_each(:emails) e ON e.key = n.key",
    False: "unnest(CAST(:names AS text[]), CAST(:external_ids AS text[]), CAST(:emails AS text[]))"
    " WITH ORDINALITY AS q(name, external_id, email, place)",
}
"""A relation of bound lists, on SQLite and on PostgreSQL."""

_ANYBODY: Final = {
    is_sqlite: f"""
    SELECT p.place FROM (SELECT {columns} FROM {_PEOPLE[is_sqlite]}) p WHERE coalesce(
        (SELECT 1 FROM provisioned_resources{{index:provisioned_resources_by_name}}
         WHERE tenant_id = :t AND source_id = :s AND kind = {USER} AND name_key = p.name
           AND (NOT is_gone OR p.external_id = '') LIMIT 1),
        (SELECT 1 FROM provisioned_resources{{index:provisioned_resources_by_external_id}}
         {_GONE} AND external_id = p.external_id AND p.external_id <> '' LIMIT 1),
        (SELECT 1 FROM users WHERE tenant_id = :t AND email = p.email AND state = {UserState.ACTIVE} LIMIT 1),
        (SELECT 1 FROM license_refusals WHERE tenant_id = :t AND source_id = :s AND name_key = p.name LIMIT 1)
    ) IS NOT NULL
    """
    for is_sqlite, columns in (
        (True, "n.key + 1 AS place, n.value AS name, x.value AS external_id, e.value AS email"),
        (False, "place, name, external_id, email"),
    )
}
"""Who bears the name or the mail, left with them or with the key, or was refused a seat under the name.

No EXISTS, for which PostgreSQL may read all of the connection's users at once.
"""


def _holder_of(call: Call, email: str, *, but: int = 0) -> User | None:
    """Find the active user who has this mail, unless it is the one whose id is `but`; its row is held to the end."""
    found = call.run(
        f"SELECT id FROM users WHERE tenant_id = :t AND email = :email AND state = {UserState.ACTIVE}{{for_update}}",
        email=email,
    ).scalar()
    if found is None or found == but:
        return None
    user = call.session.get_one(User, (call.tenant_id, found))
    call.session.expunge(user)
    return user


_BEARERS: Final = (
    f"SELECT resource_id FROM provisioned_resources WHERE tenant_id = :t AND source_id = :s AND kind = {USER}"
    " AND name_key = :name AND NOT is_gone"
)
"""The connection's users with a userName."""


def _require_free_name(call: Call, person: ProvisionedUser, *, user_id: int) -> None:
    others = call.run(f"{_BEARERS} AND resource_id <> :u LIMIT 1", name=person.name_key, u=user_id)
    if others.first() is not None:
        raise UserNameTaken


def _require_free_email(call: Call, person: ProvisionedUser, *, user_id: int) -> None:
    holder = _holder_of(call, person.email, but=user_id)
    if holder is not None:
        raise _taken(call, holder)


def _verdict(call: Call, user: User) -> Verdict:
    owner = party_of(call.session, call.tenant_id, user.owner_source_id)
    return over_user(owner, Party.SCIM, is_own=user.owner_source_id == call.source_id)


def _taken(call: Call, holder: User) -> EmailTaken | OwnedByOtherSource:
    if _verdict(call, holder) is not Verdict.READ_ONLY:
        return EmailTaken()
    owner = call.session.get(Source, (call.tenant_id, holder.owner_source_id))
    return OwnedByOtherSource(owner=owner.display_name if owner else "another source")
