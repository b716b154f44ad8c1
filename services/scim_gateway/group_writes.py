"""Write groups to the directory: heads and differences of membership, at a cost that follows the change."""

from __future__ import annotations

from typing import Any

import orjson
from muster.directory.v1 import provisioning_pb2 as pb
from scim2_models import PatchOp, PreconditionFailedException, Resource
from scim2_server.conditions import Conditions

from services.scim_gateway import mapping
from services.scim_gateway.errors import TryLaterException
from services.scim_gateway.groups import GroupChange, NotFoldableError, fold
from services.scim_gateway.quirks import Note
from services.scim_gateway.schemas import GROUP, resource_type
from services.scim_gateway.service import GatewayService
from services.scim_gateway.storage import DirectoryStorage, etag_of

_ATTEMPTS = 10
_PATCH_OP = "urn:ietf:params:scim:api:messages:2.0:PatchOp"


class GroupWrites:
    """Changes one caller's groups; every answer is the head, without members."""

    def __init__(self, service: GatewayService, storage: DirectoryStorage) -> None:
        self._service = service
        self._storage = storage

    async def apply(self, group_id: str, change: GroupChange, conditions: Conditions) -> Resource[Any]:
        """Apply a folded change: one call, and one more to read the head where it changes or conditions ask for it."""
        request = pb.UpdateProvisionedGroupRequest(
            id=group_id, add=change.add, remove=change.remove, replace=change.replace
        )
        if not change.head and conditions == Conditions():
            if not change.touches_members:
                return await self._storage.read_group(group_id)
            return await self._storage.write_group(request)
        head_op = self._head_op(change)
        for _ in range(_ATTEMPTS):
            head = await self._storage.read_group(group_id)
            self._service.check_preconditions(head, "PATCH", conditions)
            request.etag = _etag(head)
            changed = head_op is not None and head_op.patch(head)
            if not changed and not change.touches_members:
                return head
            if changed:
                request.facts.CopyFrom(mapping.group_facts(head))
            written = await self._written(request, conditions)
            if written is not None:
                return written
        raise TryLaterException(retry_after_s=1)

    async def replace(self, group_id: str, replacement: Resource[Any], conditions: Conditions) -> Resource[Any]:
        """Replace head and members; a group that does not speak of members keeps them (RFC 7644 §3.5.1)."""
        etag = ""
        if conditions != Conditions():
            head = await self._storage.read_group(group_id)
            self._service.check_preconditions(head, "PUT", conditions)
            etag = _etag(head)
        members = mapping.member_ids(replacement)
        return await self._storage.write_group(
            pb.UpdateProvisionedGroupRequest(
                id=group_id,
                facts=mapping.group_facts(replacement),
                add=members or (),
                replace=members is not None,
                etag=etag,
            )
        )

    async def patch(
        self, group_id: str, patch_op: PatchOp[Any], conditions: Conditions, *, note: Note
    ) -> Resource[Any]:
        """Apply operations that have been read already, as those of a bulk request."""
        try:
            change = fold(patch_op.model_dump()["Operations"], note)
        except NotFoldableError:
            return await self.patch_at_length(group_id, patch_op, conditions)
        return await self.apply(group_id, change, conditions)

    async def patch_at_length(self, group_id: str, patch_op: PatchOp[Any], conditions: Conditions) -> Resource[Any]:
        """Apply operations that select members by more than their id: reads them, and writes the difference."""
        for _ in range(_ATTEMPTS):
            group = await self._storage.get(resource_type(GROUP), group_id)
            self._service.check_preconditions(group, "PATCH", conditions)
            etag, before = _etag(group), dict.fromkeys(mapping.member_ids(group) or ())
            if not patch_op.patch(group):
                return group
            after = dict.fromkeys(mapping.member_ids(group) or ())
            request = pb.UpdateProvisionedGroupRequest(
                id=group_id,
                facts=mapping.group_facts(group),
                add=[each for each in after if each not in before],
                remove=[each for each in before if each not in after],
                etag=etag,
            )
            written = await self._written(request, conditions)
            if written is not None:
                return written
        raise TryLaterException(retry_after_s=1)

    def _head_op(self, change: GroupChange) -> PatchOp[Any] | None:
        if not change.head:
            return None
        body = orjson.dumps({"schemas": [_PATCH_OP], "Operations": change.head})
        return self._service.read_patch(resource_type(GROUP), body, None)

    async def _written(self, request: pb.UpdateProvisionedGroupRequest, conditions: Conditions) -> Resource[Any] | None:
        """Write as decided on what was read; None when another one came in between."""
        try:
            return await self._storage.write_group(request)
        except PreconditionFailedException:
            if conditions.if_match:
                raise
            return None


def _etag(group: Resource[Any]) -> str:
    assert group.meta is not None
    return etag_of(group.meta.version)
