"""What Alembic runs: migrations on the connection, and in the transaction, that `migrate` hands over."""

from __future__ import annotations

from alembic import context
from sqlmodel import SQLModel

from services.directory.store import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=SQLModel.metadata,
    include_name=lambda name, kind, _: kind != "table" or name in schema.NAMES,
    transactional_ddl=True,
    compare_server_default=False,
)
with context.begin_transaction():
    context.run_migrations()
