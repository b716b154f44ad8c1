"""Renew the databases' statistics after an apply."""

from __future__ import annotations

from sqlalchemy import text

from services.directory.roster.space import StageSpace

SQLITE_ANALYZE_FROM = 1_000
"""Changed people from which on SQLite's statistics are renewed after an apply."""


def refresh_statistics(space: StageSpace, counts: dict[str, int]) -> None:
    """Renew the planner's statistics after an apply that changed a tenth of the tables, past its commit.

    Inside, ANALYZE would hold its lock on shared tables until the commit and queue every other tenant's night.
    """
    changed = counts["created"] + counts["updated"] + counts["deleted"]
    if space.store.is_sqlite:
        if changed >= SQLITE_ANALYZE_FROM:
            with space.store.write(None, wait_s=30.0) as session:
                session.connection().execute(text("ANALYZE"))
        return
    with space.store.engine.begin() as connection:
        known = connection.execute(text("SELECT reltuples FROM pg_class WHERE oid = 'users'::regclass")).scalar_one()
        if changed * 10 >= known:
            connection.execute(text("SELECT muster_refresh_statistics()"))
