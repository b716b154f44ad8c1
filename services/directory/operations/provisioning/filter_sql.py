"""Turn a filter tree into SQL over what connections stored.

In the statement `r` is a provisioned resource and `x` the row of its user or group. Strings compare as RFC 7643 §2.2
says: attributes where case counts in `document`, the others in `folded`, which is NFC and lower case. Every fragment is
true or false and never NULL, so that `not` means what it says: `title ne "x"` holds where there is no title.
"""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any, Final

from muster.runtime.names import InvalidNameError, decode_id

from services.directory.operations.provisioning.json_sql import JsonSql, Path
from services.directory.rules.errors import InvalidFilter
from services.directory.rules.filters import (
    AllOf,
    AnyOf,
    Attribute,
    AttributeType,
    Comparison,
    Constant,
    Filter,
    Not,
    Operator,
    Present,
    Selection,
    Sort,
)
from services.directory.rules.provisioned import fold_text
from services.directory.store.provisioning_tables import GROUP, USER

_ORDERING: Final = {Operator.GT: ">", Operator.GE: ">=", Operator.LT: "<", Operator.LE: "<="}
_TIMES: Final = {("meta", "created"): "x.create_time", ("meta", "lastModified"): "x.update_time"}
_TYPE: Final = ("meta", "resourceType")
_NAMES: Final = {USER: "userName", GROUP: "displayName"}
_TYPES: Final = {USER: "'User'", GROUP: "'Group'"}
_OWN_PREFIX: Final = {USER: "usr", GROUP: "grp"}
_REFERENCES: Final = {USER: "groups", GROUP: "members"}
_OTHER_PREFIX: Final = {USER: "grp", GROUP: "usr"}
_TRUE, _FALSE = "(1 = 1)", "(1 = 0)"
_FOLDED = "r.folded"


