"""ProvisioningService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import islice
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from muster.directory.v1 import provisioning_pb2 as pb
from muster.directory.v1 import provisioning_pb2_grpc
from muster.runtime.effects import EFFECTS, effects_text
from sqlmodel import Session

from services.directory.api import access
from services.directory.api.batches import Method, answer_batch
from services.directory.api.filter_messages import optional_filter, optional_sort
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations.provisioning import groups, guard, reads, search, users
from services.directory.operations.provisioning.call import Call, begin
from services.directory.operations.provisioning.departures import judge
from services.directory.operations.provisioning.members import waiting
from services.directory.operations.refusals import Refused, count_refusals, remember_refusals
from services.directory.operations.tokens import Caller
from services.directory.rules import names
from services.directory.rules.errors import (
    EmailTaken,
    GroupIdTaken,
    GuardTripped,
    InvalidArgument,
    LicenseLimitReached,
    NotFound,
    UnknownMembers,
    UserNameTaken,
)
from services.directory.rules.etags import etag_of
from services.directory.rules.provisioned import GroupFacts, UserFacts, is_like_an_id
from services.directory.store.events import Change, told_kinds
from services.directory.store.provisioning_tables import GROUP, USER
from services.directory.store.session import TenantLockedError

_Answer = TypeVar("_Answer", bound=Message)
_UNIT = re.compile(r"[0-9A-Za-z._-]{1,64}")


class ProvisioningServicer(Servicer, provisioning_pb2_grpc.ProvisioningServiceServicer):
    """What an identity provider may do through its connection."""

    def GetProvisionedUser(
        self, request: pb.GetProvisionedUserRequest, context: grpc.ServicerContext
    ) -> pb.GetProvisionedUserResponse:
        """Read a user."""
        caller = access.require_connection(context)
        user_id = names.parse_id("usr", request.id)
        with self.store.read(caller.tenant_id) as session:
            call = self._begin(session, caller)
            view = reads.get_user(call, user_id, with_groups=request.with_groups)
        return pb.GetProvisionedUserResponse(user=_user(caller.tenant_id, view))

    def GetProvisionedGroup(
        self, request: pb.GetProvisionedGroupRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GetProvisionedGroupResponse]:
        """Read a group: its head, then its members."""
        caller = access.require_connection(context)
        group_id = names.parse_id("grp", request.id)
        after = names.parse_id("usr", request.members_after) if request.members_after else 0
        with self.store.read(caller.tenant_id) as session:
            call = self._begin(session, caller)
            yield pb.GetProvisionedGroupResponse(group=_group(caller.tenant_id, reads.get_group(call, group_id)))
            chunks = reads.members(call, group_id, after=after) if request.with_members else iter(())
            for chunk in islice(chunks, 1 if request.HasField("members_after") else None):
                yield pb.GetProvisionedGroupResponse(members=_references("usr", chunk))

    def SearchProvisioned(
        self, request: pb.SearchProvisionedRequest, context: grpc.ServicerContext
    ) -> pb.SearchProvisionedResponse:
        """Find users and groups."""
        caller = access.require_connection(context)
        wanted = _search(request)
        with self.store.read(caller.tenant_id) as session:
            found = search.search(self._begin(session, caller), wanted)
        answer = pb.SearchProvisionedResponse(
            total=found.total, next_page_token=found.next_token, previous_page_token=found.previous_token
        )
        for view in found.resources:
            if isinstance(view, reads.UserView):
                answer.resources.add(user=_user(caller.tenant_id, view))
            else:
                answer.resources.add(group=_group(caller.tenant_id, view))
        return answer

    def CreateProvisionedUser(
        self, request: pb.CreateProvisionedUserRequest, context: grpc.ServicerContext
    ) -> pb.CreateProvisionedUserResponse:
        """Make a user, take one over, or restore one."""
        caller = access.require_connection(context)
        facts = _user_facts(request.facts)

        def work(call: Call) -> pb.CreateProvisionedUserResponse:
            return pb.CreateProvisionedUserResponse(user=_user(caller.tenant_id, users.create_user(call, facts)))

        with self._refusals_remembered(caller, lambda _: [Refused(facts.user_name, facts.external_id)]):
            taken = (UserNameTaken, EmailTaken) if facts.external_id else ()
            return self._write(request, context, caller, pb.CreateProvisionedUserResponse, work, taken=taken)

    def UpdateProvisionedUser(
        self, request: pb.UpdateProvisionedUserRequest, context: grpc.ServicerContext
    ) -> pb.UpdateProvisionedUserResponse:
        """Replace all that is said of a user."""
        caller = access.require_connection(context)
        user_id, facts = names.parse_id("usr", request.id), _user_facts(request.facts)

        def work(call: Call) -> pb.UpdateProvisionedUserResponse:
            view = users.update_user(call, user_id, facts, etag=request.etag)
            return pb.UpdateProvisionedUserResponse(user=_user(caller.tenant_id, view))

        with self._refusals_remembered(caller, lambda _: [Refused(facts.user_name, facts.external_id)]):
            return self._write(request, context, caller, pb.UpdateProvisionedUserResponse, work)

    def DeleteProvisionedUser(
        self, request: pb.DeleteProvisionedUserRequest, context: grpc.ServicerContext
    ) -> pb.DeleteProvisionedUserResponse:
        """Delete a user, or end the connection's claim."""
        caller = access.require_connection(context)
        user_id = names.parse_id("usr", request.id)

        def work(call: Call) -> pb.DeleteProvisionedUserResponse:
            users.delete_user(call, user_id, etag=request.etag)
            return pb.DeleteProvisionedUserResponse()

        return self._write(request, context, caller, pb.DeleteProvisionedUserResponse, work)

    def CreateProvisionedGroup(
        self, request: pb.CreateProvisionedGroupRequest, context: grpc.ServicerContext
    ) -> pb.CreateProvisionedGroupResponse:
        """Make or adopt a group."""
        caller = access.require_connection(context)
        facts, members = _group_facts(request.facts), _member_ids(request.members)

        def work(call: Call) -> pb.CreateProvisionedGroupResponse:
            view = groups.create_group(call, facts, members)
            return pb.CreateProvisionedGroupResponse(group=_group(caller.tenant_id, view))

        with self._refusals_remembered(caller, lambda call: waiting(call, members)):
            return self._write(request, context, caller, pb.CreateProvisionedGroupResponse, work, taken=(GroupIdTaken,))

    def UpdateProvisionedGroup(
        self, request: pb.UpdateProvisionedGroupRequest, context: grpc.ServicerContext
    ) -> pb.UpdateProvisionedGroupResponse:
        """Change a group's head, its members, or both."""
        caller = access.require_connection(context)
        group_id = names.parse_id("grp", request.id)
        facts = _group_facts(request.facts) if request.HasField("facts") else None
        change = groups.MemberChange(
            add=_member_ids(request.add), remove=_known_ids(request.remove), replace=request.replace
        )

        def work(call: Call) -> pb.UpdateProvisionedGroupResponse:
            changed = groups.update_group(call, group_id, facts, change, etag=request.etag)
            return pb.UpdateProvisionedGroupResponse(
                group=_group(caller.tenant_id, changed.group), added=changed.added, removed=changed.removed
            )

        with self._refusals_remembered(caller, lambda call: waiting(call, change.add)):
            return self._write(request, context, caller, pb.UpdateProvisionedGroupResponse, work)

    def DeleteProvisionedGroup(
        self, request: pb.DeleteProvisionedGroupRequest, context: grpc.ServicerContext
    ) -> pb.DeleteProvisionedGroupResponse:
        """Delete a group."""
        caller = access.require_connection(context)
        group_id = names.parse_id("grp", request.id)

        def work(call: Call) -> pb.DeleteProvisionedGroupResponse:
            groups.delete_group(call, group_id, etag=request.etag)
            return pb.DeleteProvisionedGroupResponse()

        return self._write(request, context, caller, pb.DeleteProvisionedGroupResponse, work)

    def JudgeDepartures(
        self, request: pb.JudgeDeparturesRequest, context: grpc.ServicerContext
    ) -> pb.JudgeDeparturesResponse:
        """End a unit of work."""
        caller = access.require_connection(context)
        if not request.unit_of_work:
            raise InvalidArgument([("unit_of_work", "must not be empty")])

        def work(call: Call) -> pb.JudgeDeparturesResponse:
            return pb.JudgeDeparturesResponse(left=judge(call, call.unit))

        return self._write(request, context, caller, pb.JudgeDeparturesResponse, work)

    def BatchCall(self, request: pb.BatchCallRequest, context: grpc.ServicerContext) -> pb.BatchCallResponse:
        """Make several calls in one."""
        access.require_connection(context)
        methods: dict[str, Method] = {
            "get_user": self.GetProvisionedUser,
            "get_group": self._head,
            "search": self.SearchProvisioned,
            "create_user": self.CreateProvisionedUser,
            "update_user": self.UpdateProvisionedUser,
            "update_group": self.UpdateProvisionedGroup,
        }
        return answer_batch(request, context, methods, self.store.together)

    def _head(
        self, request: pb.GetProvisionedGroupRequest, context: grpc.ServicerContext
    ) -> pb.GetProvisionedGroupResponse:
        if request.with_members:
            raise InvalidArgument([("with_members", "must be false in a batch")])
        (head,) = self.GetProvisionedGroup(request, context)
        return head

    def _begin(self, session: Session, caller: Caller) -> Call:
        return begin(session, caller.tenant_id, caller.source_id, now=self.clock())

    def _write(
        self,
        request: Message,
        context: grpc.ServicerContext,
        caller: Caller,
        answer_type: type[_Answer],
        work: Callable[[Call], _Answer],
        *,
        taken: tuple[type[Exception], ...] = (),
    ) -> _Answer:
        """Write, and once more where that was `taken`.

        Perhaps it was by the first attempt of this very request, which has come to its end only now (S13).
        """
        unit = _unit_of(request)

        def in_transaction(session: Session, now: datetime) -> _Answer:
            answer = work(begin(session, caller.tenant_id, caller.source_id, now=now, unit=unit))
            context.set_trailing_metadata((access.tenant_trailer(caller), (EFFECTS, effects_text(told_kinds(session)))))
            return answer

        def write() -> _Answer:
            return self.write_once(request, context, caller.tenant_id, answer_type, in_transaction)

        def write_with_freed_seats() -> _Answer:
            try:
                return write()
            except LicenseLimitReached:
                # Those whom the unit has left without a group may be the seats it needs; who is put into one later in
                # it comes back as it was (S7).
                if not unit or not self._judged(caller, unit):
                    raise
                return write()

        with self._guard_heeded(caller):
            try:
                return write_with_freed_seats()
            except taken:
                return write_with_freed_seats()

    def _judged(self, caller: Caller, unit: str) -> int:
        with self.store.write(caller.tenant_id) as session:
            return judge(self._begin(session, caller), unit)

    @contextmanager
    def _guard_heeded(self, caller: Caller) -> Iterator[None]:
        """Pause the connection when its guard has refused a request, which has undone its transaction (S13)."""
        try:
            yield
        except GuardTripped as tripped:
            with suppress(TenantLockedError), self.store.write(caller.tenant_id) as session:
                guard.pause(session, caller.tenant_id, caller.source_id, tripped, now=self.clock())
            raise

    @contextmanager
    def _refusals_remembered(self, caller: Caller, refused: Callable[[Call], Sequence[Refused]]) -> Iterator[None]:
        """List whoever is refused a seat for the administrators (S5): the refusal itself has undone its transaction."""
        try:
            yield
        except LicenseLimitReached as error:
            with suppress(TenantLockedError), self.store.write(caller.tenant_id) as session:
                call = self._begin(session, caller)
                first = remember_refusals(session, caller.tenant_id, caller.source_id, refused(call), now=call.now)
                if first:
                    told = {
                        "user_name": first[0],
                        "seats_total": error.seats_total,
                        "seats_used": error.seats_used,
                        "refused": count_refusals(session, caller.tenant_id, caller.source_id),
                    }
                    call.tell([Change("license.refused", ("lic", caller.tenant_id), after=told)])
            raise


