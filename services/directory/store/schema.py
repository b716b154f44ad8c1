"""All tables of the directory's database; whoever works on the schema as a whole imports this."""

from __future__ import annotations

from typing import Final

from sqlmodel import SQLModel

from services.directory.store import (
    activity_tables,
    administrator_tables,
    event_tables,
    import_tables,
    people_tables,
    provisioning_tables,
    tables,
)

ROOMS: Final = (
    tables,
    provisioning_tables,
    people_tables,
    administrator_tables,
    event_tables,
    activity_tables,
    import_tables,
)
"""The modules that declare tables."""

NAMES: Final = frozenset(
    str(table.__tablename__)
    for room in ROOMS
    for table in vars(room).values()
    if isinstance(table, type) and issubclass(table, SQLModel) and table is not SQLModel
)
"""The tables of this database; stage tables and others are nobody's business here."""
