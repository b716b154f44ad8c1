"""Steps of the identity provider."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from tests.integration.directory.register.steps import (
    GROUP_IDS,
    INDEX,
    MAILS,
    MOST_GROUPS,
    NAMES,
    SOME,
    TITLES,
    Steps,
)
from tests.integration.directory.register.world import PROVIDER
from tests.reference.by_connection import Door, Facts
from tests.reference.register import Tenant

FACTS = st.builds(
    Facts,
    user_name=st.sampled_from(["m0@example.org", "M1@example.org", "n2", "n3", "n4"]),
    email=MAILS,
    display_name=NAMES,
    external_id=st.sampled_from(["", "x1", "x2", "x3"]),
    active=st.sampled_from([True, True, True, False]),
    title=TITLES,
)


class ConnectionSteps(Steps):
    """What the provider says."""

    @rule(facts=FACTS)
    def provision(self, facts):
        def note(name, resource):
            self.world.users.put(name, resource)
            self.facts[name] = facts

        self.both(
            lambda tenant: self.door(tenant).create_user(facts),
            lambda: self.world.provider.create_user(facts),
            noting=note,
        )

    @precondition(lambda self: self.tenant.users)
    @rule(who=INDEX, facts=FACTS)
    def provision_again(self, who, facts):
        [user] = self.people([who])
        self.say(user, facts)

    @precondition(lambda self: self.facts)
    @rule(who=INDEX)
    def turn_off_or_on(self, who):
        user = list(self.facts)[who % len(self.facts)]
        self.say(user, replace(self.facts[user], active=not self.facts[user].active))

    @precondition(lambda self: self.tenant.users)
    @rule(who=INDEX)
    def deprovision(self, who):
        [user] = self.people([who])
        self.both(
            lambda tenant: self.door(tenant).delete_user(user),
            lambda: self.world.provider.delete_user(user),
        )

    @precondition(lambda self: len(self.tenant.groups) < MOST_GROUPS)
    @rule(group_id=GROUP_IDS | st.just(""), members=SOME)
    def provision_group(self, group_id, members):
        name, people = self.new_name("group"), self.people(members)
        self.both(
            lambda tenant: self.door(tenant).create_group(name, group_id, people),
            lambda: self.world.provider.create_group(name, group_id, people),
            noting=self.world.groups.put,
        )

    @rule(group=INDEX, add=SOME, remove=SOME, replace_all=st.booleans(), group_id=GROUP_IDS | st.none())
    def change_group(self, group, add, remove, replace_all, group_id):
        name = self.synced_group(group)
        change = {
            "add": self.people(add),
            "remove": [] if replace_all else self.people(remove),
            "replace_all": replace_all,
            "group_id": group_id,
        }
        self.both(
            lambda tenant: self.door(tenant).change_group(name, **change),
            lambda: self.world.provider.change_group(name, **change),
        )

    @rule(group=INDEX, add=SOME, remove=SOME)
    def move_members(self, group, add, remove):
        name, joining, leaving = self.synced_group(group), self.people(add), self.people(remove)
        change = {"add": joining, "remove": leaving, "replace_all": False, "group_id": None}
        self.both(
            lambda tenant: self.door(tenant).change_group(name, **change),
            lambda: self.world.provider.change_group(name, **change),
        )

    @rule(group=INDEX)
    def deprovision_group(self, group):
        name = self.synced_group(group)
        self.both(
            lambda tenant: self.door(tenant).delete_group(name),
            lambda: self.world.provider.delete_group(name),
        )

    def say(self, user: str, facts: Facts) -> None:
        """Say all of a user again."""
        done = self.both(
            lambda tenant: self.door(tenant).update_user(user, facts),
            lambda: self.world.provider.update_user(user, facts),
        )
        if done and self.tenant.users[user].owner == PROVIDER:
            self.facts[user] = facts

    def door(self, tenant: Tenant) -> Door:
        """The model's side of the connection."""
        return Door(tenant, PROVIDER, self.world.now)
