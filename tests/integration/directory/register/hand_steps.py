"""Steps by hand: people, seats, accounts, groups and who is in them."""

from __future__ import annotations

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
from tests.integration.directory.register.world import PAYROLL, PROVIDER
from tests.reference import by_hand, by_hand_places, by_time

MOST_ACCOUNTS = 5
FIELDS = st.fixed_dictionaries({}, optional={"email": MAILS, "display_name": NAMES, "title": TITLES}).filter(bool)


class HandSteps(Steps):
    """What people do."""

    @rule(account=INDEX, email=MAILS, name=NAMES, groups=SOME)
    def create_user(self, account, email, name, groups):
        place, chosen = self.account(account), list(dict.fromkeys(map(self.group, groups)))
        self.both(
            lambda tenant: by_hand.create_user(tenant, place, email, name, chosen),
            lambda: self.world.hands.create_user(place, email, name, chosen),
            noting=self.world.users.put,
        )

    @precondition(lambda self: self.tenant.users)
    @rule(who=INDEX, fields=FIELDS)
    def update_user(self, who, fields):
        [user] = self.people([who])
        self.both(
            lambda tenant: by_hand.update_user(tenant, user, **fields),
            lambda: self.world.hands.update_user(user, **fields),
        )

    @precondition(lambda self: self.tenant.users)
    @rule(who=INDEX)
    def delete_user(self, who):
        [user] = self.people([who])
        self.both(
            lambda tenant: by_hand.delete_user(tenant, user, self.world.now),
            lambda: self.world.hands.delete_user(user),
        )

    @precondition(lambda self: self.tenant.users)
    @rule(who=INDEX)
    def restore_user(self, who):
        user = self.left(who)
        self.both(
            lambda tenant: by_hand.restore_user(tenant, user, self.world.now),
            lambda: self.world.hands.restore_user(user),
        )

    @precondition(lambda self: len(self.tenant.users) > 3)
    @rule(who=INDEX)
    def erase_user(self, who):
        [user] = self.people([who])
        self.both(
            lambda tenant: by_hand.erase_user(tenant, user, self.world.now),
            lambda: self.world.hands.erase_user(user),
        )

    @rule(seats=st.integers(1, 6))
    def set_seats(self, seats):
        self.both(lambda tenant: by_hand.set_seats(tenant, seats), lambda: self.world.hands.set_seats(seats))

    @rule(what=st.sampled_from(["create", "move", "delete"]), account=INDEX, parent=INDEX)
    def change_accounts(self, what, account, parent):
        if what == "create" and len(self.tenant.accounts) < MOST_ACCOUNTS:
            self.create_account(self.new_name("account"), self.account(parent))
        elif what == "delete":
            self.delete_account(self.account(account))
        else:
            self.move_account(self.account(account), self.account(parent))

    def create_account(self, name, parent):
        def note(_, made):
            self.world.accounts.put(name, made.name)
            self.world.groups.put(name, made.main_group)

        self.both(
            lambda tenant: by_hand_places.create_account(tenant, name, parent),
            lambda: self.world.hands.create_account(name, parent),
            noting=note,
        )

    def move_account(self, name, parent):
        self.both(
            lambda tenant: by_hand_places.move_account(tenant, name, parent),
            lambda: self.world.hands.move_account(name, parent),
        )

    def delete_account(self, name):
        self.both(
            lambda tenant: by_hand_places.delete_account(tenant, name),
            lambda: self.world.hands.delete_account(name),
        )

    @precondition(lambda self: len(self.tenant.groups) < MOST_GROUPS)
    @rule(account=INDEX, group_id=GROUP_IDS | st.just(""))
    def create_group(self, account, group_id):
        name, place = self.new_name("group"), self.account(account)
        self.both(
            lambda tenant: by_hand_places.create_group(tenant, name, place, group_id),
            lambda: self.world.hands.create_group(name, place, group_id),
            noting=lambda _, made: self.world.groups.put(name, made),
        )

    @rule(group=INDEX, group_id=GROUP_IDS | st.just(""))
    def update_group(self, group, group_id):
        name = self.group(group)
        self.both(
            lambda tenant: by_hand_places.update_group(tenant, name, group_id),
            lambda: self.world.hands.update_group(name, group_id),
        )

    @rule(group=INDEX)
    def delete_group(self, group):
        name = self.group(group)
        self.both(
            lambda tenant: by_hand_places.delete_group(tenant, name),
            lambda: self.world.hands.delete_group(name),
        )

    @rule(group=INDEX, account=INDEX, with_members=st.booleans())
    def move_group(self, group, account, with_members):
        name, place = self.group(group), self.account(account)
        self.both(
            lambda tenant: by_hand_places.move_group(tenant, name, place, with_members=with_members),
            lambda: self.world.hands.move_group(name, place, with_members=with_members),
        )

    @precondition(lambda self: self.tenant.reserved)
    @rule(group_id=GROUP_IDS)
    def release_group_id(self, group_id):
        self.both(
            lambda tenant: by_hand_places.release_group_id(tenant, group_id),
            lambda: self.world.hands.release_group_id(group_id),
        )

    @rule(group=INDEX, add=SOME, remove=SOME)
    def modify_members(self, group, add, remove):
        name, joining = self.group(group), self.people(add)
        leaving = [user for user in self.people(remove) if user not in joining]
        self.both(
            lambda tenant: by_hand_places.modify_members(tenant, name, joining, leaving),
            lambda: self.world.hands.modify_members(name, joining, leaving),
        )

    @precondition(lambda self: len(self.tenant.users) > 3)
    @rule(source=st.sampled_from([PAYROLL, PROVIDER]), keep_users=st.booleans())
    def detach_a_source(self, source, keep_users):
        self.both(
            lambda tenant: by_time.detach(tenant, source, self.world.now, keep_users=keep_users),
            lambda: self.world.hands.detach(source, keep_users=keep_users),
        )
        if source == PROVIDER:
            self.facts.clear()
            self.world.provider.log_in()

    @rule(hours=st.sampled_from([1, 1, 23, 23, 25, 25, 24 * 45, 24 * 91]), with_upkeep=st.booleans())
    def time_passes(self, hours, with_upkeep):
        self.world.directory.clock.pass_hours(hours)
        if with_upkeep:
            self.both(lambda tenant: by_time.purge(tenant, self.world.now), self.world.hands.purge)