def _unit_of(request: Message) -> str:
    """Read which unit of work a call is part of; empty: none. Errors: InvalidArgument."""
    unit = str(getattr(request, "unit_of_work", ""))
    if unit and not _UNIT.fullmatch(unit):
        raise InvalidArgument([("unit_of_work", "must be 1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-`")])
    return unit


def _search(request: pb.SearchProvisionedRequest) -> search.Search:
    kinds = set(request.kinds)
    if not kinds or not kinds <= {USER, GROUP}:
        raise InvalidArgument([("kinds", "must name users, groups, or both")])
    fields = {USER: "user", GROUP: "group"}
    return search.Search(
        filters={kind: optional_filter(request, f"{fields[kind]}_filter") for kind in sorted(kinds)},
        sorts={kind: optional_sort(request, f"{fields[kind]}_sort") for kind in sorted(kinds)},
        offset=max(1, request.start_index) - 1,
        count=request.count if request.HasField("count") else search.MOST_RESULTS,
        token=request.page_token if request.HasField("page_token") else None,
        with_groups=request.with_groups,
    )


def _user_facts(message: pb.UserFacts) -> UserFacts:
    return UserFacts(
        user_name=message.user_name,
        external_id=message.external_id,
        active=message.active,
        display_name=message.display_name,
        email=message.email,
        title=message.title,
        phone=message.phone,
        secondary_phone=message.secondary_phone,
        attributes=message.attributes,
    )


