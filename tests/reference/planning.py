"""Plan an import by plain loops over plain values: the directory's rules, told so that they are seen to be right.

`plan_import` walks the rules in the order in which they build on each other. It knows nothing of SQL, blocks or
services; tests compare the set-based engine with it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from tests.reference.effects import (
    differing_columns,
    field_changes,
    groups_outside,
    is_synced_elsewhere,
    membership_changes,
    memberships_dropped,
)
from tests.reference.limits import verdict
from tests.reference.rows import Rows
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


class _Planning(Rows):
    """One file on its way to a plan; each method is a rule, and `plan` says in which order they hold."""

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
            present=frozenset(user for row in self.accepted() if (user := self.present_user(row))),
            missed=self.missed,
            left_out=frozenset(self.left_out),
        )

    # The rules, in order; those on rows come before.

    def find_who_left(self) -> None:
        """R32, with grace; R28's else-branch ends the grace of a user whose mail an unknown id takes over."""
        absent = self.claims.absent(self.users_with_accepted_row()) - self.held
        self.rekeyed = {row.external_id: user for row in self.accepted() if (user := self.rekeyed_user(row, absent))}
        absent -= set(self.rekeyed.values())
        newcomers_mails = {row.email for row in self.accepted() if not self.is_known(row)}
        self.missed = {}
        leaving = set()
        for user in absent:
            claim = self.register.claims[self.source, self.external_id[user]]
            grace = self.settings.grace_nights
            self.missed[user] = claim.missed_files + (1 if grace else 0)
            is_replaced = self.active[user].email in newcomers_mails and not self.claims.others(user)
            if grace == 0 or self.missed[user] > grace or is_replaced:
                leaving.add(user)
        self.dropped = {user for user in leaving if self.claims.others(user)}
        leaving -= self.dropped
        left_out = self.deletions is Deletions.LEAVE_OUT
        self.left_out = leaving if left_out else set()
        self.deleted = set() if left_out else leaving
        self.held |= self.left_out

    def rekeyed_user(self, row: StagedRow, absent: set[str]) -> str | None:
        """R28: who goes on under the row's unknown id; a takeover or a restore comes before."""
        user = self.by_mail.get(row.email)
        if user not in absent or self.is_known(row) or self.restored_by(row):
            return None
        return user if self.claims.is_rekeyed(row, user) else None

    def reject_taken_mails(self) -> None:
        """R19, R26 to R31: a mail that another active person has today must become free, or be a manual user's."""
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
            if row.external_id in self.rekeyed:
                self.warn(row, "rekeyed")

    def mail_conflict(self, row: StagedRow) -> str:
        """Say why the row cannot have its mail, as far as is known at this point of the walk; "" when it can."""
        other = self.by_mail.get(row.email)
        if other is None:
            return "owned_by_other_source" if self.is_asleep_elsewhere(row) else ""
        if other == self.user_with_claim(row) or other in self.deleted or not self.takes_mail(row):
            return ""
        if any(self.gives_up(other, its) for its in self.accepted()):
            return ""
        if not self.is_known(row) and other not in self.held:
            owner = self.active[other].owner
            if owner != self.source or other in self.dropped:
                return "" if owner == MANUAL else "owned_by_other_source"
        return "mail_taken"

    def is_asleep_elsewhere(self, row: StagedRow) -> bool:
        """R29: a dormant user, whom a connection may bring back, has the mail of an unknown id."""
        return not self.is_known(row) and row.email in self.of_connections

    def takes_mail(self, row: StagedRow) -> bool:
        """R41: a file that does not lead changes nobody's mail."""
        return not self.is_known(row) or self.claims.leads(self.own_user[row.external_id])

    def gives_up(self, user: str, row: StagedRow) -> bool:
        """R31: the row gives its user another mail."""
        is_own = self.own_user.get(row.external_id) == user
        return is_own and row.email != self.active[user].email and self.takes_mail(row)

    def taken_over_by(self, row: StagedRow) -> str | None:
        """The manual user whom an accepted row takes over (R27)."""
        other = self.by_mail.get(row.email)
        if self.is_known(row) or other is None or self.active[other].owner != MANUAL:
            return None
        return other

    def joined_user(self, row: StagedRow) -> str | None:
        """Another file's user whom a row of the same id and mail claims, too (R41)."""
        other = self.by_mail.get(row.email)
        if self.is_known(row) or other is None or other in self.external_id or other in self.held:
            return None
        return other if self.claims.is_of_another_file(row, other) else None

    def restored_by(self, row: StagedRow) -> str | None:
        """Who comes back with an accepted row: whoever left under its id, unless it is somebody who is here (R34)."""
        if self.is_known(row) or self.taken_over_by(row) or self.joined_user(row):
            return None
        return self.claims.former_user(row.external_id)

    def user_with_claim(self, row: StagedRow) -> str | None:
        """The user whom this file claims by an accepted row, under this id or another, or claims now."""
        return self.own_user.get(row.external_id) or self.joined_user(row) or self.rekeyed.get(row.external_id)

    def present_user(self, row: StagedRow) -> str | None:
        """The user whose claim has a row that is used."""
        return self.own_user.get(row.external_id) or self.rekeyed.get(row.external_id)

    def user_of(self, row: StagedRow) -> str | None:
        """The user whom an accepted row changes; None for a newcomer."""
        return self.user_with_claim(row) or self.taken_over_by(row) or self.restored_by(row)

    def defer_without_seats(self) -> None:
        """R35: deletions free seats first, then newcomers and who comes back sit down in line order."""
        free = max(0, self.register.seats_total - len(self.active) + len(self.deleted))
        newcomers = [row for row in self.accepted() if not self.user_with_claim(row) and not self.taken_over_by(row)]
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
            for group_external_id in groups_outside(self.register, self.source, row):
                self.warn(row, f"group_out_of_scope:{group_external_id}")
            for group_external_id in dict.fromkeys(row.groups or ()):
                if group_external_id in not_for_files or len(group_external_id) > 256:
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
        """Deletions and claims that end first, then by line."""
        found = [self.leaving(user) for user in sorted(self.deleted | self.dropped)]
        for row in self.imported():
            change = self.change(row)
            is_new_claim = change.action is not Action.UPDATE or not self.is_known(row)
            changes_hands = not is_new_claim and change.owner != self.active[change.user].owner
            if is_new_claim or changes_hands or change.fields or change.moves:
                found.append(change)
        return found

    def leaving(self, user: str) -> Change:
        """Somebody who left this file: deleted, or known to other files only from now on (R41)."""
        if user in self.deleted:
            return Change(Action.DELETE, user, self.external_id[user])
        dropped = memberships_dropped(self.register, self.source, user)
        return Change(
            Action.DROP_CLAIM,
            user,
            self.external_id[user],
            leaves=dropped.leaves,
            stays_in=dropped.stays_in,
            owner=self.claims.others(user)[0] if self.active[user].owner == self.source else self.active[user].owner,
        )

    def change(self, row: StagedRow) -> Change:
        user = self.user_of(row)
        action = self.action(row)
        groups = membership_changes(self.register, self.source, row, user, new_groups=self.new_groups)
        if groups.has_no_account:
            self.warn(row, "no_account")
        fields, owner = {}, self.source
        if user is None or self.claims.leads(user):
            fields = field_changes(row, self.register.users[user] if user else None, self.file, self.settings)
        else:
            owner = self.active[user].owner
            for column in differing_columns(row, self.active[user], self.settings):
                self.warn(row, f"claim_differs:{column}")
        return Change(
            action,
            user or self.newcomers_name(row),
            row.external_id,
            row.line,
            fields=fields,
            joins=groups.joins,
            leaves=groups.leaves,
            was_in=groups.was_in,
            stays_in=groups.stays_in,
            owner=owner,
        )

    def action(self, row: StagedRow) -> Action:
        """Own claim before takeover before restore before rekey before create."""
        if self.is_known(row) or self.joined_user(row):
            return Action.UPDATE
        if self.taken_over_by(row):
            return Action.TAKE_OVER
        if row.external_id in self.rekeyed:
            return Action.REKEY
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
        updated = sum(number[action] for action in (Action.UPDATE, Action.TAKE_OVER, Action.RESTORE, Action.REKEY))
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
            rekeyed=number[Action.REKEY],
            unchanged=len(self.imported()) - number[Action.CREATE] - updated,
            skipped=len(skipped),
            rejected=len(self.rejected),
            merged=len(self.merged),
            deferred=len(self.deferred),
            deleted=number[Action.DELETE],
            claims_dropped=number[Action.DROP_CLAIM],
        )
