"""What every step stands on: it is done to the directory and to the model, and both must say the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from tests.integration.directory.register.listing import check_events, check_lists
from tests.integration.directory.register.reading import differences, kept, modelled
from tests.integration.directory.register.world import PROVIDER, World
from tests.reference.by_connection import Facts
from tests.reference.register import Operation, State, Tenant, attempt
from tests.reference.values import StagedRow

MAILS = st.sampled_from([f"m{number}@example.org" for number in range(6)])
NAMES = st.sampled_from(["Anna", "Bo"])
TITLES = st.sampled_from(["", "Boss"])
GROUP_IDS = st.sampled_from(["g1", "g2", "g3"])
INDEX = st.integers(0, 11)
"""Says which of those there are; the first of them again when there are fewer."""
MOSTLY = 10
"""Indexes below it mean those with whom a step is likely to succeed, if there are any; the others mean all."""
SOME = st.lists(INDEX, max_size=3, unique=True)
MOST_GROUPS = 9


class Steps(RuleBasedStateMachine):
    """One tenant and its model; `make_world` gives each run a tenant of its own."""

    make_world: ClassVar[Callable[..., World]]
    done: ClassVar[int] = 0
    """Steps of all runs."""

    def begin(self, *, creates_groups: bool, grace_nights: int) -> None:
        """Make the tenant and its model."""
        self.world = type(self).make_world(creates_groups=creates_groups, grace_nights=grace_nights)
        self.tenant: Tenant = self.world.model()
        self.facts: dict[str, Facts] = {}
        self.file: dict[str, StagedRow] = {}
        self.names_given = 0

    def both(
        self,
        by_model: Operation,
        by_directory: Callable[[], Any],
        *,
        noting: Callable[[Any, Any], None] = lambda *_: None,
    ) -> bool:
        """Do a step to both, note by `noting` what each of them made, and compare all; says whether it was done."""
        type(self).done += 1
        made: list[Any] = []
        expected, after = attempt(self.tenant, lambda tenant: made.append(by_model(tenant)))
        got, answer = self.world.outcome(by_directory)
        assert got == expected, f"the model says {expected}, the directory {got}"
        most = max(after.seats_total, len(self.tenant.active()))
        assert len(after.active()) <= most, "more people than seats"
        self.tenant = after
        if expected == "OK":
            noting(made[0], answer)
        self.compare()
        return expected == "OK"

    def compare(self) -> None:
        """The whole state is the same."""
        different = differences(modelled(self.tenant, self.world), kept(self.world))
        assert not different, "\n".join(different)

    def people(self, indexes: list[int]) -> list[str]:
        """Users, each once; mostly those who have not left for good."""
        return self._chosen(self.tenant.users, indexes, likely=lambda user: user.state is not State.DELETED)

    def left(self, index: int) -> str:
        """Mostly a user who has been deleted."""
        return self._chosen(self.tenant.users, [index], likely=lambda user: user.state is State.DELETED)[0]

    def group(self, index: int) -> str:
        """Mostly a group that is no main group."""
        return self._chosen(self.tenant.groups, [index], likely=lambda group: not group.is_main)[0]

    def synced_group(self, index: int) -> str:
        """Mostly a group of the connection."""
        return self._chosen(self.tenant.groups, [index], likely=lambda group: group.owner == PROVIDER)[0]

    def account(self, index: int) -> str:
        """An account."""
        return self._chosen(self.tenant.accounts, [index], likely=lambda _: True)[0]

    def new_name(self, kind: str) -> str:
        """A name that nothing has had."""
        self.names_given += 1
        return f"{kind} {self.names_given}"

    @staticmethod
    def _chosen(things: Mapping[str, Any], indexes: list[int], *, likely: Callable[[Any], bool]) -> list[str]:
        every = list(things)
        best = [name for name, thing in things.items() if likely(thing)] or every
        chosen = [(best if index < MOSTLY else every, index) for index in indexes] if every else []
        return list(dict.fromkeys(names[index % len(names)] for names, index in chosen))

    def teardown(self) -> None:
        if hasattr(self, "tenant"):
            check_lists(self.tenant, self.world)
            check_events(self.tenant, self.world)
            self.world.end()