def _group_facts(message: pb.GroupFacts) -> GroupFacts:
    return GroupFacts(external_id=message.external_id, display_name=message.display_name, attributes=message.attributes)


def _member_ids(members: Iterable[str]) -> list[int]:
    """Read the ids of members. Errors: UnknownMembers, naming what is no id of a user."""
    found = {member: _known_ids([member]) for member in members}
    unknown = [member for member, numbers in found.items() if not numbers]
    if unknown:
        raise UnknownMembers(unknown[:20], are_foreign=not any(map(is_like_an_id, found)))
    return [number for numbers in found.values() for number in numbers]


def _known_ids(members: Iterable[str]) -> list[int]:
    """Read the ids of members who are to go; what is no id of a user is nobody's."""
    numbers = []
    for member in members:
        with suppress(NotFound):
            numbers.append(names.parse_id("usr", member))
    return numbers


def _user(tenant_id: int, view: reads.UserView) -> pb.ProvisionedUser:
    return pb.ProvisionedUser(
        id=names.short_name("usr", view.id),
        attributes=view.document.encode(),
        active=view.is_active,
        groups=_references("grp", view.groups),
        management=pb.UserManagement.ValueType(view.management),
        etag=etag_of(names.USER.format(tenant_id, view.id), view.revision),
        create_time=timestamp(view.create_time),
        update_time=timestamp(view.update_time),
    )


def _group(tenant_id: int, view: reads.GroupView) -> pb.ProvisionedGroup:
    return pb.ProvisionedGroup(
        id=names.short_name("grp", view.id),
        attributes=view.document.encode(),
        etag=etag_of(names.GROUP.format(tenant_id, view.id), view.revision),
        create_time=timestamp(view.create_time),
        update_time=timestamp(view.update_time),
    )


def _references(prefix: str, references: Iterable[reads.Reference]) -> list[pb.ProvisionedReference]:
    return [
        pb.ProvisionedReference(id=names.short_name(prefix, each.id), display_name=each.display_name)
        for each in references
    ]
