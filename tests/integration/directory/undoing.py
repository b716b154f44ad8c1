"""The whole register of a tenant as plain values, and a night's last run undone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlmodel import select

from services.directory.operations import import_reads, import_undo
from services.directory.operations.integrity import check_integrity
from services.directory.store.people_tables import Credential, FormerClaim, Invitation
from services.directory.store.tables import Claim, Group, ImportIssue, License, Membership, User, UserState
from tests.integration.directory.nights import SOMEBODY

_FIELDS = (
    "email",
    "display_name",
    "title",
    "phone",
    "secondary_phone",
    "owner_source_id",
    "state",
    "password_reset_required",
    "way_out",
    "leave_time",
    "erase_time",
)


@dataclass(frozen=True)
class Snapshot:
    """Everything that an import may change; who was never there, and is gone, counts as never there."""

    users: dict[int, dict[str, Any]]
    claims: frozenset[Any]
    former_claims: frozenset[Any]
    memberships: frozenset[Any]
    groups: frozenset[Any]
    passwords: dict[int, Any]
    invitations: dict[int, Any]
    seats_used: int

    def without(self, user_ids):
        """The same without some people; seats aside."""
        gone = set(user_ids)

        def kept(rows):
            return frozenset(row for row in rows if row[0] not in gone)

        return Snapshot(
            users={key: value for key, value in self.users.items() if key not in gone},
            claims=kept(self.claims),
            former_claims=kept(self.former_claims),
            memberships=kept(self.memberships),
            groups=self.groups,
            passwords={key: value for key, value in self.passwords.items() if key not in gone},
            invitations={key: value for key, value in self.invitations.items() if value[0] not in gone},
            seats_used=0,
        )


def snapshot(night):
    """Read the register of a night's tenant."""
    tenant_id = night.tenant_id

    def rows(session, table):
        return session.exec(select(table).where(table.tenant_id == tenant_id)).all()

    with night.store.read(tenant_id) as session:
        return Snapshot(
            users={user.id: {field: getattr(user, field) for field in _FIELDS} for user in rows(session, User)},
            claims=frozenset(
                (each.user_id, each.source_id, each.external_id, each.missed_files, each.deletion_left_out)
                for each in rows(session, Claim)
            ),
            former_claims=frozenset(
                (each.user_id, each.source_id, each.external_id, each.end_time) for each in rows(session, FormerClaim)
            ),
            memberships=frozenset(
                (each.user_id, each.group_id, each.origin_source_id) for each in rows(session, Membership)
            ),
            groups=frozenset(
                (each.id, each.display_name, each.external_id, each.account_id, each.owner_source_id)
                for each in rows(session, Group)
            ),
            passwords={each.user_id: (each.password_hash, each.set_time) for each in rows(session, Credential)},
            invitations={each.id: (each.user_id, each.state, each.end_time) for each in rows(session, Invitation)},
            seats_used=session.exec(select(License).where(License.tenant_id == tenant_id)).one().seats_used,
        )


def newcomers(before, after):
    """Who is in the register since: all of them deleted, and in nothing."""
    new = after.users.keys() - before.users.keys()
    assert {after.users[each]["state"] for each in new} <= {UserState.DELETED}
    return new


def require_as_before(before, after):
    """Compare two snapshots, but for those who were created in between and are deleted again."""
    new = newcomers(before, after)
    assert after.without(new) == before.without(())
    assert after.seats_used == before.seats_used


def plan_undo(night, run):
    """Plan the undo of a run."""
    return import_undo.plan_undo(night.imports, night.tenant_id, run.id, actor=SOMEBODY)


def undo(night, run):
    """Undo a run; answers the run that did it, at rest."""
    return night.apply(plan_undo(night, run))


def changes(night, run):
    """What a run shows of its changes: action and UniqueID."""
    found = import_reads.list_changes(night.imports, night.tenant_id, run.id, action=0, after=(-1, 0), limit=1000)
    return sorted((change.action, change.external_id) for change in found)


def left_out(night, run):
    """Whom an undo names: UniqueID and column of each warning."""
    with night.store.read(night.tenant_id) as session:
        issues = session.exec(
            select(ImportIssue).where(ImportIssue.tenant_id == night.tenant_id, ImportIssue.run_id == run.id)
        ).all()
    assert {issue.code for issue in issues} <= {"changed_since"}
    return sorted((issue.row_key, issue.column_name) for issue in issues)


def require_no_problems(night):
    """Ask the integrity check; a source that tests wrote by hand has no event, and need not."""
    assert list(check_integrity(night.store, night.tenant_id, now=night.imports.clock())) == []
