"""What must agree in a tenant's register: for each check one statement whose rows are what disagrees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from services.directory.store.people_tables import InvitationState
from services.directory.store.provisioning_tables import GROUP, USER
from services.directory.store.tables import MANUAL, RunStatus, SourceKind, UserState

_ACTIVE, _DELETED, _DORMANT = int(UserState.ACTIVE), int(UserState.DELETED), int(UserState.DORMANT)


@dataclass(frozen=True)
class Check:
    """A statement whose rows are problems: an id of what `prefix` names, and what `message` tells beside it."""

    kind: str
    prefix: str
    message: str
    statement: str


_SEATS: Final = (
    Check(
        "seats_used",
        "lic",
        "{1} seats are counted as used, and {2} users are active",
        f"""
        SELECT tenant_id, seats_used, active FROM (
            SELECT tenant_id, seats_used, (
                SELECT count(*) FROM users u WHERE u.tenant_id = :t AND u.state = {_ACTIVE}) AS active
            FROM licenses WHERE tenant_id = :t) l
        WHERE seats_used <> active
        """,
    ),
)

_PLACES: Final = (
    Check(
        "main_group",
        "acc",
        "the account's main group is missing, of another account, or none",
        """
        SELECT a.id FROM accounts a LEFT JOIN groups g ON g.tenant_id = a.tenant_id AND g.id = a.main_group_id
        WHERE a.tenant_id = :t AND (g.id IS NULL OR NOT g.is_main OR g.account_id <> a.id) ORDER BY a.id
        """,
    ),
    Check(
        "main_group_of_no_account",
        "grp",
        "the group says that it is a main group, and its account has another",
        """
        SELECT g.id FROM groups g JOIN accounts a ON a.tenant_id = g.tenant_id AND a.id = g.account_id
        JOIN groups o ON o.tenant_id = a.tenant_id AND o.id = a.main_group_id AND o.is_main AND o.account_id = a.id
        WHERE g.tenant_id = :t AND g.is_main AND o.id <> g.id ORDER BY g.id
        """,
    ),
    Check(
        "account_tree",
        "acc",
        "the account's parent is missing, or another account than the tenant's main one has none",
        """
        SELECT a.id FROM accounts a JOIN tenants t ON t.id = a.tenant_id
        LEFT JOIN accounts p ON p.tenant_id = a.tenant_id AND p.id = a.parent_id
        WHERE a.tenant_id = :t AND (a.id = t.main_account_id) <> (p.id IS NULL) ORDER BY a.id
        """,
    ),
    Check(
        "group_owner",
        "grp",
        "the group's owner is no source of the tenant",
        f"""
        SELECT g.id FROM groups g LEFT JOIN sources s
            ON s.tenant_id = g.tenant_id AND s.id = g.owner_source_id AND s.delete_time IS NULL
        WHERE g.tenant_id = :t AND g.owner_source_id <> {MANUAL} AND s.id IS NULL ORDER BY g.id
        """,
    ),
)

_MEMBERSHIPS: Final = (
    Check(
        "membership_of_inactive",
        "usr",
        "the user is not active, and is in {1} groups",
        f"""
        SELECT u.id, count(*) FROM memberships m JOIN users u ON u.tenant_id = m.tenant_id AND u.id = m.user_id
        WHERE m.tenant_id = :t AND u.state <> {_ACTIVE} GROUP BY u.id ORDER BY u.id
        """,
    ),
    Check(
        "outside_account",
        "usr",
        "the user is in {1} groups of accounts in which the user is not",
        """
        SELECT m.user_id, count(DISTINCT m.group_id) FROM memberships m
        JOIN groups g ON g.tenant_id = m.tenant_id AND g.id = m.group_id
        JOIN accounts a ON a.tenant_id = g.tenant_id AND a.id = g.account_id
        WHERE m.tenant_id = :t AND NOT g.is_main AND NOT EXISTS (
            SELECT 1 FROM memberships i
            WHERE i.tenant_id = :t AND i.group_id = a.main_group_id AND i.user_id = m.user_id)
        GROUP BY m.user_id ORDER BY m.user_id
        """,
    ),
    Check(
        "membership_origin",
        "grp",
        "{1} memberships were made by what is no source of the tenant",
        f"""
        SELECT m.group_id, count(*) FROM memberships m LEFT JOIN sources s
            ON s.tenant_id = m.tenant_id AND s.id = m.origin_source_id AND s.delete_time IS NULL
        WHERE m.tenant_id = :t AND m.origin_source_id <> {MANUAL} AND s.id IS NULL
        GROUP BY m.group_id ORDER BY m.group_id
        """,
    ),
    Check(
        "sleeping_membership",
        "usr",
        "{1} memberships wait for the user, who is not dormant",
        f"""
        SELECT u.id, count(*) FROM sleeping_memberships m JOIN users u
            ON u.tenant_id = m.tenant_id AND u.id = m.user_id
        WHERE m.tenant_id = :t AND u.state <> {_DORMANT} GROUP BY u.id ORDER BY u.id
        """,
    ),
)

_PEOPLE: Final = (
    Check(
        "mail_twice",
        "usr",
        "another active user has the same mail address",
        f"""
        SELECT u.id FROM users u JOIN (
            SELECT lower(email) AS mail FROM users WHERE tenant_id = :t AND state = {_ACTIVE}
            GROUP BY lower(email) HAVING count(*) > 1) d ON lower(u.email) = d.mail
        WHERE u.tenant_id = :t AND u.state = {_ACTIVE} ORDER BY u.id
        """,
    ),
    Check(
        "way_out",
        "usr",
        "the user's state and the time of leaving disagree",
        f"""
        SELECT id FROM users WHERE tenant_id = :t
          AND (state = {_ACTIVE}) <> (leave_time IS NULL AND erase_time IS NULL) ORDER BY id
        """,
    ),
    Check(
        "erased_user",
        "usr",
        "the user was erased, and still has a name, an address or a phone, or is not deleted",
        f"""
        SELECT id FROM users WHERE tenant_id = :t AND erase_time IS NOT NULL AND (state <> {_DELETED}
            OR email <> '' OR display_name <> '' OR title <> '' OR phone <> '' OR secondary_phone <> '') ORDER BY id
        """,
    ),
    Check(
        "user_owner",
        "usr",
        "the user's owner is no source of the tenant",
        f"""
        SELECT u.id FROM users u LEFT JOIN sources s
            ON s.tenant_id = u.tenant_id AND s.id = u.owner_source_id AND s.delete_time IS NULL
        WHERE u.tenant_id = :t AND u.owner_source_id <> {MANUAL} AND u.state <> {_DELETED} AND s.id IS NULL
        ORDER BY u.id
        """,
    ),
    Check(
        "invitation_of_inactive",
        "usr",
        "an invitation is open, and the user is not active",
        f"""
        SELECT DISTINCT u.id FROM invitations i JOIN users u ON u.tenant_id = i.tenant_id AND u.id = i.user_id
        WHERE i.tenant_id = :t AND u.state <> {_ACTIVE}
          AND i.state IN ({int(InvitationState.PENDING)}, {int(InvitationState.SENT)}) ORDER BY u.id
        """,
    ),
)

_SOURCES: Final = (
    Check(
        "claim_of_inactive",
        "usr",
        "a file claims the user, who is not active",
        f"""
        SELECT DISTINCT u.id FROM claims c JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
        WHERE c.tenant_id = :t AND u.state <> {_ACTIVE} ORDER BY u.id
        """,
    ),
    Check(
        "claim_owner",
        "usr",
        "files claim the user, and the owner is none of them",
        f"""
        SELECT DISTINCT u.id FROM claims c JOIN users u ON u.tenant_id = c.tenant_id AND u.id = c.user_id
        WHERE c.tenant_id = :t AND u.state = {_ACTIVE} AND NOT EXISTS (
            SELECT 1 FROM claims o
            WHERE o.tenant_id = :t AND o.user_id = u.id AND o.source_id = u.owner_source_id) ORDER BY u.id
        """,
    ),
    Check(
        "owner_without_claim",
        "usr",
        "the user's owner does not know the user",
        f"""
        SELECT u.id FROM users u JOIN sources s ON s.tenant_id = u.tenant_id AND s.id = u.owner_source_id
        WHERE u.tenant_id = :t AND u.state = {_ACTIVE} AND s.delete_time IS NULL AND NOT EXISTS (
            SELECT 1 FROM claims c WHERE c.tenant_id = :t AND c.user_id = u.id AND c.source_id = s.id)
          AND NOT EXISTS (
            SELECT 1 FROM provisioned_resources p WHERE p.tenant_id = :t AND p.source_id = s.id
              AND p.kind = {USER} AND p.resource_id = u.id AND NOT p.is_gone AND s.kind = {int(SourceKind.SCIM)})
        ORDER BY u.id
        """,
    ),
    Check(
        "provisioned_user",
        "usr",
        "a connection keeps what it said of a user who does not exist, or who was erased",
        f"""
        SELECT DISTINCT p.resource_id FROM provisioned_resources p
        LEFT JOIN users u ON u.tenant_id = p.tenant_id AND u.id = p.resource_id
        WHERE p.tenant_id = :t AND p.kind = {USER} AND (u.id IS NULL OR u.erase_time IS NOT NULL)
        ORDER BY p.resource_id
        """,
    ),
    Check(
        "provisioned_group",
        "grp",
        "a connection keeps what it said of a group that does not exist, or that another owns",
        f"""
        SELECT DISTINCT p.resource_id FROM provisioned_resources p
        LEFT JOIN groups g ON g.tenant_id = p.tenant_id AND g.id = p.resource_id
        WHERE p.tenant_id = :t AND p.kind = {GROUP} AND NOT p.is_gone
          AND (g.id IS NULL OR g.owner_source_id <> p.source_id) ORDER BY p.resource_id
        """,
    ),
    Check(
        "open_run",
        "run",
        "the run is open, and nobody works on it",
        f"""
        SELECT id FROM import_runs WHERE tenant_id = :t AND active_until < :until AND (
            status IN ({int(RunStatus.STAGING)}, {int(RunStatus.APPLYING)})
            OR (status = {int(RunStatus.PLANNED)} AND NOT plan_only AND undoes_run_id = 0)) ORDER BY id
        """,
    ),
)

_ALL_EVENTS: Final = """
    SELECT resource_id, kind, xid, position FROM events WHERE tenant_id = :t AND resource_kind = 'usr'
    UNION ALL
    SELECT resource_id, kind, xid, position FROM archived_events WHERE tenant_id = :t AND resource_kind = 'usr'
