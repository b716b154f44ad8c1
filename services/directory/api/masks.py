"""Read what an update is to change: the fields that its mask names."""

from __future__ import annotations

from collections.abc import Collection

from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.message import Message

from services.directory.rules.errors import InvalidArgument


def changes_of(resource: Message, mask: FieldMask, changeable: Collection[str]) -> dict[str, str]:
    """Give the fields that the mask names, and their new values. Errors: InvalidArgument (update_mask)."""
    if not mask.paths:
        raise InvalidArgument([("update_mask", f"names no field; it can name {', '.join(sorted(changeable))}")])
    wrong = [path for path in mask.paths if path not in changeable]
    if wrong:
        raise InvalidArgument([("update_mask", f"{path[:64]} is no field that can be changed") for path in wrong])
    return {path: getattr(resource, path) for path in mask.paths}
