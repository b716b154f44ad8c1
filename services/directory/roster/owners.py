"""Make SQL of the parties of rules/ownership.py."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from services.directory.rules.ownership import Party
from services.directory.store.tables import MANUAL, SourceKind

_KINDS: Final = {Party.FILE: SourceKind.SFTP, Party.SCIM: SourceKind.SCIM}


def sources_sql(parties: Collection[Party], *, tenant_id: int | str) -> str:
    """Select the ids of the sources that are one of these parties."""
    kinds = ", ".join(str(int(kind)) for party, kind in _KINDS.items() if party in parties)
    return f"SELECT id FROM sources WHERE tenant_id = {tenant_id} AND kind IN ({kinds or 'NULL'})"


def owned_by_sql(parties: Collection[Party], column: str, *, tenant_id: int | str) -> str:
    """Say of a column with an owner's id that it is one of these parties'."""
    by_source = f"{column} IN ({sources_sql(parties, tenant_id=tenant_id)})"
    return f"({column} = {MANUAL} OR {by_source})" if Party.MANUAL in parties else f"({by_source})"
