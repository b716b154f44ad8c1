"""Plan an import by plain loops over plain values: the directory's rules, told so that they are seen to be right.

`plan_import` walks the rules in the order in which they build on each other. It knows nothing of SQL, blocks or
services; tests compare the set-based engine with it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.reference.effects import field_changes, is_synced_elsewhere, membership_changes
from tests.reference.limits import verdict
from tests.reference.values import (
    MANUAL,
    Action,
    Change,
    Counts,
    Deletions,
    Disposition,
    FileFacts,
    Group,
    Issue,
    Plan,
    Register,
    StagedRow,
)

_RESTORABLE_DAYS = 90


def plan_import(
    register: Register,
    source: str,
    rows: Iterable[StagedRow],
    file: FileFacts | None = None,
    *,
    deletions: Deletions = Deletions.APPLY,
) -> Plan:
    """Compare the rows of one file with the register. The order of `rows` is of no account; their lines are."""
    return _Planning(register, source, rows, file or FileFacts(), deletions).plan()


class _Planning:
    """One file on its way to a plan; each method is a rule, and `plan` says in which order they hold."""

    def __init__(
        self, register: Register, source: str, rows: Iterable[StagedRow], file: FileFacts, deletions: Deletions
    ) -> None:
        self.register = register
        self.source = source
        self.settings = register.sources[source]
        self.file = file
        self.deletions = deletions
        self.rows = {row.line: row for row in sorted(rows, key=lambda row: row.line)}
        self.rejected = {
            line: row.rejected_for for line, row in self.rows.items() if row.disposition is Disposition.REJECTED
        }
        self.warnings = [Issue(row.line, False, code) for row in self.rows.values() for code in row.warnings]
        self.merged: set[int] = set()
        self.deferred: set[int] = set()
        self.new_groups: dict[str, Group] = {}

        self.active = {name: user for name, user in register.users.items() if user.active}
        self.by_mail = {user.email: name for name, user in self.active.items()}
        self.own_user = {
            external_id: claim.user
            for (claiming, external_id), claim in register.claims.items()
            if claiming == source and claim.user in self.active
        }
        self.former_user = {
            external_id: former.user
            for (claiming, external_id), former in register.former_claims.items()
            if claiming == source and former.days_ago < _RESTORABLE_DAYS and not register.users[former.user].active
        }
        self.external_id = {user: external_id for external_id, user in self.own_user.items()}
        self.owned = {name for name, user in self.active.items() if user.owner == source}

    def plan(self) -> Plan:
        self.reject_or_merge_rows_of_one_id()
        self.reject_rows_of_one_mail()
        self.held = self.held_users()
        self.find_who_left()
        self.reject_taken_mails()
        self.defer_without_seats()
        self.create_unknown_groups()
        changes = self.changes()
        counts = self.counts(changes)
        status, reason = verdict(self.register, self.source, self.file, changes, counts)
        issues = [Issue(line, True, code) for line, code in self.rejected.items()] + self.warnings
        return Plan(
            source=self.source,
            file=self.file,
            status=status,
            reason=reason,
            counts=counts,
            changes=tuple(changes),
            issues=tuple(sorted(issues)),
            new_groups=self.new_groups,
            present=frozenset(self.own_user[row.external_id] for row in self.accepted() if self.is_known(row)),
            missed=self.missed,
            left_out=frozenset(self.left_out),
        )

    # What a row is at this point of the walk.

    def accepted(self) -> list[StagedRow]:
        """Rows that are still to be imported, in line order."""
        return [
            row
            for line, row in self.rows.items()
            if row.disposition is Disposition.ACCEPTED and line not in self.rejected and line not in self.merged
        ]

    def imported(self) -> list[StagedRow]:
        """Accepted rows that are not deferred."""
        return [row for row in self.accepted() if row.line not in self.deferred]

    def is_known(self, row: StagedRow) -> bool:
        return row.external_id in self.own_user

    def warn(self, row: StagedRow, code: str) -> None:
        self.warnings.append(Issue(row.line, False, code))

    # The rules, in order.

    def reject_or_merge_rows_of_one_id(self) -> None:
        """R17, over accepted, skipped and rejected rows alike."""
        rows_of_id = defaultdict(list)
        for row in self.rows.values():
            if row.external_id:
                rows_of_id[row.external_id].append(row)
        for rows in rows_of_id.values():
            alike = {(row.digest, row.email, row.display_name, row.disposition) for row in rows}
            if len(alike) > 1:
                self.rejected.update({row.line: "duplicate_id" for row in rows})
            elif len(rows) > 1:
                self.merge(rows)

    def merge(self, rows: Sequence[StagedRow]) -> None:
        """Keep the first row with everybody's groups; a surplus row is no longer a rejection of its own."""
        first, *surplus = rows
        seen = {first.groups}
        for row in surplus:
            self.warn(row, "duplicate_identical" if row.groups in seen else "duplicate_merged")
            seen.add(row.groups)
            self.merged.add(row.line)
            self.rejected.pop(row.line, None)
        listed = [row.groups for row in rows if row.groups is not None]
        union = tuple(dict.fromkeys(group for groups in listed for group in groups)) if listed else None
        self.rows[first.line] = replace(first, groups=union)

    def reject_rows_of_one_mail(self) -> None:
        """R19: only the row whose own user has the mail today may keep it."""
        rows_of_mail = defaultdict(list)
        for line, row in self.rows.items():
            if row.email and line not in self.merged and row.disposition is not Disposition.SKIPPED:
                rows_of_mail[row.email].append(row)
        for email, rows in rows_of_mail.items():
            for row in rows if len(rows) > 1 else ():
                own = self.own_user.get(row.external_id)
                keeps = own is not None and self.active[own].email == email
                if not keeps:
                    self.rejected.setdefault(row.line, "duplicate_mail")

    def held_users(self) -> set[str]:
        """Users whom a rejected row speaks of, or a skipped one where the source says freeze (R24)."""
        accepted = self.users_with_accepted_row()
        held = set()
        for line, row in self.rows.items():
            if line in self.rejected:
                by_mail = self.by_mail.get(row.email)
                user = self.own_user.get(row.external_id, None if by_mail in accepted else by_mail)
            elif self.settings.skip_freezes and row.disposition is Disposition.SKIPPED and line not in self.merged:
                user = self.own_user.get(row.external_id)
            else:
                continue
            if user is not None:
                held.add(user)
        return held

    def users_with_accepted_row(self) -> set[str]:
        return {self.own_user[row.external_id] for row in self.accepted() if self.is_known(row)}

    def find_who_left(self) -> None:
        """R32, with grace; R28's else-branch ends the grace of a user whose mail an unknown id takes over."""
        absent = self.owned - self.users_with_accepted_row() - self.held
        newcomers_mails = {row.email for row in self.accepted() if not self.is_known(row)}
        self.missed = {}
        leaving = set()
        for user in absent:
            claim = self.register.claims[self.source, self.external_id[user]]
            grace = self.settings.grace_nights
            self.missed[user] = claim.missed_files + (1 if grace else 0)
            if grace == 0 or self.missed[user] > grace or self.active[user].email in newcomers_mails:
                leaving.add(user)
        left_out = self.deletions is Deletions.LEAVE_OUT
        self.left_out = leaving if left_out else set()
        self.deleted = set() if left_out else leaving
        self.held |= self.left_out

    def reject_taken_mails(self) -> None:
        """R19, R26 to R29: a mail that another active person has today must become free, or be a manual user's."""
        while conflicts := [(row, code) for row in self.accepted() if (code := self.mail_conflict(row))]:
            # A rejected row's user keeps its mail, which may block another row; a ring of swaps never gets here.
            for row, code in conflicts:
                self.rejected[row.line] = code
                if self.is_known(row):
                    self.held.add(self.own_user[row.external_id])
        for row in self.accepted():
            if not self.is_known(row) and self.by_mail.get(row.email) in self.deleted:
                self.warn(row, "mail_reused")
            if self.taken_over_by(row):
                self.warn(row, "taken_over")

    def mail_conflict(self, row: StagedRow) -> str:
        """Say why the row cannot have its mail, as far as is known at this point of the walk; "" when it can."""
        other = self.by_mail.get(row.email)
        if other is None or other == self.own_user.get(row.external_id) or other in self.deleted:
            return ""
        if any(self.own_user.get(its.external_id) == other and its.email != row.email for its in self.accepted()):
            return ""
        if not self.is_known(row) and other not in self.held:
            owner = self.active[other].owner
            if owner != self.source:
                return "" if owner == MANUAL else "owned_by_other_source"
        return "mail_taken"

    def taken_over_by(self, row: StagedRow) -> str | None:
        """The manual user whom an accepted row takes over (R27)."""
        other = self.by_mail.get(row.email)
        if self.is_known(row) or other is None or self.active[other].owner != MANUAL:
            return None
        return other

    def restored_by(self, row: StagedRow) -> str | None:
        """Who comes back with an accepted row: whoever left under its id, unless it takes somebody over (R34)."""
        if self.is_known(row) or self.taken_over_by(row):
            return None
        return self.former_user.get(row.external_id)

    def user_of(self, row: StagedRow) -> str | None:
        """The user whom an accepted row changes; None for a newcomer."""
        return self.own_user.get(row.external_id) or self.taken_over_by(row) or self.restored_by(row)

    def defer_without_seats(self) -> None:
        """R35: deletions free seats first, then newcomers and who comes back sit down in line order."""
        free = max(0, self.register.seats_total - len(self.active) + len(self.deleted))
        newcomers = [row for row in self.accepted() if not self.is_known(row) and not self.taken_over_by(row)]
        for row in newcomers[free:]:
            self.deferred.add(row.line)
            self.warn(row, "deferred_license")
        for row in newcomers[:free]:
            if self.restored_by(row):
                self.warn(row, "restored")

    def create_unknown_groups(self) -> None:
        """R37: an unknown Group ID is created where the source says so and has an account, else warned about."""
        groups = [group for group in self.register.groups.values() if group.group_external_id]
        known = {group.group_external_id for group in groups}
        not_for_files = {group.group_external_id for group in groups if is_synced_elsewhere(self.register, group)}
        not_for_files |= self.register.reserved_group_ids - known
        account = self.settings.account
        creates = self.settings.creates_unknown_groups and account is not None
        imported = {row.line for row in self.imported()}
        for row in self.accepted():
            for group_external_id in dict.fromkeys(row.groups or ()):
                if group_external_id in not_for_files:
                    self.warn(row, f"unknown_group:{group_external_id}")
                    continue
                if group_external_id in known or (creates and row.line not in imported):
                    continue
                if creates:
                    assert account is not None
                    self.new_groups[f"new:{group_external_id}"] = Group(account, group_external_id, self.source)
                else:
                    self.warn(row, f"unknown_group:{group_external_id}")

    def changes(self) -> list[Change]:
        """Deletions first, then by line."""
        found = [Change(Action.DELETE, user, self.external_id[user]) for user in sorted(self.deleted)]
        for row in self.imported():
            change = self.change(row)
            if change.action is not Action.UPDATE or change.fields or change.joins or change.leaves:
                found.append(change)
        return found

    def change(self, row: StagedRow) -> Change:
        user = self.user_of(row)
        action = self.action(row)
        groups = membership_changes(self.register, self.source, row, user, new_groups=self.new_groups)
        if groups.has_no_account:
            self.warn(row, "no_account")
        return Change(
            action,
            user or self.newcomers_name(row),
            row.external_id,
            row.line,
            fields=field_changes(row, self.register.users[user] if user else None, self.file, self.settings),
            joins=groups.joins,
            leaves=groups.leaves,
        )

    def action(self, row: StagedRow) -> Action:
        """Own claim before takeover before restore before create."""
        if self.is_known(row):
            return Action.UPDATE
        if self.taken_over_by(row):
            return Action.TAKE_OVER
        return Action.RESTORE if self.restored_by(row) else Action.CREATE

    def newcomers_name(self, row: StagedRow) -> str:
        """A name that no user has had: the external id, primed as often as it takes."""
        name = row.external_id
        while name in self.register.users:
            name += "'"
        return name

    def counts(self, changes: Sequence[Change]) -> Counts:
        """R46."""
        number = Counter(change.action for change in changes)
        updated = number[Action.UPDATE] + number[Action.TAKE_OVER] + number[Action.RESTORE]
        skipped = [
            line
            for line, row in self.rows.items()
            if row.disposition is Disposition.SKIPPED and line not in self.rejected and line not in self.merged
        ]
        return Counts(
            rows=len(self.rows),
            created=number[Action.CREATE],
            updated=updated,
            taken_over=number[Action.TAKE_OVER],
            restored=number[Action.RESTORE],
            unchanged=len(self.imported()) - number[Action.CREATE] - updated,
            skipped=len(skipped),
            rejected=len(self.rejected),
            merged=len(self.merged),
            deferred=len(self.deferred),
            deleted=number[Action.DELETE],
        )
