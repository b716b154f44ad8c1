"""What migrations say to put new tables behind the fence (store/fence.py); nothing happens on SQLite.

A table that is not fenced is open to no transaction of the service, so that forgetting it shows at its first use:

    def upgrade() -> None:
        op.create_table("badges", …)
        op.execute("CREATE SEQUENCE badge_id_seq AS bigint")    # on PostgreSQL
        fencing.fence_table("badges")
        fencing.open_sequence("badge")

Dropping a table drops its fence. A migration that reads or changes rows of fenced tables does so inside

    with fencing.lifted("users"):
        op.execute("UPDATE users SET …")

because the fence holds for the tables' owner, too; without it the statement fails where the owner is no superuser.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from alembic import op

from services.directory.store.fence import APP, PLATFORM, TENANT_OF_SESSION


def fence_table(
    table: str,
    *,
    tenant: str = "tenant_id",
    app: str = "SELECT, INSERT, UPDATE, DELETE",
    platform: str = "",
    platform_rows: str = "true",
) -> None:
    """Show a table's rows to transactions of their tenant alone, and to the platform's for what `platform` names.

    `tenant` is the column that says whose a row is; `app` and `platform` are what the roles may do, as GRANT has it
    (empty: nothing); `platform_rows` is a condition on the rows that the platform reaches.
    """
    if not _is_postgresql():
        return
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    op.execute(f"CREATE POLICY app ON {table} TO {APP} USING ({tenant} = {TENANT_OF_SESSION})")
    # Policies hold for members of a role, too, and a login is one of both: what it may see has to be said by SET ROLE.
    op.execute(
        f"CREATE POLICY platform ON {table} TO {PLATFORM} USING ({platform_rows} AND current_user = '{PLATFORM}')"
    )
    _grant(app, table, APP)
    _grant(platform, table, PLATFORM)


def unfence_table(table: str) -> None:
    """Take the fence of a table away again."""
    if not _is_postgresql():
        return
    for policy in ("app", "platform"):
        op.execute(f"DROP POLICY {policy} ON {table}")
    op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY")
    op.execute(f"REVOKE ALL ON {table} FROM {APP}, {PLATFORM}")


def open_platform_table(table: str, commands: str) -> None:
    """Let the platform's transactions, and nobody else's, do these commands with a table of no tenant."""
    if _is_postgresql():
        _grant(commands, table, PLATFORM)


def open_sequence(name: str) -> None:
    """Let every transaction take ids of the sequence `name` (store/ids.py)."""
    if _is_postgresql():
        op.execute(f"GRANT USAGE ON SEQUENCE {name}_id_seq TO {APP}, {PLATFORM}")


@contextmanager
def lifted(*tables: str) -> Iterator[None]:
    """Let the owner of these tables, as whom migrations run, see all rows inside the block."""
    for table in tables if _is_postgresql() else ():
        op.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
    yield
    for table in tables if _is_postgresql() else ():
        op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")


def _is_postgresql() -> bool:
    return op.get_context().dialect.name == "postgresql"


def _grant(commands: str, table: str, role: str) -> None:
    if commands:
        op.execute(f"GRANT {commands} ON {table} TO {role}")
