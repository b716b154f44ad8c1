"""ProvisioningService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from services.directory.api.batches import Kind, answer_batch
from services.directory.api.provisioning_messages import (
    group_facts,
    group_message,
    known_ids,
    member_ids,
    page_message,
    reference_messages,
    search_of,
    unit_of,
    user_facts,
    user_message,
)
from services.directory.api.provisioning_sets import ProvisioningSets, moves_by_group
from services.directory.api.servicer import Resources, Servicer
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
    UserNameTaken,
)
from services.directory.store.events import Change, told_kinds
from services.directory.store.session import TenantLockedError

_Answer = TypeVar("_Answer", bound=Message)


class ProvisioningServicer(Servicer, provisioning_pb2_grpc.ProvisioningServiceServicer):
    """What an identity provider may do through its connection."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        sets = ProvisioningSets(resources)
        self._kinds = {
            "get_user": Kind(self.GetProvisionedUser, sets.get_users),
            "get_group": Kind(self._head, sets.get_heads),
            "search": Kind(self.SearchProvisioned, sets.search_named),
            "create_user": Kind(self.CreateProvisionedUser, sets.create_users, is_writing=True),
            "update_user": Kind(self.UpdateProvisionedUser, is_writing=True),
            "update_group": Kind(self.UpdateProvisionedGroup, sets.move_members, moves_by_group, is_writing=True),
        }

    def GetProvisionedUser(
        self, request: pb.GetProvisionedUserRequest, context: grpc.ServicerContext
    ) -> pb.GetProvisionedUserResponse:
        """Read a user."""
        caller = access.require_connection(context)
        user_id = names.parse_id("usr", request.id)
        with self.store.read(caller.tenant_id) as session:
            call = self._begin(session, caller)
            view = reads.get_user(call, user_id, with_groups=request.with_groups)
        return pb.GetProvisionedUserResponse(user=user_message(caller.tenant_id, view))

    def GetProvisionedGroup(
        self, request: pb.GetProvisionedGroupRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.GetProvisionedGroupResponse]:
        """Read a group: its head, then its members."""
        caller = access.require_connection(context)
        group_id = names.parse_id("grp", request.id)
        after = names.parse_id("usr", request.members_after) if request.members_after else 0
        with self.store.read(caller.tenant_id) as session:
            call = self._begin(session, caller)
            yield pb.GetProvisionedGroupResponse(group=group_message(caller.tenant_id, reads.get_group(call, group_id)))
            chunks = reads.members(call, group_id, after=after) if request.with_members else iter(())
            for chunk in islice(chunks, 1 if request.HasField("members_after") else None):
                yield pb.GetProvisionedGroupResponse(members=reference_messages("usr", chunk))

    def SearchProvisioned(
        self, request: pb.SearchProvisionedRequest, context: grpc.ServicerContext
    ) -> pb.SearchProvisionedResponse:
        """Find users and groups."""
        caller = access.require_connection(context)
        wanted = search_of(request)
        with self.store.read(caller.tenant_id) as session:
            found = search.search(self._begin(session, caller), wanted)
        return page_message(caller.tenant_id, found)

    def CreateProvisionedUser(
        self, request: pb.CreateProvisionedUserRequest, context: grpc.ServicerContext
    ) -> pb.CreateProvisionedUserResponse:
        """Make a user, take one over, or restore one."""
        caller = access.require_connection(context)
        facts = user_facts(request.facts)

        def work(call: Call) -> pb.CreateProvisionedUserResponse:
            return pb.CreateProvisionedUserResponse(user=user_message(caller.tenant_id, users.create_user(call, facts)))

        with self._refusals_remembered(caller, lambda _: [Refused(facts.user_name, facts.external_id)]):
            taken = (UserNameTaken, EmailTaken) if facts.external_id else ()
            return self._write(request, context, caller, pb.CreateProvisionedUserResponse, work, taken=taken)

    def UpdateProvisionedUser(
        self, request: pb.UpdateProvisionedUserRequest, context: grpc.ServicerContext
    ) -> pb.UpdateProvisionedUserResponse:
        """Replace all that is said of a user."""
        caller = access.require_connection(context)
        user_id, facts = names.parse_id("usr", request.id), user_facts(request.facts)

        def work(call: Call) -> pb.UpdateProvisionedUserResponse:
            view = users.update_user(call, user_id, facts, etag=request.etag)
            return pb.UpdateProvisionedUserResponse(user=user_message(caller.tenant_id, view))

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
        facts, members = group_facts(request.facts), member_ids(request.members)

        def work(call: Call) -> pb.CreateProvisionedGroupResponse:
            view = groups.create_group(call, facts, members)
            return pb.CreateProvisionedGroupResponse(group=group_message(caller.tenant_id, view))

        with self._refusals_remembered(caller, lambda call: waiting(call, members)):
            return self._write(request, context, caller, pb.CreateProvisionedGroupResponse, work, taken=(GroupIdTaken,))

    def UpdateProvisionedGroup(
        self, request: pb.UpdateProvisionedGroupRequest, context: grpc.ServicerContext
    ) -> pb.UpdateProvisionedGroupResponse:
        """Change a group's head, its members, or both."""
        caller = access.require_connection(context)
        group_id = names.parse_id("grp", request.id)
        facts = group_facts(request.facts) if request.HasField("facts") else None
        change = groups.MemberChange(
            add=member_ids(request.add), remove=known_ids(request.remove), replace=request.replace
        )

        def work(call: Call) -> pb.UpdateProvisionedGroupResponse:
            changed = groups.update_group(call, group_id, facts, change, etag=request.etag)
            return pb.UpdateProvisionedGroupResponse(
                group=group_message(caller.tenant_id, changed.group), added=changed.added, removed=changed.removed
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
        return pb.BatchCallResponse(answers=answer_batch(request.calls, context, self._kinds, self.store.together))

    def StreamBatches(
        self, request_iterator: Iterator[pb.StreamBatchesRequest], context: grpc.ServicerContext
    ) -> Iterator[pb.StreamBatchesResponse]:
        """Make one batch after another."""
        with self.batch_streams.take():
            context.send_initial_metadata((access.tenant_trailer(access.require_connection(context)),))
            for request in request_iterator:
                access.require_connection(context)
                wait_s = request.timeout.ToTimedelta().total_seconds() if request.HasField("timeout") else None
                answers = answer_batch(request.calls, context, self._kinds, self.store.together, wait_s=wait_s)
                yield pb.StreamBatchesResponse(answers=answers)

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
        unit = unit_of(request)

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
