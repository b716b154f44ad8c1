"""A filter over what connections store (RFC 7644 §3.4.2.2), as a tree of values, and the limits on such a tree."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from services.directory.rules.errors import InvalidFilter

MOST_DEPTH = 32
MOST_NODES = 200


class AttributeType(enum.IntEnum):
    """How an attribute's values compare; the numbers are those of the contract."""

    STRING = 1
    BOOLEAN = 2
    NUMBER = 3
    DATE_TIME = 4
    COMPLEX = 5


class Operator(enum.IntEnum):
    """The operators but `pr`; the numbers are those of the contract."""

    EQ = 1
    NE = 2
    CO = 3
    SW = 4
    EW = 5
    GT = 6
    GE = 7
    LT = 8
    LE = 9


@dataclass(frozen=True)
class Attribute:
    """One attribute as its schema declares it; `path` has the names in the stored JSON."""

    path: tuple[str, ...]
    is_multi_valued: bool = False
    is_case_exact: bool = False
    type: AttributeType = AttributeType.STRING


@dataclass(frozen=True)
class Comparison:
    """An attribute against a value; None is null."""

    attribute: Attribute
    operator: Operator
    value: str | bool | float | None


@dataclass(frozen=True)
class Present:
    """`pr`."""

    attribute: Attribute


@dataclass(frozen=True)
class Not:
    """A negation."""

    filter: Filter


@dataclass(frozen=True)
class AllOf:
    """A conjunction."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class AnyOf:
    """A disjunction."""

    filters: tuple[Filter, ...]


@dataclass(frozen=True)
class Selection:
    """Some value of a multi-valued attribute fits the filter."""

    attribute: Attribute
    filter: Filter


@dataclass(frozen=True)
class Constant:
    """Always, or never."""

    holds: bool


Filter = Comparison | Present | Not | AllOf | AnyOf | Selection | Constant


@dataclass(frozen=True)
class Sort:
    """What to order by; resources without a value come last, and first when descending."""

    attribute: Attribute
    is_descending: bool = False


def check_size(tree: Filter) -> None:
    """Refuse a tree of more than 200 nodes; how deep it is was judged when it was read. Errors: InvalidFilter."""
    nodes, level = 0, [tree]
    while level:
        nodes += len(level)
        if nodes > MOST_NODES:
            raise InvalidFilter(f"the filter is too large: at most {MOST_NODES} terms")
        level = [child for node in level for child in _children(node)]


def conjuncts(tree: Filter | None) -> tuple[Filter, ...]:
    """Give the filters that must all hold; a tree that is no conjunction is the only one."""
    if tree is None:
        return ()
    if isinstance(tree, AllOf):
        return tuple(part for child in tree.filters for part in conjuncts(child))
    return (tree,)


def _children(node: Filter) -> tuple[Filter, ...]:
    if isinstance(node, Not | Selection):
        return (node.filter,)
    if isinstance(node, AllOf | AnyOf):
        return node.filters
    return ()
