"""Invite people, make the links that are mailed to them, and let them accept, once (R36)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, or_
from sqlmodel import Session, col, select

from services.directory.operations.passwords import set_password
from services.directory.operations.scope import Scope
from services.directory.operations.tenant_sql import TenantSql
from services.directory.operations.tenants import get_tenant, require_living
from services.directory.operations.user_states import require_active
from services.directory.operations.user_views import Invited
from services.directory.rules import links
from services.directory.rules.errors import (
    AcceptUrlMissing,
    InvitationStateError,
    LinkInvalid,
    NotFound,
)
from services.directory.rules.etags import require_etag
from services.directory.rules.invitations import VALID_FOR
from services.directory.rules.names import INVITATION, USER
from services.directory.rules.passwords import NewPassword
from services.directory.rules.tokens import INVITATION_LINK, Derived
from services.directory.store import ids
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.people_tables import Invitation, InvitationState
from services.directory.store.tables import User

LIVE = (InvitationState.PENDING, InvitationState.SENT)
"""States in which an invitation waits for its user, unless its time is over."""


@dataclass(frozen=True)
class InvitationView:
    """An invitation, where it is now, and the user's mail address."""

    invitation: Invitation
    state: InvitationState
    email: str


@dataclass(frozen=True)
class MintedLink:
    """What is mailed to a user, and until when it opens."""

    url: str
    token: str
    expire_time: datetime


def invite(
    session: Session, tenant_id: int, user_ids: Sequence[int], *, actor: Actor, now: datetime
) -> list[InvitationView]:
    """Invite active users, all or none; answers their invitations in that order.

    Who has one that waits, or has expired, gets it again: its older links end, and it has 30 new days. The number of
    statements is the same however many they are. Errors: AcceptUrlMissing, NotFound, UserStateError,
    InvitationStateError (accepted).
    """
    _accept_url(session, tenant_id)
    sql = TenantSql(session, tenant_id, now)
    emails = _lock_active(sql, user_ids)
    newest = {invitation.user_id: invitation for invitation in newest_invitations(session, tenant_id, emails)}
    if any(invitation.state == InvitationState.ACCEPTED for invitation in newest.values()):
        raise InvitationStateError(state="accepted")
    again = [invitation.id for invitation in newest.values() if invitation.state in LIVE]
    _make_again(sql, again)
    made = _make(session, tenant_id, [user_id for user_id in emails if _has_none(newest, user_id)], now)
    _tell(session, tenant_id, "invitation.created", made, actor=actor, now=now)
    invitations = {invitation.user_id: invitation for invitation in newest_invitations(session, tenant_id, emails)}
    resent = [invitation for invitation in invitations.values() if invitation.id in again]
    _tell(session, tenant_id, "invitation.resent", resent, actor=actor, now=now)
    return [InvitationView(invitations[user_id], InvitationState.PENDING, emails[user_id]) for user_id in user_ids]


def get_invitation(session: Session, tenant_id: int, invitation_id: int, *, now: datetime) -> InvitationView:
    """Read one invitation. Errors: NotFound."""
    query = _with_email(tenant_id).where(col(Invitation.id) == invitation_id)
    found = session.exec(query).first()
    if found is None:
        raise NotFound(resource=INVITATION.format(tenant_id, invitation_id))
    return InvitationView(found[0], state_of(found[0], now), found[1])


def list_invitations(
    session: Session,
    tenant_id: int,
    *,
    states: Collection[InvitationState],
    scope: Scope,
    after_id: int,
    limit: int,
    now: datetime,
) -> list[InvitationView]:
    """Read invitations in the order in which they were first made, past `after_id`; no `states` means all."""
    query = _with_email(tenant_id).where(col(Invitation.id) > after_id, scope.holds_user(col(Invitation.user_id)))
    if states:
        query = query.where(or_(*(_is_in(state, now) for state in states)))
    found = session.exec(query.order_by(col(Invitation.id)).limit(limit))
    return [InvitationView(invitation, state_of(invitation, now), email) for invitation, email in found]


