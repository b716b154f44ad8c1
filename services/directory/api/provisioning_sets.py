"""Do several calls of one kind as one, with as many statements as one of them takes (docs/adr/0030).

Each method answers those that it can do so; for each of the others there is None, and nothing was done of it. What
comes of a call is what would have come of it by itself.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import grpc
from google.protobuf.message import Message
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime.effects import effects_text
from sqlmodel import Session

from services.directory.api import access
from services.directory.api.batches import Done
from services.directory.api.provisioning_messages import (
    group_message,
    known_ids,
    member_ids,
    number_of,
    page_message,
    search_of,
    unit_of,
    user_facts,
    user_message,
)
from services.directory.api.servicer import Servicer
from services.directory.operations.provisioning import groups, reads, search, users
from services.directory.operations.provisioning.call import Call, begin
from services.directory.operations.tokens import Caller
from services.directory.rules import names
from services.directory.store.events import told_kinds

_Answer = TypeVar("_Answer", bound=Message)


class ProvisioningSets(Servicer):
    """Sets of a connection's calls."""

    def get_users(
        self, requests: Sequence[pb.GetProvisionedUserRequest], context: grpc.ServicerContext
    ) -> list[Done | None]:
        """Read users together, all with groups."""
        caller = access.require_connection(context)
        ids = [number_of("usr", request.id) if request.with_groups else 0 for request in requests]
        with self.store.read(caller.tenant_id) as session:
            views = reads.get_users(self._begin(session, caller), filter(None, ids), with_groups=True)
        answers = {
            user_id: pb.GetProvisionedUserResponse(user=user_message(caller.tenant_id, view))
            for user_id, view in views.items()
        }
        return [Done(answers[each]) if each in answers else None for each in ids]

    def get_heads(
        self, requests: Sequence[pb.GetProvisionedGroupRequest], context: grpc.ServicerContext
    ) -> list[Done | None]:
        """Read groups together, without members."""
        caller = access.require_connection(context)
        ids = [0 if request.with_members else number_of("grp", request.id) for request in requests]
        with self.store.read(caller.tenant_id) as session:
            views = reads.groups_of(self._begin(session, caller), sorted({*ids}))
        answers = {
            view.id: pb.GetProvisionedGroupResponse(group=group_message(caller.tenant_id, view)) for view in views
        }
        return [Done(answers[each]) if each in answers else None for each in ids]

    def search_named(
        self, requests: Sequence[pb.SearchProvisionedRequest], context: grpc.ServicerContext
    ) -> list[Done | None]:
        """Search together for whom an `eq` names."""
        caller = access.require_connection(context)
        wanted = [search_of(request) for request in requests]
        with self.store.read(caller.tenant_id) as session:
            pages = search.find_named(self._begin(session, caller), wanted)
        return [Done(page_message(caller.tenant_id, page)) if page is not None else None for page in pages]

    def create_users(
        self, requests: Sequence[pb.CreateProvisionedUserRequest], context: grpc.ServicerContext
    ) -> list[Done | None]:
        """Make users together who are plainly new."""
        caller = access.require_connection(context)
        facts = [user_facts(request.facts) for request in requests]

        def work(call: Call, places: Sequence[int]) -> list[pb.CreateProvisionedUserResponse | None]:
            made = users.create_users(call, [facts[place] for place in places])
            return [
                None if view is None else pb.CreateProvisionedUserResponse(user=user_message(caller.tenant_id, view))
                for view in made
            ]

        return self._write_all(requests, context, caller, pb.CreateProvisionedUserResponse, work)

    def move_members(
        self, requests: Sequence[pb.UpdateProvisionedGroupRequest], context: grpc.ServicerContext
    ) -> list[Done | None]:
        """Change the members of one group together: one of the sets of `moves_by_group`."""
        caller = access.require_connection(context)
        group_id = names.parse_id("grp", requests[0].id)
        changes = [
            groups.MemberChange(add=member_ids(request.add), remove=known_ids(request.remove)) for request in requests
        ]

        def work(call: Call, places: Sequence[int]) -> list[pb.UpdateProvisionedGroupResponse]:
            moved = groups.move_members(call, group_id, [changes[place] for place in places])
            return [
                pb.UpdateProvisionedGroupResponse(
                    group=group_message(caller.tenant_id, each.group), added=each.added, removed=each.removed
                )
                for each in moved
            ]

        return self._write_all(requests, context, caller, pb.UpdateProvisionedGroupResponse, work)

    def _write_all(
        self,
        requests: Sequence[Message],
        context: grpc.ServicerContext,
        caller: Caller,
        answer_type: type[_Answer],
        work: Callable[[Call, Sequence[int]], Sequence[_Answer | None]],
    ) -> list[Done | None]:
        """Write for several requests in one transaction; those that are part of a unit of work are left out."""
        alone = [place for place, request in enumerate(requests) if not unit_of(request)]
        effects: dict[int, str] = {}

        def in_transaction(session: Session, now: datetime, places: Sequence[int]) -> Sequence[_Answer | None]:
            call = begin(session, caller.tenant_id, caller.source_id, now=now)
            answers = work(call, [alone[each] for each in places])
            written = [place for place, answer in zip(places, answers, strict=True) if answer is not None]
            effects.update({place: effects_text(told_kinds(session, number)) for number, place in enumerate(written)})
            return answers

        answers = self.write_all_once(
            [requests[place] for place in alone], context, caller.tenant_id, answer_type, in_transaction
        )
        done = {
            alone[number]: Done(answer, effects.get(number, ""))
            for number, answer in enumerate(answers)
            if answer is not None
        }
        return [done.get(place) for place in range(len(requests))]

    def _begin(self, session: Session, caller: Caller) -> Call:
        return begin(session, caller.tenant_id, caller.source_id, now=self.clock())


def moves_by_group(requests: Sequence[pb.UpdateProvisionedGroupRequest]) -> Iterable[list[int]]:
    """Find, by group, the requests that only put people in and take people out, nobody of whom one before them means.

    So what is asked of one person is done in the order in which it came.
    """
    places: defaultdict[int, list[int]] = defaultdict(list)
    meant: set[str] = set()
    for place, request in enumerate(requests):
        group_id = number_of("grp", request.id)
        is_more = request.HasField("facts") or request.replace or request.etag or request.unit_of_work
        people = {*request.add, *request.remove}
        if group_id and not is_more and meant.isdisjoint(people):
            places[group_id].append(place)
        meant |= people
    return places.values()
