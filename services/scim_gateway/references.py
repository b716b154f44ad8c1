"""Resolve what a bulk request says of people and groups that it makes itself, in the paths of a PATCH too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from scim2_models import BulkOperation, ConflictException, PatchOp, Path, Resource
from scim2_server.bulk import BULK_ID_PREFIX, BulkPlan, BulkStep, replace_bulk_ids

_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')  # a text within a filter, which is written as in JSON (RFC 7644 §3.4.2.2)


class ReferencesInPaths(BulkPlan):
    """The plan of a bulk request, whose references may stand wherever an id may.

    RFC 7644 §3.7.2 has a reference resolved before an operation is done. scim2-server looks for them in the operation's
    own path and in what is to be written; a PATCH says by a path as well whom it means, `members[value eq "bulkId:u"]`.
    """

    @staticmethod
    def references(operation: BulkOperation[Resource[Any]]) -> list[str]:
        """Tell the bulkIds that an operation names."""
        named = BulkPlan.references(operation)

        def note(bulk_id: str) -> str:
            named.append(bulk_id)
            return bulk_id

        _with_paths(operation, note)
        return named

    def resolve(self, step: BulkStep) -> BulkOperation[Resource[Any]]:
        """Put ids in place of references. Errors: ConflictException for what was not made, as in RFC 7644 §3.7.1."""
        return _with_paths(super().resolve(step), self._id_of)

    def _id_of(self, bulk_id: str) -> str:
        if bulk_id not in self.created:
            raise ConflictException(detail=f"No resource was created with the bulkId {bulk_id}")
        return str(self.created[bulk_id].id)


def _with_paths(operation: BulkOperation[Resource[Any]], replace: Callable[[str], str]) -> BulkOperation[Resource[Any]]:
    patch: Any = operation.data
    if not isinstance(patch, PatchOp) or not any(_refers(each.path) for each in patch.operations or ()):
        return operation
    operations = [
        each.model_copy(update={"path": _with_ids(each.path, replace)}) if each.path and _refers(each.path) else each
        for each in patch.operations or ()
    ]
    return operation.model_copy(update={"data": patch.model_copy(update={"operations": operations})})


def _refers(path: Path[Any] | None) -> bool:
    return path is not None and f'"{BULK_ID_PREFIX}' in path


def _with_ids(path: Path[Any], replace: Callable[[str], str]) -> Path[Any]:
    def written(text: re.Match[str]) -> str:
        return json.dumps(replace_bulk_ids(json.loads(text[0]), replace), ensure_ascii=False)

    return type(path)(_TEXT.sub(written, path))