def newest_invitations(session: Session, tenant_id: int, user_ids: Collection[int]) -> Sequence[Invitation]:
    """Read the newest invitation of each of these users; who was never invited has none."""
    return session.exec(_NEWEST, params={"t": tenant_id, "users": list(user_ids)}).all()


_NEWEST: Final = (
    select(Invitation)
    .where(
        col(Invitation.tenant_id) == bindparam("t"),
        col(Invitation.id).in_(
            select(func.max(Invitation.id))
            .where(
                col(Invitation.tenant_id) == bindparam("t"),
                col(Invitation.user_id).in_(bindparam("users", expanding=True)),
            )
            .group_by(col(Invitation.user_id))
        ),
    )
    .execution_options(populate_existing=True)
)
"""Built once: every read of a user asks it."""


def revoke(
    session: Session, tenant_id: int, invitation_id: int, *, etag: str = "", actor: Actor, now: datetime
) -> InvitationView:
    """Take an invitation back; a revoked one stays as it is. Errors: NotFound, StaleEtag, InvitationStateError."""
    invitation, user = _locked(session, tenant_id, invitation_id)
    require_etag(etag, resource=INVITATION.format(tenant_id, invitation_id), revision=invitation.revision)
    if invitation.state == InvitationState.ACCEPTED:
        raise InvitationStateError(state="accepted")
    if invitation.state != InvitationState.REVOKED:
        _move(session, invitation, InvitationState.REVOKED, "invitation.revoked", actor=actor, now=now)
    return InvitationView(invitation, InvitationState.REVOKED, user.email)


def mint_link(
    session: Session, tenant_id: int, invitation_id: int, *, pepper: bytes, actor: Actor, now: datetime
) -> MintedLink:
    """Write the invitation's link, the same one until it is made again, and mark it as sent.

    Errors: NotFound, AcceptUrlMissing, UserStateError, InvitationStateError (accepted, expired or revoked).
    """
    invitation, user = _locked(session, tenant_id, invitation_id)
    accept_url = _accept_url(session, tenant_id)
    require_active(user.state)
    state = state_of(invitation, now)
    if state not in LIVE:
        raise InvitationStateError(state=state.name.lower())
    if state is InvitationState.PENDING:
        invitation.sent_time = now
        _move(session, invitation, InvitationState.SENT, "invitation.sent", actor=actor, now=now)
    token = INVITATION_LINK.write(tenant_id, invitation_id, invitation.generation, pepper=pepper)
    return MintedLink(links.with_token(accept_url, token), token, invitation.expire_time)


def accept(session: Session, link: Derived, password: NewPassword, *, actor: Actor, now: datetime) -> int:
    """Set the password that a user chose at a link, which ends; answers the user's id.

    Errors: LinkInvalid, InvalidArgument (the password is the mail address).
    """
    try:
        require_living(session, link.tenant_id)
        invitation, user = _locked(session, link.tenant_id, link.number)
        if link.generation != invitation.generation or state_of(invitation, now) is not InvitationState.SENT:
            raise LinkInvalid
        set_password(session, link.tenant_id, user.id, password, actor=actor, now=now)
    except NotFound:  # the user or the whole tenant has left since
        raise LinkInvalid from None
    _move(session, invitation, InvitationState.ACCEPTED, "invitation.accepted", actor=actor, now=now)
    return user.id


def state_of(invitation: Invitation | Invited, now: datetime) -> InvitationState:
    """Say where an invitation is: that it has expired follows from time."""
    if invitation.state in LIVE and invitation.expire_time <= now:
        return InvitationState.EXPIRED
    return InvitationState(invitation.state)


def _accept_url(session: Session, tenant_id: int) -> str:
    require_living(session, tenant_id)
    accept_url = get_tenant(session, tenant_id).accept_url
    if not accept_url:
        raise AcceptUrlMissing
    return accept_url


