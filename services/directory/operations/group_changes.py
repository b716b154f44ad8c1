"""Change and delete groups by hand: names, Group IDs set and removed (R42), and Group IDs that stay taken (S8)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from services.directory.operations.groups import GroupView, get_group, is_synced, settle_group_id
from services.directory.operations.memberships import removed_events
from services.directory.operations.tenant_sql import TenantSql
from services.directory.rules import text
from services.directory.rules.checks import FieldChecks
from services.directory.rules.errors import FailedPrecondition, NotFound
from services.directory.rules.etags import require_etag
from services.directory.rules.names import ACCOUNT, GROUP, TENANT
from services.directory.store.events import Actor, Change, append_events
from services.directory.store.people_tables import ReservedGroupId
from services.directory.store.provisioning_tables import GROUP as GROUP_KIND
from services.directory.store.tables import MANUAL, Account, Group, Source, SourceKind


def update_group(
    session: Session,
    tenant_id: int,
    group_id: int,
    changes: Mapping[str, str],
    *,
    etag: str,
    actor: Actor,
    now: datetime,
) -> GroupView:
    """Change the fields given: display_name, group_external_id (empty: R42).

    Errors: InvalidArgument, NotFound, StaleEtag, GroupIdTaken, GroupIdReserved, FailedPrecondition.
    """
    values = _checked(changes)
    group = locked_group(session, tenant_id, group_id, etag)
    before = _described(session, group)
    if "display_name" in values:
        group.display_name = values["display_name"]
    if "group_external_id" in values:
        _set_group_id(TenantSql(session, tenant_id, now), group, values["group_external_id"])
        settle_group_id(session, group)
    after = _described(session, group)
    changed = [field for field, value in after.items() if value != before[field]]
    if changed:
        touch(group, now)
        told = [{field: side[field] for field in changed if side[field]} for side in (before, after)]
        change = Change("group.updated", ("grp", group_id), before=told[0], after=told[1])
        append_events(session, tenant_id, [change], actor=actor, now=now)
    return get_group(session, tenant_id, group_id)


def delete_group(session: Session, tenant_id: int, group_id: int, *, etag: str, actor: Actor, now: datetime) -> None:
    """Delete a group; its people stay in the account, and a synced one's Group ID stays taken (S8).

    Nobody becomes dormant by it: S7 looks at what a connection does. Errors: NotFound, StaleEtag, FailedPrecondition.
    """
    group = locked_group(session, tenant_id, group_id, etag)
    sql = TenantSql(session, tenant_id, now)
    before = _described(session, group) | {"account": ACCOUNT.format(tenant_id, group.account_id)}
    if is_synced(group):
        keep_in_account(sql, group, is_moved=False)
    if group.external_id is not None:
        session.add(
            ReservedGroupId(
                tenant_id=tenant_id,
                external_id=group.external_id,
                group_id=group_id,
                source_id=group.owner_source_id,
                create_time=now,
            )
        )
    session.flush()
    left = end_memberships(sql, group_id)
    _forget_what_connections_said(sql, group_id)
    session.expunge(group)
    sql.run("DELETE FROM groups WHERE tenant_id = :t AND id = :g", g=group_id)
    deleted = Change(
        "group.deleted", ("grp", group_id), before={name: value for name, value in before.items() if value}
    )
    append_events(session, tenant_id, [*left, deleted], actor=actor, now=now)


def release_group_id(session: Session, tenant_id: int, external_id: str, *, actor: Actor, now: datetime) -> None:
    """Free the Group ID of a deleted group. Errors: InvalidArgument, NotFound."""
    checks = FieldChecks()
    wanted = checks.parse("group_external_id", text.parse_group_external_id, external_id)
    if wanted is None:
        checks.refuse("group_external_id", "must not be empty")
    checks.end()
    kept = session.get(ReservedGroupId, (tenant_id, wanted), with_for_update=True)
    if kept is None:
        raise NotFound(resource=f"{TENANT.format(tenant_id)}/reservedGroupIds/{wanted}")
    released = Change("group.released", ("grp", kept.group_id), before={"group_external_id": kept.external_id})
    session.delete(kept)
    session.flush()
    append_events(session, tenant_id, [released], actor=actor, now=now)


def list_reserved(session: Session, tenant_id: int, *, after_group_id: int, limit: int) -> list[ReservedGroupId]:
    """Read the Group IDs that wait to be released, in order of their groups' creation."""
    query = select(ReservedGroupId).where(
        col(ReservedGroupId.tenant_id) == tenant_id, col(ReservedGroupId.group_id) > after_group_id
    )
    return list(session.exec(query.order_by(col(ReservedGroupId.group_id)).limit(limit)))


def locked_group(session: Session, tenant_id: int, group_id: int, etag: str) -> Group:
    """Read a group to change it, which must not be a main group. Errors: NotFound, StaleEtag, FailedPrecondition."""
    group = session.get(Group, (tenant_id, group_id), with_for_update=True)
    resource = GROUP.format(tenant_id, group_id)
    if group is None:
        raise NotFound(resource=resource)
    require_etag(etag, resource=resource, revision=group.revision)
    if group.is_main:
        raise FailedPrecondition(
            "this is a main group, which lives and is named with its account and has no Group ID: change the account",
            why="main_group",
        )
    return group


