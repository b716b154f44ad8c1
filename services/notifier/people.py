"""Gather from the directory what is written to a person: an invitation, a lost password, a changed address."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import grpc.aio
from muster.directory.v1 import (
    events_pb2,
    sources_pb2,
    sources_pb2_grpc,
    tenants_pb2,
    tenants_pb2_grpc,
    users_pb2,
    users_pb2_grpc,
)

from services.notifier.readers import tenant_of
from services.notifier.tables import MessageKind, Priority

INVITATION_CREATED, INVITATION_RESENT = "invitation.created", "invitation.resent"
USER_TAKEN_OVER, USER_UPDATED = "user.taken_over", "user.updated"
PASSWORD_RESET_REQUESTED = "user.password_reset_requested"  # noqa: S105 - a kind of event
PERSON_KINDS = (INVITATION_CREATED, INVITATION_RESENT, USER_TAKEN_OVER, USER_UPDATED, PASSWORD_RESET_REQUESTED)

INVITATION_DAYS = 30
"""Days that an invitation is good for (R36)."""
RESET_HOURS = 24
"""Hours that a link to choose a new password is good for."""

_MOST_AT_ONCE = 1_000


class Occurrence(enum.Enum):
    """What has happened to the person who is written to."""

    INVITED = "invited"
    INVITED_AGAIN = "invited_again"
    TAKEN_OVER = "taken_over"
    MAIL_WAS = "mail_was"
    MAIL_IS = "mail_is"
    RESET_ASKED = "reset_asked"


_KINDS = {
    Occurrence.INVITED: (MessageKind.INVITATION, Priority.INVITATION, timedelta(days=INVITATION_DAYS)),
    Occurrence.INVITED_AGAIN: (MessageKind.INVITATION, Priority.INVITATION, timedelta(days=INVITATION_DAYS)),
    Occurrence.TAKEN_OVER: (MessageKind.LOGIN_AGAIN, Priority.PERSON, timedelta(days=30)),
    Occurrence.MAIL_WAS: (MessageKind.MAIL_CHANGED, Priority.PERSON, timedelta(days=30)),
    Occurrence.MAIL_IS: (MessageKind.MAIL_CHANGED, Priority.PERSON, timedelta(days=30)),
    Occurrence.RESET_ASKED: (MessageKind.PASSWORD_RESET, Priority.AWAITED, timedelta(hours=RESET_HOURS)),
}
"""Of each occurrence its message's kind and priority, and after how long nobody needs to hear of it any more."""

_OF_EVENT = {
    INVITATION_CREATED: (Occurrence.INVITED,),
    INVITATION_RESENT: (Occurrence.INVITED_AGAIN,),
    USER_TAKEN_OVER: (Occurrence.TAKEN_OVER,),
    USER_UPDATED: (Occurrence.MAIL_WAS, Occurrence.MAIL_IS),
    PASSWORD_RESET_REQUESTED: (Occurrence.RESET_ASKED,),
}


@dataclass(frozen=True)
class Letter:
    """Everything that one mail to a person says; `until` is when its link ends, if it has one."""

    occurrence: Occurrence
    user: str
    recipient: str
    name: str
    tenant_name: str
    language: str
    source_name: str = ""
    old_email: str = ""
    new_email: str = ""
    until: datetime | None = None

    @property
    def kind(self) -> MessageKind:
        """What kind of message it is."""
        return _KINDS[self.occurrence][0]

    @property
    def priority(self) -> Priority:
        """Whom it lets go first."""
        return _KINDS[self.occurrence][1]


