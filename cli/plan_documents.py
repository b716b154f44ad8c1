"""Write what surrounds a run's plan: who can be reached after it, and what its people look like."""

from __future__ import annotations

from typing import Any

from muster.directory.v1 import imports_pb2


def reach(record: imports_pb2.Reach) -> dict[str, Any]:
    """Write how a run changes who can be reached."""
    return {
        "lost_phone": record.lost_phone,
        "gained_phone": record.gained_phone,
        "came_without_phone": record.came_without_phone,
        "groups_below_two": record.groups_below_two,
        "groups": [_group_change(each) for each in record.groups],
    }


def shape(record: imports_pb2.Shape) -> dict[str, Any]:
    """Write what a source's people look like after a run."""
    return {
        "people": record.people,
        "columns": {each.column: each.filled for each in record.columns},
        "mail_domains": {each.domain: each.people for each in record.mail_domains},
        "groups": [_group_change(each) for each in record.groups],
    }


def _group_change(record: imports_pb2.GroupReach | imports_pb2.GroupSize) -> dict[str, Any]:
    return {"group": record.group, "name": record.display_name, "before": record.before, "after": record.after}
