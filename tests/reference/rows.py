"""One file's rows on their way to a plan: which are rejected, merged or held before anybody is looked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

from tests.reference.claims import Claims
from tests.reference.values import Deletions, Disposition, FileFacts, Group, Issue, Register, StagedRow


class Rows:
    """What is known of the rows and of the register at each point of the walk."""

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
        self.of_connections = {
            user.email for user in register.users.values() if user.dormant and register.sources[user.owner].is_scim
        }
        self.claims = Claims(register, source)
        self.own_user = self.claims.own_user
        self.external_id = {user: external_id for external_id, user in self.own_user.items()}

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

    # The rules on rows, in order.

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