def _is_in(state: InvitationState, now: datetime) -> ColumnElement[bool]:
    """Say the same in SQL."""
    if state is InvitationState.EXPIRED:
        return and_(col(Invitation.state).in_(LIVE), col(Invitation.expire_time) <= now)
    if state in LIVE:
        return and_(col(Invitation.state) == state, col(Invitation.expire_time) > now)
    return col(Invitation.state) == state


def _has_none(newest: Mapping[int, Invitation], user_id: int) -> bool:
    return user_id not in newest or newest[user_id].state == InvitationState.REVOKED


def _with_email(tenant_id: int) -> Any:
    return (
        select(Invitation, User.email)
        .join(User, (col(User.tenant_id) == col(Invitation.tenant_id)) & (col(User.id) == col(Invitation.user_id)))
        .where(col(Invitation.tenant_id) == tenant_id)
    )


def _lock_active(sql: TenantSql, user_ids: Sequence[int]) -> dict[int, str]:
    """Hold users' rows to the end, whose invitations nobody else then writes; answers their mail addresses."""
    found = sql.run(
        "SELECT u.id, u.state, u.email FROM users u JOIN {each} ON i.id = u.id WHERE u.tenant_id = :t"
        " ORDER BY u.id{for_update_of_u}",
        ids=sql.ids(user_ids),
    )
    people = {person.id: person for person in found}
    for user_id in user_ids:
        if user_id not in people:
            raise NotFound(resource=USER.format(sql.tenant_id, user_id))
        require_active(people[user_id].state)
    return {user_id: people[user_id].email for user_id in user_ids}


def _locked(session: Session, tenant_id: int, invitation_id: int) -> tuple[Invitation, User]:
    """Read an invitation and its user, and hold the user's row to the end. Errors: NotFound."""
    invitation = session.get(Invitation, (tenant_id, invitation_id))
    if invitation is None:
        raise NotFound(resource=INVITATION.format(tenant_id, invitation_id))
    user = session.get_one(User, (tenant_id, invitation.user_id), with_for_update=True)
    session.refresh(invitation)
    return invitation, user


def _make_again(sql: TenantSql, invitation_ids: Sequence[int]) -> None:
    sql.run(
        f"UPDATE invitations SET state = {InvitationState.PENDING}, generation = generation + 1, sent_time = NULL,"
        " expire_time = :until, revision = revision + 1 WHERE tenant_id = :t AND id IN (SELECT i.id FROM {each})",
        ids=sql.ids(invitation_ids),
        until=sql.now + VALID_FOR,
    )


def _make(session: Session, tenant_id: int, user_ids: Sequence[int], now: datetime) -> list[Invitation]:
    if not user_ids:
        return []
    numbers = ids.reserve_ids(session.connection(), "invitation", len(user_ids))
    made = [
        Invitation(tenant_id=tenant_id, id=number, user_id=user_id, create_time=now, expire_time=now + VALID_FOR)
        for number, user_id in zip(numbers, user_ids, strict=True)
    ]
    session.connection().execute(insert(Invitation), [invitation.model_dump() for invitation in made])
    return made


def _move(
    session: Session, invitation: Invitation, state: InvitationState, kind: str, *, actor: Actor, now: datetime
) -> None:
    invitation.state = state
    invitation.revision += 1
    if state not in LIVE:
        invitation.end_time = now
    session.add(invitation)
    session.flush()
    _tell(session, invitation.tenant_id, kind, [invitation], actor=actor, now=now)


def _tell(
    session: Session, tenant_id: int, kind: str, invitations: Sequence[Invitation], *, actor: Actor, now: datetime
) -> None:
    """Write an event for each; it says whose invitation it is by the user's id, and holds nothing personal."""
    changes = [
        Change(
            kind,
            ("inv", invitation.id),
            after={"user": invitation.user_id, "state": InvitationState(invitation.state).name.lower()},
        )
        for invitation in invitations
    ]
    append_events(session, tenant_id, changes, actor=actor, now=now)