def touch(group: Group, now: datetime) -> None:
    """Make a group another version of itself."""
    group.revision += 1
    group.update_time = now


def keep_in_account(sql: TenantSql, group: Group, *, is_moved: bool) -> None:
    """Let everyone who is in a group stay in its account by hand, where no sync takes them out (S8, R43).

    A source's own row goes where nothing of it keeps the person there any more: then people can take the person out.
    What keeps one: another group of the account, or the account that the source is linked to. To that a connection
    adds all its users; a file, which knows a moved group and not a deleted one, adds whoever has no group at all.
    """
    account = sql.session.get_one(Account, (sql.tenant_id, group.account_id))
    bound = {"g": group.id, "main": account.main_group_id, "account": account.id}
    sql.run(
        """
        INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
        SELECT DISTINCT :t, :main, user_id, 0 FROM memberships WHERE tenant_id = :t AND group_id = :g
        ORDER BY user_id ON CONFLICT DO NOTHING
        """,
        **bound,
    )
    others = """
        SELECT 1 FROM memberships m JOIN groups o ON o.tenant_id = m.tenant_id AND o.id = m.group_id
        WHERE m.tenant_id = :t AND m.user_id = memberships.user_id
          AND m.origin_source_id = memberships.origin_source_id AND NOT o.is_main AND o.id <> :g
    """
    linked_is_enough = "false" if is_moved else f"NOT EXISTS ({others})"
    sql.run(
        f"""
        DELETE FROM memberships WHERE tenant_id = :t AND group_id = :main AND origin_source_id <> 0
          AND EXISTS (
              SELECT 1 FROM memberships m WHERE m.tenant_id = :t AND m.group_id = :g
                AND m.user_id = memberships.user_id AND m.origin_source_id = memberships.origin_source_id)
          AND NOT EXISTS ({others} AND o.account_id = :account)
          AND NOT EXISTS (
              SELECT 1 FROM sources s WHERE s.tenant_id = :t AND s.id = memberships.origin_source_id
                AND s.account_id = :account AND (s.kind = {int(SourceKind.SCIM)} OR {linked_is_enough}))
        """,
        **bound,
    )


def end_memberships(sql: TenantSql, group_id: int) -> list[Change]:
    """End everyone's membership of a group, by whomever made, sleeping ones too; gives the events."""
    sql.run("DELETE FROM sleeping_memberships WHERE tenant_id = :t AND group_id = :g", g=group_id)
    left = sql.run("DELETE FROM memberships WHERE tenant_id = :t AND group_id = :g RETURNING user_id", g=group_id)
    return removed_events((group_id, user_id) for user_id in set(left.scalars()))


def _checked(changes: Mapping[str, str]) -> dict[str, Any]:
    checks = FieldChecks()
    parsers = {"display_name": text.parse_display_name, "group_external_id": text.parse_group_external_id}
    values = {field: checks.parse(f"group.{field}", parsers[field], value) for field, value in changes.items()}
    checks.end()
    return values


def _set_group_id(sql: TenantSql, group: Group, external_id: str | None) -> None:
    if external_id is None:
        if is_synced(group):
            _make_manual(sql, group)
        return
    if external_id != group.external_id:
        owner = sql.session.get(Source, (sql.tenant_id, group.owner_source_id))
        if owner is not None and owner.kind == SourceKind.SCIM:
            raise FailedPrecondition(
                f'"{owner.display_name}" syncs this group and says its Group ID: change it there, or remove it here to '
                "make the group manual",
                why="synced_by_connection",
            )
        group.external_id = external_id


def _make_manual(sql: TenantSql, group: Group) -> None:
    """R42: the group and its members become manual, and hand-made members are in the account by hand (R39).

    What slept of a source ends, as hand-made memberships do (S6).
    """
    keep_in_account(sql, group, is_moved=False)
    sql.run(
        """
        INSERT INTO memberships (tenant_id, group_id, user_id, origin_source_id)
        SELECT DISTINCT :t, :g, user_id, 0 FROM memberships
        WHERE tenant_id = :t AND group_id = :g AND origin_source_id <> 0
        ORDER BY user_id ON CONFLICT DO NOTHING
        """,
        g=group.id,
    )
    for table in ("memberships", "sleeping_memberships"):
        sql.run(f"DELETE FROM {table} WHERE tenant_id = :t AND group_id = :g AND origin_source_id <> 0", g=group.id)
    _forget_what_connections_said(sql, group.id)
    group.external_id = None
    group.owner_source_id = MANUAL


def _forget_what_connections_said(sql: TenantSql, group_id: int) -> None:
    sql.run(
        f"DELETE FROM provisioned_resources WHERE tenant_id = :t AND kind = {GROUP_KIND} AND resource_id = :g",
        g=group_id,
    )


def _described(session: Session, group: Group) -> dict[str, str]:
    owner = session.get(Source, (group.tenant_id, group.owner_source_id)) if group.owner_source_id != MANUAL else None
    return {
        "display_name": group.display_name,
        "group_external_id": group.external_id or "",
        "owner": owner.display_name if owner is not None else "",
    }
