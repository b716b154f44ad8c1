"""Fold the operations of a PATCH on a group into one change of its members and one of its head.

A group may have a hundred thousand members, so they are never read to change some of them: what an operation adds or
removes is known from the operation alone. Only the end state counts (S7), so the order of operations is folded here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from scim2_models import InvalidValueException, SCIMException, ScimFilter
from scim2_models.path import CompareOperator, Comparison, FilterNode, LogicalExpr, LogicalOperator

from services.scim_gateway.errors import NoMemberException
from services.scim_gateway.quirks import Note
from services.scim_gateway.schemas import GROUP_SCHEMA

_MEMBERS = re.compile(rf"(?:{re.escape(GROUP_SCHEMA)}:)?members(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_NOT_OF_THE_HEAD = frozenset({"id", "schemas", "meta"})
_OPS = frozenset({"add", "remove", "replace"})

Json = dict[str, Any]


class NotFoldableError(Exception):
    """The operations touch members in a way that needs the members at hand."""


@dataclass
class GroupChange:
    """What a PATCH makes of a group in the end."""

    add: dict[str, None] = field(default_factory=dict)
    """Ids that are members afterwards, in order."""
    remove: dict[str, None] = field(default_factory=dict)
    """Ids that are none afterwards; empty when `replace`."""
    replace: bool = False
    """Nobody but `add` is a member afterwards."""
    head: list[Json] = field(default_factory=list)
    """The operations that do not touch members, as they came."""

    @property
    def only_adds(self) -> bool:
        """Tell whether all that is said is who comes in."""
        return bool(self.add) and not (self.remove or self.replace or self.head)

    @property
    def touches_members(self) -> bool:
        """Tell whether anything is said of members."""
        return bool(self.add or self.remove or self.replace)

    def apply(self, op: str, ids: Iterable[str]) -> None:
        """Take one more operation on members into account."""
        if op == "replace":
            self.replace, self.add, self.remove = True, dict.fromkeys(ids), {}
            return
        for each in ids:
            if op == "add":
                self.remove.pop(each, None)
                self.add[each] = None
            else:
                self.add.pop(each, None)
                if not self.replace:
                    self.remove[each] = None


def fold(operations: list[Any], note: Note) -> GroupChange:
    """Fold operations; NotFoldableError for those that select members otherwise than by id."""
    change = GroupChange()
    for operation in operations:
        op = operation.get("op") if isinstance(operation, dict) else None
        if not isinstance(op, str) or op not in _OPS:
            raise NotFoldableError  # the library says what is wrong with it
        path = operation.get("path")
        if path is None:
            _fold_pathless(change, operation, note)
            continue
        match = _MEMBERS.fullmatch(path.strip()) if isinstance(path, str) else None
        if match is None:
            change.head.append(operation)
        else:
            _fold_members(change, operation, match["rest"].strip())
    return change


def _fold_pathless(change: GroupChange, operation: Json, note: Note) -> None:
    """`{"op": "replace", "value": {"id": …, "displayName": …, "members": […]}}`, as Okta renames."""
    value = operation.get("value")
    if operation["op"] == "remove" or not isinstance(value, dict):
        raise NotFoldableError
    head: Json = {}
    for key, item in value.items():
        match = _MEMBERS.fullmatch(key)
        if match is not None:
            _fold_members(change, {"op": operation["op"], "value": item}, match["rest"].strip())
        elif key.lower() in _NOT_OF_THE_HEAD:
            note("id_in_value")
        else:
            head[key] = item
    if head:
        change.head.append({**operation, "value": head})


def _fold_members(change: GroupChange, operation: Json, rest: str) -> None:
    op, value = operation["op"], operation.get("value")
    if rest:
        if op != "remove":
            raise NotFoldableError
        selected = _ids_in_brackets(rest)
        if value not in (None, "", []) and set(_ids(value)) != set(selected):
            raise NotFoldableError  # it says two things, so it is refused
        change.apply("remove", selected)
    elif op == "remove" and value is None:
        change.apply("replace", ())
    elif op == "add" and value is None:
        raise InvalidValueException(detail="An add to members names the members to add.")
    else:
        change.apply(op, _ids(value))


def _ids(value: Any) -> list[str]:
    """Read a list of members, or one alone: `{"$ref": null, "value": id}`."""
    entries = value if isinstance(value, list) else [] if value is None else [value]
    ids = []
    for entry in entries:
        found = next((item for key, item in entry.items() if key.lower() == "value"), None) if _is(entry) else None
        if not isinstance(found, str) or not found:
            raise NoMemberException
        ids.append(found)
    return ids


def _is(entry: Any) -> bool:
    return isinstance(entry, dict)


def _ids_in_brackets(rest: str) -> list[str]:
    """Read `[value eq "id"]`, or several joined by `or`."""
    if not (rest.startswith("[") and rest.endswith("]")):
        raise NotFoldableError
    try:
        return _ids_of(ScimFilter[Any](rest[1:-1]).ast)
    except SCIMException:
        raise NotFoldableError from None


def _ids_of(node: FilterNode) -> list[str]:
    if isinstance(node, LogicalExpr) and node.op == LogicalOperator.or_:
        return [each for term in node.terms for each in _ids_of(term)]
    if (
        isinstance(node, Comparison)
        and node.op == CompareOperator.eq
        and str(node.attr_path).lower() == "value"
        and isinstance(node.value, str)
    ):
        return [node.value]
    raise NotFoldableError
