"""Tell a POST of a group that is sent again from one that means another group (S13)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from services.directory.operations.provisioning.call import Call
from services.directory.rules.provisioned import ProvisionedGroup
from services.directory.store.provisioning_tables import GROUP

RETRIED_WITHIN: Final = timedelta(minutes=20)
"""How long a group without Group ID may be asked for again: Okta comes back after 5 minutes, and then after 10 more."""

_AWAKE, _ASLEEP = (
    f"SELECT m.user_id FROM {table} m WHERE m.tenant_id = :t AND m.group_id = p.resource_id"
    for table in ("memberships", "sleeping_memberships")
)
"""Who is in the group that may be meant.

Of each of few it is asked by itself, and without EXISTS, for which PostgreSQL may read all who are in the group.
"""


def made_before(call: Call, wanted: ProvisionedGroup, members: Sequence[int]) -> int | None:
    """Find the connection's group that this very request made before, which is then sent again (S13)."""
    if wanted.external_id is None:
        return _made_lately(call, wanted, members)
    query = (
        "SELECT p.resource_id FROM provisioned_resources p{index:provisioned_resources_by_external_id}"
        f" WHERE p.tenant_id = :t AND p.source_id = :s AND p.kind = {GROUP} AND p.external_id = :e"
        f" AND p.document = :d AND NOT EXISTS (SELECT 1 FROM {{each}}"
        f" WHERE ({_AWAKE} AND m.user_id = i.id LIMIT 1) IS NULL AND ({_ASLEEP} AND m.user_id = i.id LIMIT 1) IS NULL)"
    )
    found = call.run(query, e=wanted.external_id, d=wanted.document, ids=call.ids(members))
    made: int | None = found.scalars().first()
    return made


def _made_lately(call: Call, wanted: ProvisionedGroup, members: Sequence[int]) -> int | None:
    """Find the group without Group ID that the same request made a while ago, and that is as it was made.

    Groups may have one name (S3), and nothing else tells the second of two from a retry: so whoever has done anything
    to the first knows of it and means another one, and so does a unit of work, which names its groups itself.
    """
    if call.unit:
        return None
    if not call.is_sqlite:  # where there is one writer at a time anyhow
        turn = f"{call.tenant_id}/{call.source_id}/{wanted.name_key}"
        call.run("SELECT pg_advisory_xact_lock(hashtext('muster.unnumbered_groups'), hashtext(:turn))", turn=turn)
    awake, asleep = (f"{there} AND m.origin_source_id = :s" for there in (_AWAKE, _ASLEEP))
    query = (
        "SELECT p.resource_id FROM provisioned_resources p{index:provisioned_resources_by_name}"
        " JOIN groups g ON g.tenant_id = p.tenant_id AND g.id = p.resource_id"
        f" WHERE p.tenant_id = :t AND p.source_id = :s AND p.kind = {GROUP} AND p.name_key = :name"
        " AND p.external_id = '' AND p.document = :document AND g.revision = 1 AND g.create_time > :since"
        " AND NOT EXISTS (SELECT 1 FROM {each}"
        f" WHERE ({awake} AND m.user_id = i.id LIMIT 1) IS NULL AND ({asleep} AND m.user_id = i.id LIMIT 1) IS NULL)"
        f" AND NOT EXISTS ({awake} AND m.user_id NOT IN (SELECT i.id FROM {{each}}))"
        f" AND NOT EXISTS ({asleep} AND m.user_id NOT IN (SELECT i.id FROM {{each}}))"
        " ORDER BY p.resource_id DESC LIMIT 1"
    )
    made: int | None = call.run(
        query,
        name=wanted.name_key,
        document=wanted.document,
        since=call.now - RETRIED_WITHIN,
        ids=call.ids(members),
    ).scalar()
    return made
