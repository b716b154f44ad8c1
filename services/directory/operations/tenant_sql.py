"""Set-based SQL of one tenant: statements of fixed text over any number of ids, the same on both databases."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlmodel import Session

from services.directory.store.statements import Rows, Statement, statement

_EACH: Final = {
    "{each}": ("(SELECT value AS id FROM json_each(:ids)) i", "unnest(CAST(:ids AS bigint[])) AS i(id)"),
    "{each_place}": ("(SELECT value AS id FROM json_each(:places)) p", "unnest(CAST(:places AS bigint[])) AS p(id)"),
    "{each_key}": ("(SELECT value AS key FROM json_each(:keys)) k", "unnest(CAST(:keys AS text[])) AS k(key)"),
}
"""Places in statements where a bound list is a relation, on SQLite and on PostgreSQL."""

_EACH_JOINED: Final = re.compile(r"FROM (?:(\w+ \w+)\s+JOIN \{each\}|(\{each(?:_key)?\})\s+JOIN (\w+ \w+))")
"""Where what is bound meets a table. On SQLite it is said who is looked for in whom, by CROSS JOIN: without statistics
it takes a tenant's table for ten rows, and reads all of it."""

_LOCKS: Final = {
    "{for_update}": " FOR UPDATE",
    "{for_key_share}": " FOR KEY SHARE",
    "{for_update_of_u}": " FOR NO KEY UPDATE OF u",
    "{for_key_share_of_g_and_a}": " FOR KEY SHARE OF g, a",
}
"""Places in statements where PostgreSQL takes a lock; on SQLite there is one writer at a time."""

_PAIRS: Final = re.compile(r"\{pairs:([\w.]+), ([\w.]+)\}")
"""Two columns of all rows in one value, as JSON: `[[1,"a"],[2,"b"]]`; of no rows NULL or `[]`."""

_INDEX: Final = re.compile(r"\{index:(\w+)\}")
"""Behind a table: by which index SQLite finds in it, where it would go by the tenant alone for want of statistics."""


@dataclass(frozen=True)
class TenantReads:
    """A transaction's statements; every one of them sees this tenant only."""

    session: Session
    tenant_id: int

    @property
    def is_sqlite(self) -> bool:
        """Which database it is."""
        return self.session.get_bind().dialect.name == "sqlite"

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every statement may name: `:t` is the tenant."""
        return {"t": self.tenant_id}

    def run(self, text: str, **values: Any) -> Rows:
        """Execute a statement of fixed text with what `bound` names.

        `:ids` is what `ids` gave; in the text `{each}` stands for a relation `i(id)` of the bound `:ids`,
        `{each_place}` for one `p(id)` of `:places`, and `{each_key}` for one `k(key)` of `:keys`, a list of texts.
        `{pairs:a, b}` gathers two columns of a group's rows; `pairs_of` reads them.
        """
        return _prepared(text).run(self.session, **{**self.bound, **values})

    def query(self, text: str, values: Mapping[str, Any]) -> Rows:
        """Execute a statement whose text was written for this call."""
        return statement(text).run(self.session, **values)

    def ids(self, numbers: Iterable[int]) -> list[int]:
        """Bring ids into the form that `:ids` takes, each once and in one order for all writers."""
        return sorted(set(numbers))


@dataclass(frozen=True)
class TenantSql(TenantReads):
    """The statements of a transaction that has a time, such as one that writes."""

    now: datetime

    @property
    def bound(self) -> Mapping[str, Any]:
        """What every statement may name: `:t` is the tenant, `:now` the time."""
        return {"t": self.tenant_id, "now": self.now}


def pairs_of(gathered: str | None) -> list[tuple[Any, Any]]:
    """Read what `{pairs:…}` gave, in no order of its own."""
    return [] if gathered in _NO_PAIRS else [(first, second) for first, second in json.loads(str(gathered))]


_NO_PAIRS: Final = (None, "[]")


@cache
def _prepared(text: str) -> Statement:
    """Make a statement of fixed text, once."""
    on_sqlite = _PAIRS.sub(r"json_group_array(json_array(\1, \2))", _EACH_JOINED.sub(_each_first, text))
    on_postgresql = _PAIRS.sub(r"CAST(json_agg(json_build_array(\1, \2)) AS text)", text)
    for each, (relation_on_sqlite, relation_on_postgresql) in _EACH.items():
        on_sqlite = on_sqlite.replace(each, relation_on_sqlite)
        on_postgresql = on_postgresql.replace(each, relation_on_postgresql)
    for place, lock in _LOCKS.items():
        on_sqlite, on_postgresql = on_sqlite.replace(place, ""), on_postgresql.replace(place, lock)
    return Statement(_INDEX.sub("", on_postgresql), sqlite=_INDEX.sub(r" INDEXED BY \1", on_sqlite))


def _each_first(joined: re.Match[str]) -> str:
    table = joined[1] or joined[3]
    return f"FROM {joined[2] or '{each}'} CROSS JOIN {table}"
