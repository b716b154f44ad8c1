"""Search users and groups of a connection: filter, order and page in the database, by place or by cursor."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sqlmodel import col, select

from services.directory.operations.provisioning.by_name import users_by_eq
from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.filter_sql import FilterSql
from services.directory.operations.provisioning.reads import (
    GroupView,
    UserView,
    foreign_document,
    get_users,
    groups_of,
)
from services.directory.rules import contact
from services.directory.rules.errors import InvalidPageToken
from services.directory.rules.filters import (
    AttributeType,
    Comparison,
    Filter,
    Operator,
    Selection,
    Sort,
    check_size,
    conjuncts,
)
from services.directory.rules.names import short_name
from services.directory.rules.provisioned import fold, fold_text
from services.directory.store.provisioning_tables import GROUP, USER, ProvisionedResource
from services.directory.store.tables import Claim, User, UserState

MOST_RESULTS: Final = 1000
_COLUMNS: Final = "tenant_id, source_id, kind, resource_id, name_key, external_id, document, folded"
_ROWS: Final = {
    USER: "users",
    GROUP: "(SELECT tenant_id, id, create_time, coalesce(update_time, create_time) AS update_time FROM groups)",
}


@dataclass(frozen=True)
class Search:
    """What to find: per kind a filter (None: all) and an order (None: by creation), and which page of it.

    `token` pages by cursor: "" for the first page; None pages by place, `offset` resources in.
    """

    filters: dict[int, Filter | None]
    sorts: dict[int, Sort | None]
    offset: int = 0
    count: int = MOST_RESULTS
    token: str | None = None
    with_groups: bool = False


@dataclass
class Found:
    """One page: how many match in all, its resources in order, and cursors of the pages beside it."""

    total: int
    resources: list[UserView | GroupView] = field(default_factory=list)
    next_token: str = ""
    previous_token: str = ""


@dataclass(frozen=True)
class _Place:
    """Where a resource stands in the order."""

    value: str | None
    kind: int
    id: int


def search(call: Call, wanted: Search, *, by_name: bool = True) -> Found:
    """Find one page; who is asked for by name alone is found by an index, with the same answer, unless not `by_name`.

    Errors: InvalidFilter, InvalidPageToken.
    """
    for tree in wanted.filters.values():
        if tree is not None:
            check_size(tree)
    (named,) = find_named(call, [wanted]) if by_name else (None,)
    if named is not None:
        return named
    query = _Query(call, wanted)
    found = Found(total=query.total())
    if wanted.count <= 0:
        return found
    if wanted.token is None:
        places = query.places("", {}, f"LIMIT {min(wanted.count, MOST_RESULTS)} OFFSET {max(0, wanted.offset)}")
    else:
        places = query.page(wanted.token, found)
    found.resources = _resources(call, places, with_groups=wanted.with_groups)
    return found


def find_named(call: Call, searches: Sequence[Search]) -> list[Found | None]:
    """Give the pages of users whom an `eq` names, with as many statements as for one; None where more is asked for."""
    found = users_by_eq(call, [_only_filter(wanted) for wanted in searches])
    pages: list[Found | None] = []
    for wanted, users in zip(searches, found, strict=True):
        if users is None or len(users) > wanted.count:
            pages.append(None)
            continue
        shown = users if wanted.with_groups else [replace(view, groups=[]) for view in users]
        pages.append(Found(total=len(shown), resources=list(shown)))
    return pages


def _only_filter(wanted: Search) -> Filter | None:
    """The filter of a search for users that asks for nothing else."""
    is_plain = wanted.filters.keys() == {USER} and not wanted.offset and wanted.token is None
    return wanted.filters[USER] if is_plain and not any(wanted.sorts.values()) else None


class _Query:
    """The statement that finds, without its page."""

    def __init__(self, call: Call, wanted: Search) -> None:
        self._call = call
        self._wanted = wanted
        self._bound: dict[str, Any] = {"t": call.tenant_id, "s": call.source_id}
        self._is_sorted = any(wanted.sorts.values())
        self._is_descending = any(sort is not None and sort.is_descending for sort in wanted.sorts.values())
        self._found = " UNION ALL ".join(self._of_kind(kind) for kind in sorted(wanted.filters))

    def total(self) -> int:
        """Count what matches."""
        return int(self._call.query(f"SELECT count(*) FROM ({self._found}) q", self._bound).scalar_one())

    def page(self, token: str, found: Found) -> list[_Place]:
        """Read the page that a cursor names and set the cursors of the pages beside it. Errors: InvalidPageToken."""
        count = min(self._wanted.count, MOST_RESULTS)
        is_backward, place = self._opened(token) if token else (False, None)
        condition, bound = self._beyond(place, is_backward=is_backward) if place else ("", {})
        places = self.places(condition, bound, f"LIMIT {count}", is_backward=is_backward)
        if is_backward:
            places.reverse()
        if places:
            if self._is_more(places[-1], is_backward=False):
                found.next_token = self._token(places[-1], is_backward=False)
            if self._is_more(places[0], is_backward=True):
                found.previous_token = self._token(places[0], is_backward=True)
        return places

    def places(self, condition: str, bound: dict[str, Any], limit: str, *, is_backward: bool = False) -> list[_Place]:
        """Read where resources stand, in order or against it."""
        forward, back = ("DESC", "ASC") if is_backward else ("ASC", "DESC")
        first, then = (back if self._is_descending else forward), forward
        order = f"kind {then}, resource_id {then}"
        if self._is_sorted:
            order = f"value IS NULL {first}, {self._value} {first}, {order}"
        statement = f"SELECT value, kind, resource_id FROM ({self._found}) q {condition} ORDER BY {order} {limit}"
        return [_Place(*row) for row in self._call.query(statement, {**self._bound, **bound})]

    @property
    def _value(self) -> str:
        return "value" if self._call.is_sqlite else 'value COLLATE "C"'

    def _is_more(self, place: _Place, *, is_backward: bool) -> bool:
        condition, bound = self._beyond(place, is_backward=is_backward)
        return bool(self.places(condition, bound, "LIMIT 1", is_backward=is_backward))

    def _beyond(self, place: _Place, *, is_backward: bool) -> tuple[str, dict[str, Any]]:
        """Write the condition for what stands past a place: by value first, and by kind and id among equals."""
        bound: dict[str, Any] = {"place_kind": place.kind, "place_id": place.id}
        sign = "<" if is_backward else ">"
        same = f"(kind, resource_id) {sign} (:place_kind, :place_id)"
        if not self._is_sorted:
            return f"WHERE {same}", bound
        goes_up = self._is_descending == is_backward
        if place.value is None:
            others = "value IS NOT NULL" if not goes_up else "1 = 0"
            return f"WHERE ({others} OR (value IS NULL AND {same}))", bound
        bound["place_value"] = place.value
        expected = "CAST(:place_value AS text)"
        others = f"{self._value} {'>' if goes_up else '<'} {expected}" + (" OR value IS NULL" if goes_up else "")
        return f"WHERE ({others} OR ({self._value} = {expected} AND {same}))", bound

    def _token(self, place: _Place, *, is_backward: bool) -> str:
        written = json.dumps([self._stamp(), is_backward, place.value, place.kind, place.id])
        return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")

    def _opened(self, token: str) -> tuple[bool, _Place]:
        try:
            padded = token + "=" * (-len(token) % 4)
            stamp, is_backward, value, kind, number = json.loads(
                base64.b64decode(padded, altchars=b"-_", validate=True)
            )
        except (binascii.Error, ValueError, TypeError):
            raise InvalidPageToken from None
        is_place = (value is None or isinstance(value, str)) and type(kind) is int and type(number) is int
        if stamp != self._stamp() or not is_place or not isinstance(is_backward, bool) or abs(number) >= 2**63:
            raise InvalidPageToken
        return is_backward, _Place(value, kind, number)

    def _stamp(self) -> str:
        """Hash what must stay the same from page to page."""
        same = repr((sorted(self._wanted.filters.items()), sorted(self._wanted.sorts.items())))
        owner = f"{self._call.tenant_id}/{self._call.source_id}/"
        return hashlib.blake2b((owner + same).encode(), digest_size=9).hexdigest()

    def _of_kind(self, kind: int) -> str:
        """Select the matching resources of a kind."""
        sql = FilterSql(kind, is_sqlite=self._call.is_sqlite)
        tree, sort = self._wanted.filters[kind], self._wanted.sorts.get(kind)
        condition = sql.condition(tree) if tree is not None else "1 = 1"
        value = sql.order(sort) if sort is not None else "CAST(NULL AS text)"
        self._bound |= sql.bound
        return (
            f"SELECT {value} AS value, r.kind, r.resource_id FROM {self._relation(kind, tree)} r "
            f"JOIN {_ROWS[kind]} x ON x.tenant_id = r.tenant_id AND x.id = r.resource_id WHERE {condition}"
        )

    def _relation(self, kind: int, tree: Filter | None) -> str:
        """What the connection sees: its own, and users whom an `eq` on userName, mail or externalId names (S14)."""
        own = (
            f"SELECT {_COLUMNS} FROM provisioned_resources "
            f"WHERE tenant_id = :t AND source_id = :s AND kind = {kind} AND NOT is_gone"
        )
        named = _named_users(self._call, tree) if kind == USER else []
        others = [self._written(place, user, external_id) for place, (user, external_id) in enumerate(named)]
        return f"({' UNION ALL '.join([own, *others])})"

    def _written(self, place: int, user: User, external_id: str) -> str:
        """One user of somebody else as a row like those of the connection's own."""
        document = foreign_document(user, external_id)
        folded = fold(document) | {"id": short_name("usr", user.id)}
        kept = {
            "id": user.id,
            "name": folded["userName"],
            "key": external_id,
            "document": json.dumps(document),
            "folded": json.dumps(folded),
        }
        self._bound |= {f"o{place}_{name}": value for name, value in kept.items()}
        json_type = "text" if self._call.is_sqlite else "jsonb"
        return (
            f"SELECT :t, :s, {USER}, CAST(:o{place}_id AS bigint), CAST(:o{place}_name AS text), "
            f"CAST(:o{place}_key AS text), CAST(:o{place}_document AS text), CAST(:o{place}_folded AS {json_type})"
        )


