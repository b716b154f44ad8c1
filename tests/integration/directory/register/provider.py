"""What the identity provider says, as calls of its connection in the model's words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from tests.integration.directory.connection import Connection, group_facts
from tests.reference.by_connection import Facts

if TYPE_CHECKING:
    from tests.integration.directory.register.world import World


class Provider:
    """One connection's calls."""

    def __init__(self, world: World, source: str) -> None:
        self.world, self.source = world, source
        self.log_in()

    def log_in(self) -> None:
        """Take a new key."""
        office, name = self.world.office, self.world.sources.resource(self.source)
        self.connection = Connection(self.world.directory, office, name, office.api_key(name).secret)

    def create_user(self, facts: Facts) -> str:
        made = self.connection.create(facts.user_name, **_said(facts))
        return f"{self.world.office.name}/users/{made.id}"

    def update_user(self, user: str, facts: Facts) -> None:
        self.connection.update(self.world.users.short(user), facts.user_name, **_said(facts))

    def delete_user(self, user: str) -> None:
        self.connection.delete(self.world.users.short(user))

    def create_group(self, name: str, group_id: str, members: Sequence[str]) -> str:
        made = self.connection.create_group(name, group_id, [self.world.users.short(user) for user in members])
        return f"{self.world.office.name}/groups/{made.id}"

    def change_group(
        self, group: str, *, add: Sequence[str], remove: Sequence[str], replace_all: bool, group_id: str | None
    ) -> None:
        self.connection.change_group(
            self.world.groups.short(group),
            add=[self.world.users.short(user) for user in add],
            remove=[self.world.users.short(user) for user in remove],
            replace=replace_all,
            facts=None if group_id is None else group_facts(group, group_id),
        )

    def delete_group(self, group: str) -> None:
        self.connection.delete_group(self.world.groups.short(group))


def _said(facts: Facts) -> dict[str, Any]:
    return {**facts.mapped, "external_id": facts.external_id, "active": facts.active}
