"""Keep SCIM resources in the directory, over gRPC, with the key of whoever calls."""

from __future__ import annotations

import asyncio
import functools
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

import grpc.aio
import structlog
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime import identity
from scim2_models import Resource, ResourceType, ResponseParameters, SCIMException, SearchRequest
from scim2_server.conditions import opaque_tag
from scim2_server.storage import AsyncScimStorage, SearchPage

from services.scim_gateway import mapping
from services.scim_gateway.answers import Members, keeps
from services.scim_gateway.errors import TOO_SLOW, GuardException, TryLaterException, scim_error, scim_error_of
from services.scim_gateway.filters import attribute_of, filter_of
from services.scim_gateway.schemas import GROUP, MAX_RESULTS, USER, model
from services.scim_gateway.together import Answered, FailedCallError, Together, outcome_of

log = structlog.get_logger()

DEADLINE_S = 10.0
"""How long one call to the directory may take."""
REQUEST_S = 20.0
"""How long all calls of a request may take together: providers give up after 30 s."""
A_CHUNK = 5_000
"""Members that the directory gives at one time, where there are so many."""
_GROUPS_AT_ONCE = 8
_FEW = 20
"""Members who come or go in one call that takes little."""
Turn = Callable[[], AbstractAsyncContextManager[Any]]
_MOST_START_INDEX = 2**31 - 1
_KINDS = {USER: pb.PROVISIONED_KIND_USER, GROUP: pb.PROVISIONED_KIND_GROUP}


@functools.lru_cache(maxsize=1)
def _together_on(channel: grpc.aio.Channel) -> Together:
    """What the process's one channel is called on; to make it costs more than a call's own work."""
    return Together(channel)