def _named_users(call: Call, tree: Filter | None) -> list[tuple[User, str]]:
    """Read the active users of others whom an `eq` of the filter may mean, each with its UniqueID; few, by index."""
    emails: set[str] = set()
    keys: set[str] = set()
    for part in conjuncts(tree):
        if isinstance(part, Selection) and part.attribute.path == ("emails",):
            inner = [leaf for leaf in conjuncts(part.filter) if _is_eq(leaf, ("value",))]
            emails |= {contact.comparable_email(leaf.value) for leaf in inner}  # type: ignore[union-attr,arg-type]
        elif _is_eq(part, ("userName",)) or _is_eq(part, ("emails", "value")) or _is_eq(part, ("emails",)):
            emails.add(contact.comparable_email(part.value))  # type: ignore[union-attr,arg-type]
        elif _is_eq(part, ("externalId",)):
            keys.add(part.value.replace("\0", ""))  # type: ignore[union-attr]  # NUL is no text to PostgreSQL
    found: dict[int, tuple[User, str]] = {}
    is_other = (
        col(User.tenant_id) == call.tenant_id,
        col(User.state) == UserState.ACTIVE,
        col(User.owner_source_id) != call.source_id,
    )
    if emails:
        meant = emails - _own_names(call, emails)
        for user in call.session.exec(select(User).where(*is_other, col(User.email).in_(meant))):
            found[user.id] = (user, "")
    if keys or found:
        is_claim = (
            (col(Claim.tenant_id) == call.tenant_id)
            & (col(Claim.user_id) == col(User.id))
            & (col(Claim.source_id) == col(User.owner_source_id))
        )
        query = select(User, Claim.external_id).join(Claim, is_claim)
        is_meant = col(Claim.external_id).in_(keys) | col(User.id).in_(found)
        for user, external_id in call.session.exec(query.where(*is_other, is_meant)):
            found[user.id] = (user, external_id)
    return list(found.values())


