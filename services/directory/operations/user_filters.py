"""Turn a filter tree and an order over the register's users into SQL.

Texts compare in lower case unless the filter says otherwise; `pr` is a text that is not empty. Every condition is true
or false and never NULL, so that `not` means what it says.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, case, cast, false, func, not_, or_, true
from sqlalchemy import String as Text
from sqlalchemy import select as columns
from sqlmodel import col

from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument, InvalidFilter, NotFound
from services.directory.rules.filters import (
    AllOf,
    AnyOf,
    Attribute,
    Comparison,
    Constant,
    Filter,
    Not,
    Operator,
    Present,
)
from services.directory.rules.provisioned import fold_text
from services.directory.store.provisioning_tables import USER as USER_KIND
from services.directory.store.provisioning_tables import ProvisionedResource
from services.directory.store.session import FOLD_ON_SQLITE
from services.directory.store.tables import MANUAL, Claim, User, UserState

MANUAL_OWNER: Final = "manual"
_OWNER: Final = "owner"
_TIMES: Final = {"create_time": col(User.create_time), "update_time": col(User.update_time)}
_TEXTS: Final = ("display_name", "email", "title", "phone", "secondary_phone", "external_id", "state")
_FOLDED: Final = frozenset({"email", "phone", "secondary_phone", "state"})
"""Texts that the register keeps in lower case, or that have none; compared as they are, so that indexes serve."""


class UserFilters:
    """Writes conditions and orders over `users` for one tenant on one database."""

    def __init__(self, tenant_id: int, *, is_sqlite: bool) -> None:
        self._tenant_id = tenant_id
        self._is_sqlite = is_sqlite

    def condition(self, node: Filter) -> ColumnElement[bool]:
        """Write a condition. Errors: InvalidFilter."""
        match node:
            case AllOf(filters) | AnyOf(filters):
                if not filters:
                    raise InvalidFilter("the filter joins nothing")
                parts = [self.condition(child) for child in filters]
                return and_(*parts) if isinstance(node, AllOf) else or_(*parts)
            case Not(inner):
                return not_(self.condition(inner))
            case Constant(holds):
                return true() if holds else false()
            case Present(attribute):
                return self._present(_name_of(attribute))
            case Comparison():
                return self._comparison(node)
        raise InvalidFilter("a user has no values to select from")

    def order(self, name: str) -> ColumnElement[str]:
        """Write the text by whose code points users are ordered. Errors: InvalidArgument."""
        if name in _TIMES:
            moment: Any = _TIMES[name]
            value = cast(moment, Text) if self._is_sqlite else func.to_char(func.timezone("UTC", moment), _FORM)
        elif name in _TEXTS:
            value = self._text(name, is_case_exact=False)
        else:
            raise InvalidArgument([("order_by", f"{name[:64]} gives no order")])
        return value if self._is_sqlite else value.collate("C")

    def _present(self, name: str) -> ColumnElement[bool]:
        is_there: ColumnElement[bool] = true()
        if name in _TEXTS:
            is_there = self._text(name, is_case_exact=True) != ""
        return is_there

    def _comparison(self, node: Comparison) -> ColumnElement[bool]:
        name, operator, value = _name_of(node.attribute), node.operator, node.value
        if value is None:
            if operator not in {Operator.EQ, Operator.NE}:
                raise InvalidFilter("null has no order and no parts")
            is_there = self._present(name)
            return not_(is_there) if operator is Operator.EQ else is_there
        if not isinstance(value, str):
            raise InvalidFilter(f"{name} is compared with a text")
        if name in _TIMES:
            return _compared_moments(_TIMES[name], operator, value)
        if name == _OWNER:
            return self._owned(operator, value)
        is_exact = node.attribute.is_case_exact
        return self._compared_texts(
            self._text(name, is_case_exact=is_exact), operator, value if is_exact else fold_text(value)
        )

    def _compared_texts(self, text: ColumnElement[str], operator: Operator, value: str) -> ColumnElement[bool]:
        find = func.instr if self._is_sqlite else func.strpos
        end = func.substr(text, -len(value)) if self._is_sqlite else func.right(text, len(value))
        match operator:
            case Operator.EQ:
                return text == value
            case Operator.NE:
                return text != value
            case Operator.CO:
                return find(text, value) > 0
            case Operator.SW:
                return func.substr(text, 1, len(value)) == value
            case Operator.EW:
                return end == value
        ordered = text if self._is_sqlite else text.collate("C")
        return and_(text != "", _ordered(ordered, operator, value))

    def _owned(self, operator: Operator, value: str) -> ColumnElement[bool]:
        if operator not in {Operator.EQ, Operator.NE}:
            raise InvalidFilter("owner has no order and no parts")
        try:
            source_id = (
                MANUAL
                if value == MANUAL_OWNER
                else names.parse_within(names.SOURCE, value, tenant_id=self._tenant_id, field=_OWNER)
            )
        except (InvalidArgument, NotFound):
            return true() if operator is Operator.NE else false()
        is_owner = col(User.owner_source_id) == source_id
        return is_owner if operator is Operator.EQ else not_(is_owner)

    def _text(self, name: str, *, is_case_exact: bool) -> Any:
        text: Any
        if name == "state":
            text = case({int(state): state.name.lower() for state in UserState}, value=col(User.state), else_="")
        elif name == "external_id":
            text = self._external_id()
        else:
            text = col(getattr(User, name))
        if is_case_exact or name in _FOLDED:
            return text
        return getattr(func, FOLD_ON_SQLITE)(text) if self._is_sqlite else func.lower(text)

    def _external_id(self) -> Any:
        """The owner's key: a file's UniqueID or a connection's externalId."""
        of_file = columns(col(Claim.external_id)).where(
            col(Claim.tenant_id) == self._tenant_id,
            col(Claim.user_id) == col(User.id),
            col(Claim.source_id) == col(User.owner_source_id),
        )
        of_connection = columns(col(ProvisionedResource.external_id)).where(
            col(ProvisionedResource.tenant_id) == self._tenant_id,
            col(ProvisionedResource.source_id) == col(User.owner_source_id),
            col(ProvisionedResource.kind) == USER_KIND,
            col(ProvisionedResource.resource_id) == col(User.id),
        )
        found = (each.correlate(User).limit(1).scalar_subquery() for each in (of_file, of_connection))
        return func.coalesce(*found, "")


_FORM: Final = "YYYY-MM-DD HH24:MI:SS.US"


def _name_of(attribute: Attribute) -> str:
    name = ".".join(attribute.path)
    if name not in {*_TEXTS, *_TIMES, _OWNER}:
        raise InvalidFilter(f"a user has no {name[:64]}")
    return name


def _compared_moments(column: Any, operator: Operator, value: str) -> ColumnElement[bool]:
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InvalidFilter("a moment is written as in RFC 3339") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    match operator:
        case Operator.EQ:
            return column == moment  # type: ignore[no-any-return]
        case Operator.NE:
            return column != moment  # type: ignore[no-any-return]
        case Operator.CO | Operator.SW | Operator.EW:
            raise InvalidFilter("a moment has no parts")
    return _ordered(column, operator, moment)


def _ordered(expression: Any, operator: Operator, value: Any) -> ColumnElement[bool]:
    compared: dict[Operator, ColumnElement[bool]] = {
        Operator.GT: expression > value,
        Operator.GE: expression >= value,
        Operator.LT: expression < value,
        Operator.LE: expression <= value,
    }
    return compared[operator]