class FilterSql:
    """Writes conditions and orders for one kind of resource; `bound` is what they bind."""

    def __init__(self, kind: int, *, is_sqlite: bool) -> None:
        self._kind = kind
        self._is_sqlite = is_sqlite
        self._json = JsonSql(f"f{kind}_", is_sqlite)
        self._document = "r.document" if is_sqlite else "CAST(r.document AS jsonb)"

    @property
    def bound(self) -> dict[str, Any]:
        """Names and values that the fragments written so far bind."""
        return self._json.bound

    def condition(self, tree: Filter) -> str:
        """Write a condition. Errors: InvalidFilter."""
        return self._node(tree, selected=False)

    def order(self, sort: Sort) -> str:
        """Write the text that a resource is ordered by, NULL when it has none. Errors: InvalidFilter."""
        attribute, path = sort.attribute, sort.attribute.path
        if path[0] == _REFERENCES[self._kind] or attribute.type is AttributeType.COMPLEX:
            raise InvalidFilter(f"{'.'.join(path)} gives no order")
        if path in _TIMES:
            return self._time_text(_TIMES[path])
        if attribute.is_multi_valued:
            return self._first(attribute)
        return f"CAST({self._single(attribute)} AS text)"

    def _first(self, attribute: Attribute) -> str:
        """Of several values the primary one, else the first (RFC 7644 §3.4.2.3)."""
        head, rest = _split(attribute.path)
        true = "1" if self._is_sqlite else "'true'"
        is_primary = f"{self._json.element_text('e', ('primary',))} = {true}"
        return (
            f"(SELECT CAST({self._json.element_text('e', rest)} AS text) "
            f"FROM {self._json.elements(self._column(attribute), head, 'e')} "
            f"ORDER BY CASE WHEN {is_primary} THEN 0 ELSE 1 END, {self._json.place('e')} LIMIT 1)"
        )

    def _time_text(self, column: str) -> str:
        """A moment as text that sorts as moments do; SQLite keeps it so."""
        if self._is_sqlite:
            return column
        form = self._json.bind("YYYY-MM-DD HH24:MI:SS.US")
        return f"to_char({column} AT TIME ZONE 'UTC', {form})"

    def _node(self, node: Filter, *, selected: bool) -> str:
        """Write one node; `selected`: inside a selection, where `e` is the value looked at and `d` its exact form."""
        match node:
            case AllOf(filters) | AnyOf(filters):
                if not filters:
                    raise InvalidFilter("the filter joins nothing")
                word = " AND " if isinstance(node, AllOf) else " OR "
                written = word.join(self._node(child, selected=selected) for child in filters)
            case Not(inner):
                written = f"NOT {self._node(inner, selected=selected)}"
            case Selection():
                if selected or not node.attribute.is_multi_valued:
                    raise InvalidFilter(f"{'.'.join(node.attribute.path)} has no values to select from")
                written = self._selection(node)
            case Present(attribute):
                written = (
                    self._json.element_exists("e", _in_element(attribute)) if selected else self._present(attribute)
                )
            case Constant(holds):
                written = _TRUE if holds else _FALSE
            case Comparison():
                written = self._selected(node) if selected else self._comparison(node)
        return f"({written})"

    def _selection(self, node: Selection) -> str:
        if node.attribute.path == (_REFERENCES[self._kind],):
            return self._reference_selection(node.filter)
        head, _ = _split(node.attribute.path)
        rows = self._json.elements(_FOLDED, head, "e")
        if any(_counts_case(leaf.attribute) for leaf in _leaves(node.filter)):
            exact = self._json.elements(self._document, head, "d")
            rows += f" JOIN {exact} ON {self._json.place('d')} = {self._json.place('e')}"
        return f"EXISTS (SELECT 1 FROM {rows} WHERE {self._node(node.filter, selected=True)})"

    def _selected(self, node: Comparison) -> str:
        alias = "d" if _counts_case(node.attribute) else "e"
        return self._compared(self._json.element_text(alias, _in_element(node.attribute)), node)

    def _present(self, attribute: Attribute) -> str:
        path = attribute.path
        if path[0] == "meta" or path == ("id",):
            return _TRUE
        if path == ("externalId",):
            return "r.external_id <> ''"
        if path[0] == _REFERENCES[self._kind]:
            return self._reference_exists()
        head, rest = _split(path)
        if not attribute.is_multi_valued or not rest:
            return self._json.exists(_FOLDED, path)
        has_it = self._json.element_exists("e", rest)
        return f"EXISTS (SELECT 1 FROM {self._json.elements(_FOLDED, head, 'e')} WHERE {has_it})"

    def _comparison(self, node: Comparison) -> str:
        path = node.attribute.path
        if path in _TIMES:
            return self._compared_time(_TIMES[path], node)
        if path == ("id",) and node.operator is Operator.EQ and isinstance(node.value, str):
            number = _number(_OWN_PREFIX[self._kind], node.value)
            return f"r.resource_id = {self._json.bind(number)}" if number else _FALSE
        if path[0] == _REFERENCES[self._kind]:
            return self._reference_comparison(node)
        if path == (_NAMES[self._kind],) and node.operator is Operator.EQ and node.value is not None:
            return self._compared("r.name_key", node)  # the same value, in an index
        if node.attribute.is_multi_valued:
            return self._compared_values(node)
        return self._compared(self._single(node.attribute), node)

    def _single(self, attribute: Attribute) -> str:
        """The one value of an attribute, NULL when it has none."""
        path = attribute.path
        if path == ("externalId",):
            return "nullif(r.external_id, '')"
        if path == _TYPE:
            return _TYPES[self._kind]
        if path[0] == "meta":
            raise InvalidFilter(f"{'.'.join(path)} cannot be searched")
        return self._json.text(_FOLDED if path == ("id",) else self._column(attribute), path)

    def _compared_values(self, node: Comparison) -> str:
        """Several values: one of them fits; for `ne`, none is equal."""
        head, rest = _split(node.attribute.path)
        column = self._column(node.attribute)
        value = self._json.element_text("e", rest)
        rows = f"SELECT 1 FROM {self._json.elements(column, head, 'e')}"
        if node.operator is Operator.NE and node.value is not None:
            equal = self._compared(value, Comparison(node.attribute, Operator.EQ, node.value))
            return f"NOT EXISTS ({rows} WHERE {equal})"
        fits = f"EXISTS ({rows} WHERE {self._compared(value, node)})"
        if node.value is None and node.operator is Operator.EQ:
            return f"{fits} OR NOT {self._json.exists(column, head)}"
        if node.value is None and node.operator is Operator.NE:
            return f"{self._json.exists(column, head)} AND NOT EXISTS ({rows} WHERE {value} IS NULL)"
        return fits

    def _compared(self, value: str, node: Comparison) -> str:
        """Compare one SQL value, which may be NULL."""
        if node.value is None:
            return {Operator.EQ: f"({value} IS NULL)", Operator.NE: f"({value} IS NOT NULL)"}.get(node.operator, _FALSE)
        expected = self._expected(node)
        if expected is None:  # a value of another type: nothing equals it
            return _TRUE if node.operator is Operator.NE else _FALSE
        if node.attribute.type is AttributeType.NUMBER:
            value = f"CAST({value} AS {'REAL' if self._is_sqlite else 'double precision'})"
        if node.operator is Operator.NE:
            return f"({value} IS NULL OR {value} <> {expected})"
        return f"({value} IS NOT NULL AND {self._operated(value, node.operator, expected)})"

    def _operated(self, value: str, operator: Operator, expected: str) -> str:
        match operator:
            case Operator.EQ:
                return f"{value} = {expected}"
            case Operator.CO:
                return f"{'instr' if self._is_sqlite else 'strpos'}({value}, {expected}) > 0"
            case Operator.SW:
                return f"substr({value}, 1, length({expected})) = {expected}"
            case Operator.EW:
                start = f"length({value}) - length({expected})"
                return f"{start} >= 0 AND substr({value}, {start} + 1) = {expected}"
        collation = "" if self._is_sqlite else ' COLLATE "C"'
        return f"{value}{collation} {_ORDERING[operator]} {expected}"

    def _expected(self, node: Comparison) -> str | None:
        """Bind the value in the form in which the attribute is kept; None when it is of another type."""
        value, kind = node.value, node.attribute.type
        if kind is AttributeType.BOOLEAN:
            if not isinstance(value, bool) or node.operator not in {Operator.EQ, Operator.NE}:
                return None
            return ("1" if value else "0") if self._is_sqlite else f"'{str(value).lower()}'"
        if kind is AttributeType.NUMBER:
            is_of_text = node.operator in {Operator.CO, Operator.SW, Operator.EW}
            return None if isinstance(value, str | bool) or is_of_text else self._json.bind(value)
        if not isinstance(value, str):
            return None
        plain = value.replace("\0", "")
        kept = unicodedata.normalize("NFC", plain) if _counts_case(node.attribute) else fold_text(plain)
        return f"CAST({self._json.bind(kept)} AS text)"

    def _compared_time(self, column: str, node: Comparison) -> str:
        if node.value is None:
            return _TRUE if node.operator is Operator.NE else _FALSE
        word = {Operator.EQ: "=", Operator.NE: "<>", **_ORDERING}.get(node.operator)
        if word is None or not isinstance(node.value, str):
            return _FALSE
        try:
            moment = datetime.fromisoformat(node.value)
        except ValueError:
            raise InvalidFilter(f"{'.'.join(node.attribute.path)} compares with a date and time") from None
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        return f"{column} {word} {self._json.bind(moment)}"

    def _reference_comparison(self, node: Comparison) -> str:
        """`members eq "usr_…"`: whether somebody is in is answered here, and nothing else."""
        if node.attribute.path[1:] not in {(), ("value",)} or node.operator not in {Operator.EQ, Operator.NE}:
            raise InvalidFilter(f"{_REFERENCES[self._kind]} can be compared by value, with eq or ne")
        if node.value is None:
            exists = self._reference_exists()
            return exists if node.operator is Operator.NE else f"NOT {exists}"
        number = _number(_OTHER_PREFIX[self._kind], str(node.value))
        exists = self._reference_exists(number) if number else _FALSE
        return f"NOT {exists}" if node.operator is Operator.NE else exists

    def _reference_selection(self, inner: Filter) -> str:
        """`members[value eq "usr_…"]`, or several of these joined by `or`."""
        match inner:
            case Comparison(Attribute(("value",)), Operator.EQ, str() as value):
                number = _number(_OTHER_PREFIX[self._kind], value)
                return self._reference_exists(number) if number else _FALSE
            case AnyOf(filters):
                return f"({' OR '.join(self._reference_selection(child) for child in filters)})"
        raise InvalidFilter(f"{_REFERENCES[self._kind]} can be selected by value, with eq")

    def _reference_exists(self, number: int | None = None) -> str:
        """Somebody, or this one, is in: awake or asleep, and one whom the connection may manage (S14)."""
        if self._kind == USER:
            own, other = "user_id", "group_id"
            managed = "EXISTS (SELECT 1 FROM groups o WHERE o.tenant_id = m.tenant_id AND o.id = m.group_id"
        else:
            own, other = "group_id", "user_id"
            managed = (
                "m.origin_source_id = r.source_id OR"
                " EXISTS (SELECT 1 FROM users o WHERE o.tenant_id = m.tenant_id AND o.id = m.user_id"
            )
        which = f"AND m.{other} = {self._json.bind(number)} " if number is not None else ""
        found = " OR ".join(
            f"EXISTS (SELECT 1 FROM {table} m WHERE m.tenant_id = r.tenant_id AND m.{own} = r.resource_id "
            f"{which}AND ({managed} AND o.owner_source_id = r.source_id)))"
            for table in ("memberships", "sleeping_memberships")
        )
        return f"({found})"

    def _column(self, attribute: Attribute) -> str:
        return self._document if _counts_case(attribute) else _FOLDED


def _split(path: Path) -> tuple[Path, Path]:
    """Part the attribute that holds values from what is asked of each; an extension's URN belongs to the former."""
    length = 2 if path[0].startswith("urn:") else 1
    return path[:length], path[length:]


def _in_element(attribute: Attribute) -> Path:
    return () if attribute.path == ("value",) else attribute.path


def _counts_case(attribute: Attribute) -> bool:
    return attribute.is_case_exact and attribute.type is AttributeType.STRING


def _leaves(node: Filter) -> list[Comparison]:
    match node:
        case Comparison():
            return [node]
        case Not(inner) | Selection(_, inner):
            return _leaves(inner)
        case AllOf(filters) | AnyOf(filters):
            return [leaf for child in filters for leaf in _leaves(child)]
    return []


def _number(prefix: str, text: str) -> int:
    """Read an id; 0 for what is none, which nothing has."""
    try:
        return decode_id(prefix, text)
    except InvalidNameError:
        return 0
