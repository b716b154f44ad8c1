"""Row-level security on PostgreSQL: a transaction of a tenant is shown that tenant's rows, whatever it asks for."""

from __future__ import annotations

from typing import Final

from alembic import op

from services.directory.store.fence import APP, PLATFORM
from services.directory.store.migrations import fencing

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_SEQUENCES: Final = (
    "account",
    "administrator",
    "api_key",
    "event",
    "group",
    "import_run",
    "invitation",
    "refusal",
    "source",
    "tenant",
    "user",
)

_TABLES: Final = {
    "accounts": "SELECT, INSERT",
    "administrator_sessions": "SELECT, INSERT, UPDATE, DELETE",
    "administrators": "SELECT, INSERT, UPDATE, DELETE",
    "api_keys": "SELECT",
    "archived_events": "SELECT, INSERT",
    "claims": "",
    "credentials": "",
    "events": "SELECT, INSERT, DELETE",
    "former_claims": "",
    "groups": "SELECT, INSERT",
    "import_issues": "",
    "import_runs": "SELECT",
    "invitations": "",
    "license_refusals": "",
    "licenses": "SELECT, INSERT",
    "memberships": "",
    "provisioned_resources": "",
    "request_replays": "SELECT, INSERT, UPDATE, DELETE",
    "reserved_group_ids": "",
    "sleeping_memberships": "",
    "sources": "SELECT",
    "users": "",
}
"""Tables with a tenant in every row → what the platform may do with all tenants' rows."""


def upgrade() -> None:
    """Make the roles, unless the cluster has them, and fence every table; stages of open runs get their new owner."""
    if op.get_context().dialect.name != "postgresql":
        return
    for role in (APP, PLATFORM):
        op.execute(_make_role(role))
    op.execute(_in_this_schema(f"GRANT USAGE ON SCHEMA %I TO {APP}, {PLATFORM}"))
    fencing.fence_table("tenants", tenant="id", app="SELECT, UPDATE", platform="SELECT, INSERT, DELETE")
    for table, platform in _TABLES.items():
        rows = "tenant_id = 0" if table == "request_replays" else "true"
        fencing.fence_table(table, platform=platform, platform_rows=rows)
    fencing.open_platform_table("service_tokens", "SELECT, INSERT, UPDATE, DELETE")
    fencing.open_platform_table("subscriptions", "SELECT, INSERT, UPDATE, DELETE")
    for name in _SEQUENCES:
        fencing.open_sequence(name)
    op.execute(f"GRANT USAGE, CREATE ON SCHEMA stage TO {APP}")
    op.execute(_own_stages(APP))
    op.execute(_in_this_schema(_REFRESH_STATISTICS))
    op.execute("REVOKE ALL ON FUNCTION muster_refresh_statistics() FROM PUBLIC")
    op.execute(f"GRANT EXECUTE ON FUNCTION muster_refresh_statistics() TO {APP}")


def downgrade() -> None:
    """Take everything back but the roles themselves, which other databases of the cluster may use."""
    if op.get_context().dialect.name != "postgresql":
        return
    op.execute("DROP FUNCTION muster_refresh_statistics()")
    op.execute(_own_stages("CURRENT_USER"))
    op.execute(f"REVOKE ALL ON SCHEMA stage FROM {APP}")
    for name in _SEQUENCES:
        op.execute(f"REVOKE ALL ON SEQUENCE {name}_id_seq FROM {APP}, {PLATFORM}")
    for table in ("service_tokens", "subscriptions"):
        op.execute(f"REVOKE ALL ON {table} FROM {PLATFORM}")
    for table in ("tenants", *_TABLES):
        fencing.unfence_table(table)
    op.execute(_in_this_schema(f"REVOKE USAGE ON SCHEMA %I FROM {APP}, {PLATFORM}"))


_REFRESH_STATISTICS: Final = """
    CREATE FUNCTION muster_refresh_statistics() RETURNS void LANGUAGE sql SECURITY DEFINER
    SET search_path = %I, pg_temp AS 'ANALYZE users, claims, memberships, events'
"""
"""Only the owner of a table may ANALYZE it, which the service need not be."""


def _make_role(role: str) -> str:
    """Make a role of the cluster, in which other databases may be migrating now, and let this login take it."""
    return f"""
        DO $$
        BEGIN
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                BEGIN
                    CREATE ROLE {role} NOLOGIN;
                EXCEPTION WHEN duplicate_object OR unique_violation THEN
                    NULL;
                END;
            END IF;
            IF NOT pg_has_role(
                current_user,
                '{role}',
                CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END
            ) THEN
                BEGIN
                    GRANT {role} TO CURRENT_USER;
                EXCEPTION WHEN unique_violation THEN
                    NULL;
                END;
            END IF;
        END $$
    """


def _in_this_schema(statement: str) -> str:
    """Execute a statement with the schema of the register for %I."""
    return f"DO $do$ BEGIN EXECUTE format($stmt${statement}$stmt$, current_schema()); END $do$"


def _own_stages(owner: str) -> str:
    return f"""
        DO $$
        DECLARE name text;
        BEGIN
            FOR name IN SELECT format('stage.%I', tablename) FROM pg_tables WHERE schemaname = 'stage' LOOP
                EXECUTE 'ALTER TABLE ' || name || ' OWNER TO {owner}';
            END LOOP;
        END $$
    """
