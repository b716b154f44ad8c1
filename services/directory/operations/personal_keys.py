"""Know by what a person is named outside the own row: mails, keys, userNames, now and in the past."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from services.directory.operations.tenant_sql import TenantSql
from services.directory.store.provisioning_tables import USER

NAMING: Final = ("email", "external_id", "user_name")
"""Values of events that name a person beside its id."""


@dataclass(frozen=True)
class PersonalKeys:
    """What people were called, as it was written and in lower case."""

    names: frozenset[str]
    is_sqlite: bool

    @property
    def bound(self) -> Any:
        """The names in the form that `:names` takes."""
        return json.dumps(sorted(self.names)) if self.is_sqlite else sorted(self.names)

    @property
    def listed(self) -> str:
        """A subquery of the bound `:names`."""
        return f"(SELECT n.name FROM {self.relation})"

    @property
    def relation(self) -> str:
        """A relation `n(name)` of the bound `:names`."""
        if self.is_sqlite:
            return "(SELECT value AS name FROM json_each(:names)) n"
        return "unnest(CAST(:names AS text[])) AS n(name)"

    def has(self, column: str) -> str:
        """Whether a column holds one of the names, in whatever case."""
        return f"({column} <> '' AND ({column} IN {self.listed} OR lower({column}) IN {self.listed}))"


def personal_keys(sql: TenantSql, user_ids: Iterable[int]) -> PersonalKeys:
    """Gather what these people were called, with one statement."""
    user_name = "json_extract(document, '$.userName')" if sql.is_sqlite else "CAST(document AS json) ->> 'userName'"
    of_person = "tenant_id = :t AND user_id IN (SELECT i.id FROM {each})"
    said = f"tenant_id = :t AND kind = {USER} AND resource_id IN (SELECT i.id FROM {{each}})"
    about = "e.tenant_id = :t AND e.resource_kind = 'usr' AND e.resource_id IN (SELECT i.id FROM {each})"
    naming = ", ".join(f"'{name}'" for name in NAMING)
    parts = [
        "SELECT email AS name FROM users WHERE tenant_id = :t AND id IN (SELECT i.id FROM {each})",
        *(f"SELECT external_id FROM {table} WHERE {of_person}" for table in ("claims", "former_claims")),
        *(f"SELECT {each} FROM provisioned_resources WHERE {said}" for each in ("external_id", "name_key", user_name)),
        *(
            f"SELECT j.value FROM {table} e, {each_value(f'e.{side}', is_sqlite=sql.is_sqlite)}"
            f" WHERE {about} AND j.key IN ({naming})"
            for table in ("events", "archived_events")
            for side in ("before", "after")
        ),
    ]
    found = {str(name) for name in sql.run(" UNION ".join(parts), ids=sql.ids(user_ids)).scalars() if name}
    return PersonalKeys(frozenset(found | {name.lower() for name in found}), sql.is_sqlite)


def each_value(document: str, *, is_sqlite: bool) -> str:
    """Write the relation `j(key, value)` of a JSON document's members, values as text."""
    return f"json_each({document}) j" if is_sqlite else f"json_each_text({document}) AS j(key, value)"
