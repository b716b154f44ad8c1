"""Turn a SCIM filter into the directory's filter tree, resolved against the schema of one kind of resource."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from muster.directory.v1 import filters_pb2 as pb
from scim2_models import AttributeBinding, Extension, InvalidFilterException, Resource, ScimFilter
from scim2_models.base import BaseModel
from scim2_models.path import (
    CompareOperator,
    Comparison,
    FilterVisitor,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
    coerce_value,
)

_OPERATORS = {
    CompareOperator.eq: pb.COMPARISON_OPERATOR_EQ,
    CompareOperator.ne: pb.COMPARISON_OPERATOR_NE,
    CompareOperator.co: pb.COMPARISON_OPERATOR_CO,
    CompareOperator.sw: pb.COMPARISON_OPERATOR_SW,
    CompareOperator.ew: pb.COMPARISON_OPERATOR_EW,
    CompareOperator.gt: pb.COMPARISON_OPERATOR_GT,
    CompareOperator.ge: pb.COMPARISON_OPERATOR_GE,
    CompareOperator.lt: pb.COMPARISON_OPERATOR_LT,
    CompareOperator.le: pb.COMPARISON_OPERATOR_LE,
}
_NOTHING = pb.Filter(constant=False)
_ORDERS = frozenset({CompareOperator.gt, CompareOperator.ge, CompareOperator.lt, CompareOperator.le})
_SUBSTRINGS = frozenset({CompareOperator.co, CompareOperator.sw, CompareOperator.ew})


def filter_of(scim_filter: ScimFilter[Any], model: type[Resource[Any]]) -> pb.Filter:
    """Translate a filter for one kind; an attribute that the kind does not have matches none (RFC 7644 §3.4.2.1)."""
    return _Translator(model).visit(scim_filter.ast)


def attribute_of(binding: AttributeBinding) -> pb.Attribute:
    """Name an attribute as it stands in the stored JSON, and say how its values compare."""
    schema = getattr(binding.model, "__schema__", None)
    path = binding.urn.removeprefix(f"{schema}:").split(".")
    if issubclass(binding.model, Extension):
        path.insert(0, str(schema))
    return pb.Attribute(
        path=path, multi_valued=binding.is_multivalued, case_exact=binding.case_exact, type=_type_of(binding)
    )


class _Translator(FilterVisitor[pb.Filter]):
    """Visits a tree whose attributes are those of one model: a resource, or one value of a complex attribute."""

    def __init__(self, model: type[BaseModel]) -> None:
        self._filter_type: Any = ScimFilter[model]  # type: ignore[valid-type]  # known at run time only

    def visit_comparison(self, node: Comparison) -> pb.Filter:
        binding = self._filter_type(node).resolve_comparison(node.attr_path, strict=False)
        if binding is None:
            return _NOTHING
        attribute = attribute_of(binding)
        if attribute.type == pb.ATTRIBUTE_TYPE_COMPLEX:
            return _of_complex(node, attribute)
        if node.op in _ORDERS | _SUBSTRINGS and node.value is None:
            return _NOTHING
        if node.op in _SUBSTRINGS and (attribute.type != pb.ATTRIBUTE_TYPE_STRING or not isinstance(node.value, str)):
            return _NOTHING
        comparison = pb.Comparison(attribute=attribute, operator=_OPERATORS[node.op])
        _put_value(comparison, node, binding)
        return pb.Filter(comparison=comparison)

    def visit_present(self, node: Present) -> pb.Filter:
        binding = self._filter_type(node).resolve(node.attr_path, strict=False)
        return _NOTHING if binding is None else pb.Filter(present=attribute_of(binding))

    def visit_not(self, node: Not) -> pb.Filter:
        return _negated(self.visit(node.expr))

    def visit_logical_expr(self, node: LogicalExpr) -> pb.Filter:
        terms = pb.FilterList(filters=[self.visit(term) for term in node.terms])
        return pb.Filter(all_of=terms) if node.op == LogicalOperator.and_ else pb.Filter(any_of=terms)

    def visit_value_path(self, node: ValuePath) -> pb.Filter:
        binding = self._filter_type(node).resolve(node.attr_path, strict=False)
        if binding is None:
            return _NOTHING
        values = binding.target_type
        if values is None or not issubclass(values, BaseModel):
            raise InvalidFilterException(detail=f"{node.attr_path} holds plain values: compare it without brackets.")
        selection = pb.ValueSelection(
            attribute=attribute_of(binding), filter=_Translator(values).visit(node.val_filter)
        )
        return pb.Filter(selection=selection)


def _negated(negated: pb.Filter) -> pb.Filter:
    result = pb.Filter()
    getattr(result, "not").CopyFrom(negated)  # a Python keyword is the field's name
    return result


def _type_of(binding: AttributeBinding) -> pb.AttributeType.ValueType:
    target = binding.target_type
    if target is None or not isinstance(target, type):
        return pb.ATTRIBUTE_TYPE_STRING
    if issubclass(target, BaseModel):
        return pb.ATTRIBUTE_TYPE_COMPLEX
    if issubclass(target, bool):
        return pb.ATTRIBUTE_TYPE_BOOLEAN
    if issubclass(target, int | float):
        return pb.ATTRIBUTE_TYPE_NUMBER
    if issubclass(target, datetime):
        return pb.ATTRIBUTE_TYPE_DATE_TIME
    return pb.ATTRIBUTE_TYPE_STRING


def _of_complex(node: Comparison, attribute: pb.Attribute) -> pb.Filter:
    """Of an object only "has it a value?" can be asked."""
    present = pb.Filter(present=attribute)
    if node.value is None and node.op == CompareOperator.ne:
        return present
    if node.value is None and node.op == CompareOperator.eq:
        return _negated(present)
    raise InvalidFilterException(
        detail=f"{node.attr_path} is made of sub-attributes: compare one of them, such as {node.attr_path}.value."
    )


def _put_value(comparison: pb.Comparison, node: Comparison, binding: AttributeBinding) -> None:
    """Write the value in the attribute's own type; null stays unset."""
    if node.value is None:
        return
    value = coerce_value(binding, node.value, node.op)
    if isinstance(value, bool):
        comparison.boolean = value
    elif isinstance(value, int | float):
        comparison.number = value
    else:
        comparison.text = _moment(value, node) if isinstance(value, datetime) else _text(node)


def _moment(value: datetime, node: Comparison) -> str:
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    try:
        return aware.astimezone(UTC).isoformat()
    except OverflowError:
        raise InvalidFilterException(
            detail=f"{node.attr_path} is compared with a moment outside of all time."
        ) from None


def _text(node: Comparison) -> str:
    text = str(node.value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidFilterException(detail=f"{node.attr_path} is compared with half a character.") from None
    return text