"""

_EVENTS: Final = (
    Check(
        "no_created_event",
        "usr",
        "no event tells that the user was created",
        f"""
        SELECT u.id FROM users u WHERE u.tenant_id = :t AND u.id NOT IN (
            SELECT e.resource_id FROM ({_ALL_EVENTS}) e WHERE e.kind = 'user.created') ORDER BY u.id
        """,
    ),
    Check(
        "last_event",
        "usr",
        "the last event tells of another state than the user's: {1}",
        f"""
        SELECT u.id, l.kind FROM users u JOIN (
            SELECT resource_id, kind, row_number() OVER (
                PARTITION BY resource_id ORDER BY xid DESC, position DESC) AS place
            FROM ({_ALL_EVENTS}) e
            WHERE kind IN ('user.created', 'user.restored', 'user.dormant', 'user.deleted', 'user.erased')
        ) l ON l.resource_id = u.id AND l.place = 1
        WHERE u.tenant_id = :t AND (
            u.state <> CASE l.kind WHEN 'user.dormant' THEN {_DORMANT} WHEN 'user.deleted' THEN {_DELETED}
                WHEN 'user.erased' THEN {_DELETED} ELSE {_ACTIVE} END
            OR (u.erase_time IS NOT NULL) <> (l.kind = 'user.erased')) ORDER BY u.id
        """,
    ),
)

CHECKS: Final = (*_SEATS, *_PLACES, *_MEMBERSHIPS, *_PEOPLE, *_SOURCES, *_EVENTS)
"""Everything that must agree."""