class DirectoryStorage(AsyncScimStorage):
    """One caller's users and groups in the directory, with no power but the caller's key; making one costs nothing."""

    supports_cursors = True

    def __init__(
        self,
        channel: grpc.aio.Channel,
        key: str,
        *,
        request_id: str = "",
        learn_tenant: Callable[[str], None] = lambda _: None,
        later_turn: Turn = nullcontext,
    ) -> None:
        self._together = _together_on(channel)
        self._stub: Any = self._together.stub
        self.effects: dict[str, int] = {}
        """What its calls changed in the register: kinds of events, and how many of each."""
        self._turn: Turn = nullcontext
        self._later_turn = later_turn
        self._key, self._request_id = key, request_id or uuid.uuid4().hex
        self._metadata = (identity.bearer(key), (identity.REQUEST_ID, self._request_id))
        self._learn_tenant = learn_tenant
        self._ends_s = time.monotonic() + REQUEST_S
        self._unit = ""
        self._may_leave = False

    @asynccontextmanager
    async def as_one(self) -> AsyncIterator[None]:
        """Let all that is done inside be one request, judged by its end state (S7).

        Where its end cannot be said, the directory judges by itself, a minute later. Errors: GuardException.
        """
        self._unit = _attempt()
        yield
        unit, self._unit = self._unit, ""
        if not self._may_leave:
            return
        request = pb.JudgeDeparturesRequest(unit_of_work=unit, request_id=_attempt())
        try:
            await self._call(self._stub.JudgeDepartures, request)
        except GuardException:
            raise
        except SCIMException as error:
            log.warning("scim.not_judged", status=error.status)

    async def get(
        self,
        resource_type: ResourceType,
        resource_id: str,
        *,
        response_parameters: ResponseParameters[Any] | None = None,
    ) -> Resource[Any]:
        """Read a resource; a group's members and a user's groups only if the answer keeps them."""
        kept = keeps(response_parameters, str(resource_type.name))
        if resource_type.name == USER:
            return mapping.user_of(await self.read_user(resource_id, with_groups=kept))
        head, members = await self.read_group_parts(resource_id, with_members=kept)
        return mapping.group_of(head, members if kept else None)

    async def search(
        self,
        resource_types: list[ResourceType],
        search_request: SearchRequest[Any],
        *,
        position: Any = None,
    ) -> SearchPage:
        """Find users and groups in one call; the directory filters, sorts and pages."""
        page = await self.find(resource_types, search_request, position)
        groups = (each.group.id for each in page.resources if each.HasField("group") and keeps(search_request, GROUP))
        members = await self._members_of(groups)
        resources = [
            mapping.user_of(each.user)
            if each.HasField("user")
            else mapping.group_of(each.group, members.get(each.group.id))
            for each in page.resources
        ]
        return SearchPage(page.total, resources, page.next_page_token or None, page.previous_page_token or None)

    async def find(
        self, resource_types: list[ResourceType], search_request: SearchRequest[Any], position: Any
    ) -> pb.SearchProvisionedResponse:
        """Find as `search` does; gives what the directory keeps, groups without members."""
        names = [str(each.name) for each in resource_types]
        request = _search_of(names, search_request, position)
        request.with_groups = USER in names and keeps(search_request, USER)
        return await self.find_page(request)

    async def find_page(self, request: pb.SearchProvisionedRequest) -> pb.SearchProvisionedResponse:
        """Find a page of what the directory keeps."""
        page: pb.SearchProvisionedResponse = await self._call(self._stub.SearchProvisioned, request)
        return page

    async def find_named(self, request: pb.SearchProvisionedRequest) -> pb.SearchProvisionedResponse:
        """Find whoever has a name, which takes little."""
        page: pb.SearchProvisionedResponse = await self._call_briefly("search", request)
        return page

    async def create_user(self, facts: pb.UserFacts) -> pb.ProvisionedUser:
        """Make a user."""
        request = pb.CreateProvisionedUserRequest(facts=facts, request_id=_attempt(), unit_of_work=self._unit)
        answer: pb.CreateProvisionedUserResponse = await self._call_briefly("create_user", request)
        return answer.user

    async def create(self, resource_type: ResourceType, resource: Resource[Any]) -> Resource[Any]:
        """Make a resource; who does not say whether a user is active means that it is."""
        if resource_type.name == USER:
            if getattr(resource, "active", None) is None:
                resource = resource.model_copy(update={"active": True})
            return mapping.user_of(await self.create_user(mapping.user_facts(resource, active=True)))
        group = await self.create_group(resource)
        return await self.get(resource_type, group.id or "") if mapping.member_ids(resource) else group

    async def create_group(self, resource: Resource[Any]) -> Resource[Any]:
        """Make a group with its members; gives its head."""
        request = pb.CreateProvisionedGroupRequest(
            facts=mapping.group_facts(resource),
            members=mapping.member_ids(resource) or (),
            request_id=_attempt(),
            unit_of_work=self._unit,
        )
        return mapping.group_of((await self._call(self._stub.CreateProvisionedGroup, request)).group)

    async def update(
        self,
        resource_type: ResourceType,
        resource: Resource[Any],
        *,
        expected_version: str | None = None,
    ) -> Resource[Any]:
        """Replace what is said of a resource; a group that does not speak of members keeps them."""
        etag = etag_of(expected_version)
        if resource_type.name == USER:
            return mapping.user_of(await self.write_user(resource, active=True, etag=etag))
        members = mapping.member_ids(resource)
        return await self.write_group(
            pb.UpdateProvisionedGroupRequest(
                id=resource.id or "",
                facts=mapping.group_facts(resource),
                add=members or (),
                replace=members is not None,
                etag=etag,
            )
        )

    async def delete(
        self, resource_type: ResourceType, resource_id: str, *, expected_version: str | None = None
    ) -> None:
        """Delete a resource."""
        fields = {"id": resource_id, "etag": etag_of(expected_version), "request_id": _attempt()}
        if resource_type.name == USER:
            await self._call(self._stub.DeleteProvisionedUser, pb.DeleteProvisionedUserRequest(**fields))
        else:
            self._may_leave = True
            request = pb.DeleteProvisionedGroupRequest(**fields, unit_of_work=self._unit)
            await self._call(self._stub.DeleteProvisionedGroup, request)

    async def read_user(self, user_id: str, *, with_groups: bool) -> pb.ProvisionedUser:
        """Read a user as the directory keeps it."""
        request = pb.GetProvisionedUserRequest(id=user_id, with_groups=with_groups)
        answer: pb.GetProvisionedUserResponse = await self._call_briefly("get_user", request)
        return answer.user

    async def write_user(self, user: Resource[Any], *, active: bool, etag: str) -> pb.ProvisionedUser:
        """Replace all that is said of a user, who is `active` where it does not say so itself.

        PreconditionFailedException when `etag` is another one by now.
        """
        request = pb.UpdateProvisionedUserRequest(
            id=user.id or "",
            facts=mapping.user_facts(user, active=active),
            etag=etag,
            request_id=_attempt(),
            unit_of_work=self._unit,
        )
        answer: pb.UpdateProvisionedUserResponse = await self._call_briefly("update_user", request)
        return answer.user

    async def read_group(self, group_id: str) -> Resource[Any]:
        """Read a group's head."""
        return mapping.group_of(await self.read_head(group_id))

    async def read_head(self, group_id: str) -> pb.ProvisionedGroup:
        """Read a group's head as the directory keeps it."""
        answer: pb.GetProvisionedGroupResponse = await self._call_briefly(
            "get_group", pb.GetProvisionedGroupRequest(id=group_id)
        )
        return answer.group

    async def read_group_parts(self, group_id: str, *, with_members: bool) -> tuple[pb.ProvisionedGroup, Members]:
        """Read a group's head and its members, chunk by chunk."""
        return await self._parts(pb.GetProvisionedGroupRequest(id=group_id, with_members=with_members))

    async def _parts(self, request: pb.GetProvisionedGroupRequest) -> tuple[pb.ProvisionedGroup, Members]:
        members: list[pb.ProvisionedReference] = []
        head = pb.ProvisionedGroup()
        async for part in self._stream(request):
            if part.HasField("group"):
                head = part.group
            members.extend(part.members)
        return head, members

    async def begin_group(self, group_id: str) -> tuple[pb.ProvisionedGroup, Members]:
        """Read a group's head and the first chunk of its members."""
        return await self._chunk(group_id, "")

    async def chunks_of_members(self, group_id: str, first: Members) -> AsyncGenerator[Members, None]:
        """Give the members chunk by chunk, the first of which has been read."""
        chunk = first
        yield chunk
        while len(chunk) >= A_CHUNK:
            _, chunk = await self._chunk(group_id, chunk[-1].id)
            yield chunk

    async def first_members(self, group_id: str) -> Members:
        """Read the first chunk of a group's members."""
        return (await self._chunk(group_id, ""))[1]

    def answer_has_begun(self) -> None:
        """Let the request's own turn and time be over: each chunk from now on has those of its own."""
        self._turn = self._later_turn

    async def _chunk(self, group_id: str, after: str) -> tuple[pb.ProvisionedGroup, Members]:
        request = pb.GetProvisionedGroupRequest(id=group_id, with_members=True, members_after=after)
        async with self._turn():
            if self._turn is self._later_turn:
                self._ends_s = time.monotonic() + REQUEST_S
            return await self._parts(request)

    async def write_group(self, request: pb.UpdateProvisionedGroupRequest) -> Resource[Any]:
        """Change a group's head, members or both, in one call; gives the head."""
        return mapping.group_of(await self.change_group(request))

    async def change_group(self, request: pb.UpdateProvisionedGroupRequest) -> pb.ProvisionedGroup:
        """Change a group as `write_group` does; gives the head as the directory keeps it."""
        request.request_id, request.unit_of_work = _attempt(), self._unit
        self._may_leave = True
        is_brief = not request.replace and len(request.add) + len(request.remove) <= _FEW
        answer: pb.UpdateProvisionedGroupResponse = await (
            self._call_briefly("update_group", request)
            if is_brief
            else self._call(self._stub.UpdateProvisionedGroup, request)
        )
        return answer.group

    async def _members_of(self, group_ids: Iterable[str]) -> dict[str, Members]:
        gate = asyncio.Semaphore(_GROUPS_AT_ONCE)

        async def read(group_id: str) -> tuple[str, Members]:
            async with gate:
                return group_id, (await self.read_group_parts(group_id, with_members=True))[1]

        return dict(await asyncio.gather(*(read(group_id) for group_id in group_ids)))

    async def _call(self, method: Any, request: Any) -> Any:
        try:
            call = method(request, metadata=self._metadata, timeout=self._time_left_s())
            return self._noted(await outcome_of(call))
        except grpc.RpcError as error:
            raise (scim_error(error) or error) from None

    async def _call_briefly(self, kind: str, request: Any) -> Any:
        """Make a call that takes little: with others of the key, if any are under way."""
        try:
            return self._noted(
                await self._together.call(
                    kind, request, key=self._key, request_id=self._request_id, timeout_s=self._time_left_s()
                )
            )
        except FailedCallError as failed:
            raise (scim_error_of(failed.failure) or failed) from None
        except grpc.RpcError as error:
            raise (scim_error(error) or error) from None

    def _noted(self, answer: Answered) -> Any:
        """Note what a call changed and whose it was; gives what it answers."""
        for kind, count in answer.effects.items():
            self.effects[kind] = self.effects.get(kind, 0) + count
        if answer.tenant:
            self._learn_tenant(answer.tenant)
        return answer.message

    async def _stream(self, request: pb.GetProvisionedGroupRequest) -> AsyncIterator[pb.GetProvisionedGroupResponse]:
        try:
            async for part in self._stub.GetProvisionedGroup(
                request, metadata=self._metadata, timeout=self._time_left_s()
            ):
                yield part
        except grpc.RpcError as error:
            raise (scim_error(error) or error) from None

    def _time_left_s(self) -> float:
        """How long the next call may take. Errors: TryLaterException when the request's time is over."""
        left_s = self._ends_s - time.monotonic()
        if left_s <= 0:
            raise TryLaterException(detail=TOO_SLOW)
        return min(DEADLINE_S, left_s)


