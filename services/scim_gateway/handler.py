"""Serve SCIM operations over the directory: tolerant reading, PATCH and PUT that lose no update, groups by deltas."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from muster.directory.v1 import provisioning_pb2 as pb
from scim2_models import (
    BulkOperation,
    PatchOp,
    PreconditionFailedException,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    SearchRequest,
    UnauthorizedException,
)
from scim2_server.conditions import Conditions
from scim2_server.handler import AsyncScimHandler
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Operation

from services.scim_gateway import mapping
from services.scim_gateway.answers import keeps, user_json, version_of
from services.scim_gateway.errors import ForeignMembersException, TryLaterException
from services.scim_gateway.group_writes import GroupWrites
from services.scim_gateway.groups import NotFoldableError, fold
from services.scim_gateway.notes import Notes
from services.scim_gateway.patches import makes_entries
from services.scim_gateway.problems import problem_of
from services.scim_gateway.schemas import GROUP, USER
from services.scim_gateway.schemas import resource_type as type_of
from services.scim_gateway.service import GatewayService
from services.scim_gateway.storage import DirectoryStorage
from services.scim_gateway.streams import begun, group_pieces, list_pieces
from services.scim_gateway.tolerance import operations_of, tolerate

_UNCONDITIONAL = Conditions()

ATTEMPTS = 10
"""How often a PATCH or PUT without If-Match is decided again when another one came in between."""


async def _go_on() -> None:
    """Nobody else is waiting."""


class GatewayHandler(AsyncScimHandler):
    """Serves one request; `notes` gathers what its log line shall say."""

    service: GatewayService
    storage: DirectoryStorage

    def __init__(
        self,
        service: GatewayService,
        storage: DirectoryStorage,
        notes: Notes,
        *,
        between_turns: Callable[[], Awaitable[None]] = _go_on,
    ) -> None:
        super().__init__(service, storage)
        self._between_turns = between_turns
        self._notes = notes
        self._groups = GroupWrites(service, storage)
        self._refused: UnauthorizedException | None = None

    async def handle(self, request: ScimRequest) -> ScimResponse:
        """Serve a request, after what is beside the standard in it has been rewritten."""
        with self.service.provider:
            target = self.service.match(request)
            self.service.ensure_body_size(request)
            tolerate(self.service, request, target, self._notes.quirk)
        return await super().handle(request)

    async def create(self, request: ScimRequest) -> ScimResponse:
        """Make a resource, and answer with as much of it as is asked for."""
        with self.service.provider:
            resource_type, _ = self._target(request, Operation.create)
            parameters = self.service.read_response_parameters(resource_type, request.query)
            resource = self.service.read_creation(resource_type, request.body, request.header("Content-Type"))
            if resource_type.name == GROUP and not keeps(parameters, GROUP):
                created: Resource[Any] = await self.storage.create_group(resource)
            else:
                created = await self.storage.create(resource_type, resource)
            return self.service.creation_response(request.base_url, created, parameters)

    async def query(self, request: ScimRequest) -> ScimResponse:
        """Read a resource."""
        with self.service.provider:
            resource_type, resource_id = self._target(request, Operation.query)
            parameters = self.service.read_response_parameters(resource_type, request.query)
            conditions = self.service.read_conditions(request)
            if resource_type.name == GROUP:
                return await self._whole_group(request, resource_id, parameters, conditions)
            user = await self.storage.read_user(resource_id, with_groups=keeps(parameters, USER))
            location = self.service.resource_location(request.base_url, resource_type, user.id)
            body = user_json(user, request.base_url, parameters)
            return self.service.read_response(body, location, version_of(user), conditions)

    async def search(self, request: ScimRequest) -> ScimResponse:
        """Search with GET, over one kind or both."""
        with self.service.provider:
            types = self.service.searched_types(self.service.route(request, Operation.search).endpoint)
            search, position = self.service.read_search_query(types, request.query)
            return await self._found(request, types, search, position)

    async def search_with_body(self, request: ScimRequest) -> ScimResponse:
        """Search with POST, over one kind or both."""
        with self.service.provider:
            types = self.service.searched_types(self.service.route(request, Operation.search_with_body).endpoint)
            search, position = self.service.read_search_body(types, request.body, request.header("Content-Type"))
            return await self._found(request, types, search, position)

    async def replace(self, request: ScimRequest) -> ScimResponse:
        """Replace a resource, without reading a group's members first."""
        with self.service.provider:
            resource_type, resource_id = self._target(request, Operation.replace)
            parameters = self.service.read_response_parameters(resource_type, request.query)
            replacement = self.service.read_replacement(resource_type, request.body, request.header("Content-Type"))
            conditions = self.service.read_conditions(request)
            resource = await self._replaced(resource_type, resource_id, replacement, conditions)
            if resource_type.name == GROUP and keeps(parameters, GROUP):
                return await self._whole_group(request, resource_id, parameters)
            return self.service.replacement_response(request.base_url, resource, parameters)

    async def patch(self, request: ScimRequest) -> ScimResponse:
        """Modify a resource; a group's members by what the operations say alone."""
        with self.service.provider:
            resource_type, resource_id = self._target(request, Operation.patch)
            operations = operations_of(request.body)
            self.service.ensure_json(request.header("Content-Type"))
            parameters = self.service.read_response_parameters(resource_type, request.query)
            conditions = self.service.read_conditions(request)
            if operations == []:
                self._notes.quirk("no_operations")
                resource = await self._unchanged(resource_type, resource_id, conditions)
                return self.service.patch_response(request.base_url, resource, parameters)
            if resource_type.name == GROUP and operations is not None:
                resource, is_whole = await self._patched_group(request, resource_type, resource_id, operations)
                if parameters.attributes and keeps(parameters, GROUP):
                    return await self._whole_group(request, resource_id, parameters)
                if not is_whole and keeps(parameters, GROUP):
                    return self.service.changed_response(resource)
                return self.service.patch_response(request.base_url, resource, parameters)
        return await super().patch(request)

    async def patch_resource(
        self, resource_type: ResourceType, resource_id: str, patch_op: PatchOp[Any], conditions: Conditions
    ) -> Resource[Any]:
        """Apply a PATCH to what is kept, again if another one came in between, so that each of them counts."""
        if resource_type.name == GROUP:
            return await self._groups.patch(resource_id, patch_op, conditions, note=self._notes.quirk)
        for _ in range(ATTEMPTS):
            found = await self.storage.read_user(resource_id, with_groups=True)
            user: Any = mapping.user_of(found)
            if makes_entries(user, patch_op):
                self._notes.quirk("absent_entry")
            patched: Any = self.service.apply_patch(user, patch_op, conditions)
            if patched is None and found.management == pb.USER_MANAGEMENT_OWN:
                return mapping.user_of(found)
            written = await self._written(patched or user, found, conditions)
            if written is not None:
                return written
        raise TryLaterException(retry_after_s=1)

    async def delete_resource(self, resource_type: ResourceType, resource_id: str, conditions: Conditions) -> None:
        """Delete a resource, reading it first only where conditions ask for its version."""
        version = None
        if conditions != Conditions():
            current = await self._unchanged(resource_type, resource_id, conditions, method="DELETE")
            assert current.meta is not None
            version = current.meta.version
        await self.storage.delete(resource_type, resource_id, expected_version=version)

    async def bulk(self, request: ScimRequest) -> ScimResponse:
        """Run a bulk request; a key that does not open refuses all of it and not each operation.

        Who leaves is judged by what the request comes to as a whole (S7); when the guard is against that, all of it is
        refused, and whoever would have left stays until an administrator resumes the connection (S13).
        """
        async with self.storage.as_one():
            response = await super().bulk(request)
        if self._refused is not None:
            raise self._refused
        return response

    async def apply_bulk_operation(
        self, resource_type: ResourceType, operation: BulkOperation[Resource[Any]]
    ) -> Resource[Any] | None:
        """Apply one operation of a bulk request as the single request that it stands for, in a turn of its own."""
        await self._between_turns()
        try:
            if operation.method == BulkOperation.Method.put:
                conditions = Conditions(if_match=operation.version)
                replacement: Any = operation.data
                return await self._replaced(resource_type, operation.resource_id or "", replacement, conditions)
            return await super().apply_bulk_operation(resource_type, operation)
        except UnauthorizedException as error:
            self._refused = error
            raise
        except SCIMException as error:
            self._notes.problem = self._notes.problem or problem_of(error, int(error.to_error().status or 400))
            raise

    def _target(self, request: ScimRequest, operation: Operation) -> tuple[ResourceType, str]:
        target = self.service.route(request, operation)
        return self.service.resource_type_at(target.endpoint or ""), target.resource_id or ""

    async def _whole_group(
        self,
        request: ScimRequest,
        group_id: str,
        parameters: ResponseParameters[Any],
        conditions: Conditions = _UNCONDITIONAL,
    ) -> ScimResponse:
        """Answer with a group as it is now, with members if they are kept."""
        if keeps(parameters, GROUP):
            head, first = await self.storage.begin_group(group_id)
        else:
            head, first = await self.storage.read_group_parts(group_id, with_members=False)
        location = self.service.resource_location(request.base_url, type_of(GROUP), head.id)
        response = self.service.read_response(None, location, version_of(head), conditions)
        if response.status == HTTPStatus.OK:
            pieces = group_pieces(self.storage, head, first, request.base_url, parameters)
            response.body = await begun(self.storage, pieces)  # type: ignore[assignment]  # written already
        return response

    async def _found(
        self, request: ScimRequest, types: list[ResourceType], search: SearchRequest[Any], position: Any
    ) -> ScimResponse:
        """Answer with a page of what is found, groups with members if they are kept."""
        page = await self.storage.find(types, search, position)
        if not (keeps(search, GROUP) and any(each.HasField("group") for each in page.resources)):
            return self.service.found_response(request.base_url, types, page, search)
        about = self.service.about_page(types, page, search)
        pieces = list_pieces(self.storage, about, page.resources, request.base_url, search)
        return ScimResponse(HTTPStatus.OK, await begun(self.storage, pieces))  # type: ignore[arg-type]  # written already

    async def _unchanged(
        self, resource_type: ResourceType, resource_id: str, conditions: Conditions, *, method: str = "PATCH"
    ) -> Resource[Any]:
        """Read a resource without a group's members, and judge the conditions by it."""
        if resource_type.name == GROUP:
            current = await self.storage.read_group(resource_id)
        else:
            current = mapping.user_of(await self.storage.read_user(resource_id, with_groups=True))
        self.service.check_preconditions(current, method, conditions)
        return current

    async def _patched_group(
        self, request: ScimRequest, resource_type: ResourceType, resource_id: str, operations: list[Any]
    ) -> tuple[Resource[Any], bool]:
        """Change a group; gives its head, and whether that says enough: not where single members came or went."""
        conditions = self.service.read_conditions(request)
        try:
            change = fold(operations, self._notes.quirk)
        except NotFoldableError:
            patch_op = self.service.read_patch(resource_type, request.body, request.header("Content-Type"))
            return await self._groups.patch_at_length(resource_id, patch_op, conditions), False
        try:
            return await self._groups.apply(resource_id, change, conditions), not (change.add or change.remove)
        except ForeignMembersException:
            if not change.only_adds:
                raise
            self._notes.quirk("foreign_members")  # nobody can be meant, so nothing is left undone: a probe sends such
            return await self._unchanged(resource_type, resource_id, conditions), True

    async def _replaced(
        self, resource_type: ResourceType, resource_id: str, replacement: Resource[Any], conditions: Conditions
    ) -> Resource[Any]:
        if resource_type.name == GROUP:
            return await self._groups.replace(resource_id, replacement, conditions)
        user: Any = replacement
        says_active = user.active is not None
        for _ in range(ATTEMPTS):
            found = await self.storage.read_user(resource_id, with_groups=True)
            if not says_active:
                user.active = found.active  # Okta's PUT may leave it out and must not suspend anybody.
            changed = self.service.apply_replacement(mapping.user_of(found), user, conditions)
            if changed is None and found.management == pb.USER_MANAGEMENT_OWN:
                return mapping.user_of(found)
            written = await self._written(user, found, conditions)
            if written is not None:
                return written
        raise TryLaterException(retry_after_s=1)

    async def _written(self, user: Any, found: pb.ProvisionedUser, conditions: Conditions) -> Resource[Any] | None:
        """Write a user as decided on what was found; None when another one came in between."""
        try:
            written = await self.storage.write_user(user, active=found.active, etag=found.etag)
        except PreconditionFailedException:
            if conditions.if_match:
                raise
            return None
        self._notes.owned_by_file = written.management == pb.USER_MANAGEMENT_READ_ONLY
        return mapping.user_of(written)
