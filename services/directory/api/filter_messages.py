"""Turn the contract's filter trees into the rules' own, and refuse what is no tree."""

from __future__ import annotations

from google.protobuf.message import Message
from muster.directory.v1 import filters_pb2 as pb
from muster.directory.v1 import provisioning_pb2

from services.directory.rules import filters
from services.directory.rules.errors import InvalidFilter


def filter_of(message: pb.Filter, *, depth: int = 1) -> filters.Filter:
    """Read a filter. Errors: InvalidFilter."""
    if depth > filters.MOST_DEPTH:
        raise InvalidFilter(f"the filter is too large: at most {filters.MOST_DEPTH} deep")
    read: filters.Filter
    match message.WhichOneof("node"):
        case "comparison":
            read = _comparison(message.comparison)
        case "present":
            read = filters.Present(_attribute(message.present))
        case "not":
            read = filters.Not(filter_of(getattr(message, "not"), depth=depth + 1))
        case "all_of":
            read = filters.AllOf(tuple(filter_of(child, depth=depth + 1) for child in message.all_of.filters))
        case "any_of":
            read = filters.AnyOf(tuple(filter_of(child, depth=depth + 1) for child in message.any_of.filters))
        case "selection":
            inner = filter_of(message.selection.filter, depth=depth + 1)
            read = filters.Selection(_attribute(message.selection.attribute), inner)
        case "constant":
            read = filters.Constant(message.constant)
        case _:
            raise InvalidFilter("a filter is empty")
    return read


def sort_of(message: provisioning_pb2.SortOrder) -> filters.Sort:
    """Read an order. Errors: InvalidFilter."""
    return filters.Sort(_attribute(message.attribute), is_descending=message.descending)


def _comparison(message: pb.Comparison) -> filters.Comparison:
    value = message.WhichOneof("value")
    if not message.operator or message.operator not in pb.ComparisonOperator.values():
        raise InvalidFilter("a comparison has no operator")
    return filters.Comparison(
        _attribute(message.attribute),
        filters.Operator(message.operator),
        getattr(message, value) if value else None,
    )


def _attribute(message: pb.Attribute) -> filters.Attribute:
    if not message.path or message.type not in pb.AttributeType.values():
        raise InvalidFilter("an attribute has no name")
    return filters.Attribute(
        path=tuple(message.path),
        is_multi_valued=message.multi_valued,
        is_case_exact=message.case_exact,
        type=filters.AttributeType(message.type or filters.AttributeType.STRING),
    )


def optional_filter(message: Message, field: str) -> filters.Filter | None:
    """Read a filter that may be absent."""
    return filter_of(getattr(message, field)) if message.HasField(field) else None


def optional_sort(message: Message, field: str) -> filters.Sort | None:
    """Read an order that may be absent."""
    return sort_of(getattr(message, field)) if message.HasField(field) else None