def _own_names(call: Call, emails: set[str]) -> set[str]:
    """Which of these mails are userNames of the connection's own: then its own users answer alone, each name once."""
    by_name = {fold_text(email): email for email in emails}
    query = select(ProvisionedResource.name_key).where(
        col(ProvisionedResource.tenant_id) == call.tenant_id,
        col(ProvisionedResource.source_id) == call.source_id,
        col(ProvisionedResource.kind) == USER,
        col(ProvisionedResource.is_gone).is_(False),
        col(ProvisionedResource.name_key).in_(by_name),
    )
    return {by_name[name_key] for name_key in call.session.exec(query)}


def _is_eq(node: Filter, path: tuple[str, ...]) -> bool:
    return (
        isinstance(node, Comparison)
        and node.operator is Operator.EQ
        and node.attribute.path == path
        and node.attribute.type is AttributeType.STRING
        and isinstance(node.value, str)
    )


def _resources(call: Call, places: Sequence[_Place], *, with_groups: bool) -> list[UserView | GroupView]:
    user_ids = [place.id for place in places if place.kind == USER]
    users = get_users(call, user_ids, with_groups=with_groups) if user_ids else {}
    group_ids = [place.id for place in places if place.kind == GROUP]
    groups = {view.id: view for view in groups_of(call, group_ids)} if group_ids else {}
    kept: list[UserView | GroupView | None] = [
        users.get(place.id) if place.kind == USER else groups.get(place.id) for place in places
    ]
    return [view for view in kept if view is not None]