def etag_of(version: str | None) -> str:
    """The directory's etag in a SCIM version."""
    return opaque_tag(version) if version else ""


def _search_of(names: Sequence[str], search: SearchRequest[Any], position: Any) -> pb.SearchProvisionedRequest:
    request = pb.SearchProvisionedRequest(
        kinds=[_KINDS[name] for name in names],
        start_index=min(search.start_index or 1, _MOST_START_INDEX),
        count=MAX_RESULTS if search.count is None else min(search.count, MAX_RESULTS),
    )
    if search.cursor is not None:
        request.page_token = str(position or "")
    for name, filter_into, sort_into in (
        (USER, request.user_filter, request.user_sort),
        (GROUP, request.group_filter, request.group_sort),
    ):
        if name not in names:
            continue
        if search.filter is not None:
            filter_into.CopyFrom(filter_of(search.filter, model(name)))
        sort = _sort_of(search, model(name))
        if sort is not None:
            sort_into.CopyFrom(sort)
    return request


def _sort_of(search: SearchRequest[Any], resource_model: type[Resource[Any]]) -> pb.SortOrder | None:
    binding = search.sort_binding(resource_model)
    if binding is None:
        return None
    descending = search.sort_order == SearchRequest.SortOrder.descending
    return pb.SortOrder(attribute=attribute_of(binding), descending=descending)


def _attempt() -> str:
    return str(uuid.uuid4())
