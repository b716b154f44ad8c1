"""Find the users whom an `eq` on userName or externalId names: what identity providers ask before every change.

It answers as `search` does, and answers nothing where that takes more than an index: the search then looks. Several
filters are answered with as many statements as one.
"""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.reads import (
    GROUPS_OF_USER,
    OWN_USER_COLUMNS,
    UserView,
    own_view,
)
from services.directory.rules import contact
from services.directory.rules.filters import AttributeType, Comparison, Filter, Operator
from services.directory.rules.provisioned import fold_text
from services.directory.store.provisioning_tables import USER
from services.directory.store.tables import UserState

_Found = dict[str, list[UserView]]
"""Who matches, by the value that was asked for; a value of which the search knows more is left out."""


def users_by_eq(call: Call, trees: Sequence[Filter | None]) -> list[list[UserView] | None]:
    """Find who matches each of the filters, by id and with groups; None for one where the search has to look for it."""
    asked = [_asked(tree) for tree in trees]
    names = {value for kind, value in asked if kind == "userName"}
    keys = {value for kind, value in asked if kind == "externalId"}
    found = {"userName": _by_user_name(call, names), "externalId": _by_external_id(call, keys)}
    return [found[kind].get(value) if kind else None for kind, value in asked]


def _asked(tree: Filter | None) -> tuple[str, str]:
    """Read which attribute shall equal which value; empty where the filter is another one."""
    if not isinstance(tree, Comparison) or tree.operator is not Operator.EQ or not isinstance(tree.value, str):
        return "", ""
    attribute, value = tree.attribute, tree.value
    if attribute.type is not AttributeType.STRING or attribute.is_multi_valued or not value or "\0" in value:
        return "", ""
    if attribute.path == ("userName",) and not attribute.is_case_exact:
        return "userName", value
    if attribute.path == ("externalId",) and attribute.is_case_exact:
        return "externalId", value
    return "", ""


def _by_user_name(call: Call, values: set[str]) -> _Found:
    emails = {value: contact.comparable_email(value) for value in values}
    # Somebody else's mail may be meant beside a userName: the search tells them apart.
    folded = {value: name for value in values if (name := fold_text(value)) == fold_text(emails[value])}
    by_name = _read(call, _BY_NAME, set(folded.values()))
    missing = {emails[value] for value, name in folded.items() if name not in by_name}
    borne = set(call.run(_BEARERS_OF_EMAILS, keys=sorted(missing)).scalars()) if missing else set()
    return {
        value: by_name.get(name, []) for value, name in folded.items() if name in by_name or emails[value] not in borne
    }


def _by_external_id(call: Call, values: set[str]) -> _Found:
    if not values:
        return {}
    of_others = set(call.run(_CLAIMS_OF_OTHERS, keys=sorted(values)).scalars())
    composed = {value: unicodedata.normalize("NFC", value) for value in values - of_others}
    by_key = _read(call, _BY_KEY, set(composed.values()))
    return {value: by_key.get(key, []) for value, key in composed.items()}


def _read(call: Call, statement: str, keys: set[str]) -> _Found:
    """Read who has one of the keys, by key."""
    found: _Found = defaultdict(list)
    for key, *row in call.run(statement, keys=sorted(keys)) if keys else ():
        found[key].append(own_view(row))
    return dict(found)


_OWN: Final = f"r.tenant_id = :t AND r.source_id = :s AND r.kind = {USER} AND NOT r.is_gone"
_BY_NAME, _BY_KEY = (
    f"SELECT k.key, {OWN_USER_COLUMNS}, {GROUPS_OF_USER}"
    f" FROM {{each_key}} JOIN provisioned_resources r{{index:{index}}}"
    f" ON {_OWN} AND r.{column} = k.key JOIN users u ON u.tenant_id = :t AND u.id = r.resource_id"
    " ORDER BY r.resource_id"
    for index, column in (
        ("provisioned_resources_by_name", "name_key"),
        ("provisioned_resources_by_external_id", "external_id"),
    )
)
_BEARERS_OF_EMAILS: Final = (
    "SELECT k.key FROM {each_key} JOIN users u"
    f" ON u.tenant_id = :t AND u.email = k.key AND u.state = {UserState.ACTIVE}"
)
_CLAIMS_OF_OTHERS: Final = (
    "SELECT k.key FROM {each_key} JOIN sources s ON s.tenant_id = :t AND s.id <> :s WHERE EXISTS ("
    "SELECT 1 FROM claims c WHERE c.tenant_id = :t AND c.source_id = s.id AND c.external_id = k.key)"
)
