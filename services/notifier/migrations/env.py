"""Tell Alembic which connection and which tables; `database.upgrade` calls it."""

from __future__ import annotations

from alembic import context

from services.notifier.tables import Table

context.configure(connection=context.config.attributes["connection"], target_metadata=Table.metadata)
with context.begin_transaction():
    context.run_migrations()
