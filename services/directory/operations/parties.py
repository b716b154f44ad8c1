"""Say of which kind a source is where ownership is judged (rules/ownership.py)."""

from __future__ import annotations

from typing import Final

from sqlmodel import Session

from services.directory.rules.ownership import Party
from services.directory.store.tables import MANUAL, Source, SourceKind

_OF_KIND: Final = {SourceKind.SFTP: Party.FILE, SourceKind.SCIM: Party.SCIM}


def party_of(session: Session, tenant_id: int, source_id: int) -> Party:
    """Read which party a source, or MANUAL, stands for; within a transaction each source is read once."""
    if source_id == MANUAL:
        return Party.MANUAL
    return _OF_KIND[SourceKind(session.get_one(Source, (tenant_id, source_id)).kind)]
