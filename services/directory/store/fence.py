"""The second fence between tenants: as whom a transaction works on PostgreSQL, and what that role is shown.

Every transaction takes a role for its own length. `muster_app` works for one tenant, and row-level security shows it
that tenant's rows, whatever the statement asks for. `muster_platform` looks across tenants, and may do there what its
grants name. Both may be taken by the login that the service connects with, and neither can log in by itself. SQLite has
no roles: there the tenant in every query stands alone.
"""

from __future__ import annotations

import enum
from typing import Final

from services.directory.store import schema

APP: Final = "muster_app"
PLATFORM: Final = "muster_platform"


class Reach(enum.Enum):
    """What a transaction that is nobody's reaches; one of a tenant is said by the tenant's id."""

    ALL_TENANTS = PLATFORM
    STAGES = APP
    """The stage tables of runs, which have no policies, and no row of the register."""


PLATFORM_TABLES: Final = frozenset({"id_counters", "service_tokens", "subscriptions"})
"""Tables that belong to no tenant, and are closed to whoever works for one; the policies fence all others."""

TENANT_OF_SESSION: Final = "nullif(current_setting('muster.tenant', true), '')::bigint"
"""The tenant that a transaction is of, in SQL: NULL, which equals no row's, where none was said."""


def tenant_columns() -> dict[str, str]:
    """Name every fenced table, and its column that says whose a row is."""
    return {table: "id" if table == "tenants" else "tenant_id" for table in sorted(schema.NAMES - PLATFORM_TABLES)}


def step_in(tenant_id: int | Reach) -> str:
    """Write what a transaction begins with: its role and tenant, which both end with it."""
    role, tenant = (tenant_id.value, "") if isinstance(tenant_id, Reach) else (APP, str(int(tenant_id)))
    return f"SET LOCAL ROLE {role}; SET LOCAL muster.tenant = '{tenant}'"
