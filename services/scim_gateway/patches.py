"""Tell what a PATCH will do to a resource beside the standard."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from scim2_models import PatchOp, PatchOperation, Path, Resource
from scim2_models.path import ValuePath


def makes_entries(resource: Resource[Any], patch_op: PatchOp[Any]) -> bool:
    """Tell whether a path selects a value that is not there, so that it is made and not refused (RFC 7644 §3.5.2.3)."""
    return any(
        operation.op != PatchOperation.Op.remove
        and operation.path is not None
        and isinstance(operation.path.ast, ValuePath)
        and _selects_none(resource, operation.path)
        for operation in patch_op.operations or ()
    )


def _selects_none(resource: Resource[Any], path: Path[Any]) -> bool:
    assert isinstance(path.ast, ValuePath)
    of_this: Any = Path[type(resource)]  # type: ignore[misc]  # known at run time only
    return not of_this(str(replace(path.ast, sub_attr=None))).get(resource)  # the value, whatever part of it is meant
