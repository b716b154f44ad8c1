"""Find the one user whom an `eq` on userName or externalId names: what identity providers ask before every change.

It answers as `search` does, and answers nothing where that takes more than an index: the search then looks.
"""

from __future__ import annotations

import unicodedata
from typing import Final

from services.directory.operations.provisioning.call import Call
from services.directory.operations.provisioning.reads import OWN_USER_COLUMNS, UserView, own_view
from services.directory.rules import contact
from services.directory.rules.filters import AttributeType, Comparison, Filter, Operator
from services.directory.rules.provisioned import fold_text
from services.directory.store.provisioning_tables import USER
from services.directory.store.tables import UserState


def users_by_eq(call: Call, tree: Filter | None) -> list[UserView] | None:
    """Find who matches, by id; None where the search has to look for it."""
    if not isinstance(tree, Comparison) or tree.operator is not Operator.EQ or not isinstance(tree.value, str):
        return None
    attribute, value = tree.attribute, tree.value
    if attribute.type is not AttributeType.STRING or attribute.is_multi_valued or not value or "\0" in value:
        return None
    if attribute.path == ("userName",) and not attribute.is_case_exact:
        return _by_user_name(call, value)
    if attribute.path == ("externalId",) and attribute.is_case_exact:
        return _by_external_id(call, value)
    return None


def _by_user_name(call: Call, value: str) -> list[UserView] | None:
    name, email = fold_text(value), contact.comparable_email(value)
    if fold_text(email) != name:  # somebody else's mail may be meant beside a userName: the search tells them apart
        return None
    found = call.run(_BY_NAME, key=name).all()
    if not found and call.run(_BEARER_OF_EMAIL, email=email).first() is not None:
        return None
    return [own_view(row) for row in found]


def _by_external_id(call: Call, value: str) -> list[UserView] | None:
    if call.run(_CLAIM_OF_OTHERS, key=value).first() is not None:
        return None
    return [own_view(row) for row in call.run(_BY_KEY, key=unicodedata.normalize("NFC", value))]


_OWN: Final = f"""
    JOIN users u ON u.tenant_id = :t AND u.id = r.resource_id
    WHERE r.tenant_id = :t AND r.source_id = :s AND r.kind = {USER} AND NOT r.is_gone
"""
_READ: Final = f"SELECT {OWN_USER_COLUMNS} FROM provisioned_resources r"
_BY_NAME: Final = f"{_READ}{{index:provisioned_resources_by_name}} {_OWN} AND r.name_key = :key ORDER BY r.resource_id"
_BY_KEY: Final = (
    f"{_READ}{{index:provisioned_resources_by_external_id}} {_OWN} AND r.external_id = :key ORDER BY r.resource_id"
)
_BEARER_OF_EMAIL: Final = (
    f"SELECT 1 FROM users WHERE tenant_id = :t AND email = :email AND state = {UserState.ACTIVE} LIMIT 1"
)
_CLAIM_OF_OTHERS: Final = (
    "SELECT 1 FROM sources s WHERE s.tenant_id = :t AND s.id <> :s AND EXISTS ("
    "SELECT 1 FROM claims c WHERE c.tenant_id = :t AND c.source_id = s.id AND c.external_id = :key) LIMIT 1"
)