class PeopleReader:
    """Reads people through one channel to the directory. Every method raises grpc.aio.AioRpcError."""

    def __init__(self, channel: grpc.aio.Channel, *, now: Callable[[], datetime]) -> None:
        self._users = users_pb2_grpc.UserServiceStub(channel)
        self._tenants = tenants_pb2_grpc.TenantServiceStub(channel)
        self._sources = sources_pb2_grpc.SourceServiceStub(channel)
        self._now = now
        self._people: dict[str, users_pb2.User] = {}
        self._of_tenant: dict[str, tenants_pb2.Tenant] = {}
        self._of_source: dict[str, sources_pb2.Source] = {}

    def concerns(self, event: events_pb2.Event) -> bool:
        """Say whether a person is written to about such an event."""
        return event.kind in _OF_EVENT

    async def prepare(self, events: Sequence[events_pb2.Event]) -> None:
        """Forget whom was read before, and read at once whom these events are about."""
        self._people, self._of_tenant, self._of_source = {}, {}, {}
        wanted: dict[str, list[str]] = {}
        for event in events:
            if self.concerns(event) and self._is_for_somebody(event):
                wanted.setdefault(tenant_of(event.name), []).append(_user_of(event))
        for tenant, names in wanted.items():
            if len(names) > 1:
                await self._read(tenant, list(dict.fromkeys(names)))

    async def letters(self, event: events_pb2.Event) -> list[Letter]:
        """Write down what the event asks to be told; nothing for one that is too old, or about nobody who is active."""
        if not self._is_for_somebody(event):
            return []
        person = await self._person(_user_of(event))
        if person.state != users_pb2.USER_STATE_ACTIVE or not person.email:
            return []
        tenant = await self._tenant(tenant_of(event.name))
        source = await self._source(person.owner) if person.owner else None
        before, after = (values.fields["email"].string_value for values in (event.before, event.after))
        made = event.time.ToDatetime(tzinfo=UTC)
        return [
            Letter(
                occurrence=occurrence,
                user=person.name,
                recipient=before if occurrence is Occurrence.MAIL_WAS else after or person.email,
                name=person.display_name,
                tenant_name=tenant.display_name,
                language=(source.language if source else "") or tenant.language,
                source_name=source.display_name if source else "",
                old_email=before,
                new_email=after,
                until=made + _KINDS[occurrence][2],
            )
            for occurrence in _OF_EVENT[event.kind]
        ]

    def _is_for_somebody(self, event: events_pb2.Event) -> bool:
        if event.kind == USER_UPDATED and not _is_changed_mail(event):
            return False
        if event.kind == USER_TAKEN_OVER and not event.import_run:  # by SCIM the password stays (S9)
            return False
        if event.kind.startswith("invitation.") and not event.after.fields["user"].string_value:
            return False
        return self._now() - event.time.ToDatetime(tzinfo=UTC) < _KINDS[_OF_EVENT[event.kind][0]][2]

    async def _read(self, tenant: str, names: Sequence[str]) -> None:
        for start in range(0, len(names), _MOST_AT_ONCE):
            request = users_pb2.BatchGetUsersRequest(tenant=tenant, names=names[start : start + _MOST_AT_ONCE])
            with suppress(grpc.aio.AioRpcError):  # each is asked for by itself then, and its error is its own
                found = await self._users.BatchGetUsers(request)
                self._people |= {person.name: person for person in found.users}

    async def _person(self, name: str) -> users_pb2.User:
        if name not in self._people:
            self._people[name] = (await self._users.GetUser(users_pb2.GetUserRequest(name=name))).user
        return self._people[name]

    async def _tenant(self, name: str) -> tenants_pb2.Tenant:
        if name not in self._of_tenant:
            self._of_tenant[name] = (await self._tenants.GetTenant(tenants_pb2.GetTenantRequest(name=name))).tenant
        return self._of_tenant[name]

    async def _source(self, name: str) -> sources_pb2.Source:
        if name not in self._of_source:
            self._of_source[name] = (await self._sources.GetSource(sources_pb2.GetSourceRequest(name=name))).source
        return self._of_source[name]


def _user_of(event: events_pb2.Event) -> str:
    return event.after.fields["user"].string_value if event.kind.startswith("invitation.") else event.resource


def _is_changed_mail(event: events_pb2.Event) -> bool:
    before, after = (values.fields["email"].string_value for values in (event.before, event.after))
    return bool(before and after) and before.casefold() != after.casefold()
