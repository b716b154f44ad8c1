"""Say who a row of an unknown id is, and which of several files says what a person is (R28, R34, R41)."""

from __future__ import annotations

from collections.abc import Set as AbstractSet

from tests.reference.values import Register, StagedRow

_RESTORABLE_DAYS = 90


class Claims:
    """What the tenant's files know of its people, as one of them sees it."""

    def __init__(self, register: Register, source: str) -> None:
        self.register = register
        self.source = source
        self.rank = {
            name: (settings.position, number)
            for number, (name, settings) in enumerate(register.sources.items())
            if not settings.is_scim
        }
        self.of_user: dict[str, dict[str, str]] = {}
        """Active user → each file that knows the person → the id there."""
        for (claiming, external_id), claim in register.claims.items():
            if register.users[claim.user].active:
                self.of_user.setdefault(claim.user, {})[claiming] = external_id
        self.own_user = {ids[source]: user for user, ids in self.of_user.items() if source in ids}

    def leads(self, user: str) -> bool:
        """R41: attributes come from the first file in position order."""
        others = self.others(user)
        return all(self.rank[self.source] < self.rank[other] for other in others)

    def others(self, user: str) -> list[str]:
        """The other files that know the user, the first in position first."""
        return sorted(set(self.of_user.get(user, {})) - {self.source}, key=self.rank.__getitem__)

    def is_of_another_file(self, row: StagedRow, user: str) -> bool:
        """R41: the same id and mail in another file of the tenant is the same person."""
        ids = self.of_user.get(user, {})
        return any(ids[other] == row.external_id for other in self.others(user))

    def is_rekeyed(self, row: StagedRow, user: str) -> bool:
        """R28: the user of this file, whose own id has left it, goes on under the row's id."""
        own_id = self.of_user.get(user, {}).get(self.source)
        if own_id is None:
            return False
        same_name = row.display_name.casefold() == self.register.users[user].display_name.casefold()
        return same_name or _plain(row.external_id) == _plain(own_id) or self.is_of_another_file(row, user)

    def former_user(self, external_id: str) -> str | None:
        """R34: whom the file called so last, unless that is too long ago; ids of one person are one (R41)."""
        former = self.register.former_claims.get((self.source, external_id))
        if former is None or self.register.users[former.user].active or self.register.users[former.user].dormant:
            return None
        is_recent = any(
            other.user == former.user and other.with_user and other.days_ago < _RESTORABLE_DAYS
            for (_, its_id), other in self.register.former_claims.items()
            if its_id == external_id
        )
        return former.user if is_recent else None

    def absent(self, present: AbstractSet[str]) -> set[str]:
        """Users whom the file knew and has no more."""
        return set(self.own_user.values()) - present


def _plain(external_id: str) -> str:
    """An id without case, spaces and leading zeros."""
    return "".join(external_id.split()).casefold().lstrip("0")
