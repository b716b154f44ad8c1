"""What an identity provider says of groups, and what that does to their people: S3, S7 to S10 and S14."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from tests.reference.by_connection_users import Facts, UserDoor
from tests.reference.register import Refused, State, WayOut
from tests.reference.values import MANUAL, Group, Membership

__all__ = ["Door", "Facts"]


class Door(UserDoor):
    """One connection's calls on one tenant at one time."""

    # --- groups ---

    def create_group(self, name: str, group_id: str, members: Collection[str]) -> str:
        """S3: adopt the administrator-made group with this Group ID, or make one in the connection's account."""
        adopted = self._group_to_adopt(group_id)
        if adopted is not None:
            kept = self.tenant.groups[adopted]
            self.tenant.groups[adopted] = replace(kept, owner=self.source)
            name = adopted
        elif self.tenant.sources[self.source].creates_unknown_groups:
            assert self.account is not None
            self.tenant.groups[name] = Group(self.account, group_id or None, self.source)
        else:
            raise Refused("GROUP_UNKNOWN")
        self._change_members(name, add=members, remove=(), replace_all=False)
        return name

    def change_group(
        self,
        group: str,
        *,
        group_id: str | None = None,
        add: Collection[str] = (),
        remove: Collection[str] = (),
        replace_all: bool = False,
    ) -> None:
        """Rename a group and change its members, judged by the end state (S7)."""
        kept = self._require_own_group(group)
        if group_id is not None and group_id != (kept.group_external_id or ""):
            if group_id and self.tenant.with_group_id(group_id) not in {None, group}:
                raise self._group_id_refusal(group_id)
            if group_id in self.tenant.reserved:
                raise Refused("GROUP_ID_RESERVED")
            self.tenant.groups[group] = replace(kept, group_external_id=group_id or None)
        self._change_members(group, add=add, remove=remove, replace_all=replace_all)

    def delete_group(self, group: str) -> None:
        """S8: everyone leaves it, and users whose only SCIM group it was are out."""
        kept = self._require_own_group(group)
        everyone = {entry.user for entry in self.tenant.memberships if entry.group == group}
        self.tenant.sleeping = {e: until for e, until in self.tenant.sleeping.items() if e.group != group}
        self.tenant.memberships = {entry for entry in self.tenant.memberships if entry.group != group}
        del self.tenant.groups[group]
        for user in everyone:
            self._leave_account(user, kept.account)
        self._put_out(everyone)

    def _require_own_group(self, group: str) -> Group:
        kept = self.tenant.require(self.tenant.groups, group)
        if kept.owner != self.source:
            raise Refused("NOT_FOUND")
        return kept

    def _group_to_adopt(self, group_id: str) -> str | None:
        if not group_id:
            return None
        if group_id in self.tenant.reserved:
            raise Refused("GROUP_ID_RESERVED")
        group = self.tenant.with_group_id(group_id)
        if group is None:
            return None
        if (refusal := self._group_id_refusal(group_id)).reason == "GROUP_SYNCED_ELSEWHERE":
            raise refusal
        if self.tenant.groups[group].owner == self.source:
            raise refusal
        return group

    def _group_id_refusal(self, group_id: str) -> Refused:
        """Why a Group ID of another group is not to be had: one syncing source a group."""
        group = self.tenant.with_group_id(group_id)
        assert group is not None
        owner = self.tenant.groups[group].owner
        is_fed = any(e.group == group and e.origin not in {MANUAL, self.source} for e in self.tenant.memberships)
        elsewhere = owner not in {MANUAL, self.source} or (owner == MANUAL and is_fed)
        return Refused("GROUP_SYNCED_ELSEWHERE" if elsewhere else "GROUP_ID_TAKEN")

    def _change_members(self, group: str, *, add: Collection[str], remove: Collection[str], replace_all: bool) -> None:
        account = self.tenant.groups[group].account
        for user in add:
            own = self._owner(user) == self.source
            if self._state(user) is State.DELETED or (self._state(user) is State.DORMANT and not own):
                raise Refused("UNKNOWN_MEMBERS")
        for user in add:
            if self._owner(user) == MANUAL:
                self._take_over_as_is(user)
        leaving = set(self.managed_members(group)) - set(add) if replace_all else set(remove) - set(add)
        left = {user for user in leaving if self._take_out(user, group)}
        for user in left:
            self._leave_account(user, account)
        self._put_out(left)  # first: what they leave, a mail or a seat, is there for whoever comes back
        self._require_free_mails(user for user in add if self._comes_back(user))
        for user in sorted(add, key=list(self.tenant.users).index):
            self._put_in(user, group)

    def _take_over_as_is(self, user: str) -> None:
        """S14: a manual user whom the sync puts into its group becomes the connection's, as it is."""
        person = self.tenant.users[user]
        fields = {name: getattr(person, name) for name in ("email", "display_name", "title")}
        facts = Facts(person.email, phone=person.phone, secondary_phone=person.secondary_phone, **fields)
        self._require_free_name(facts, user=user)
        self._take_over(user, facts)

    def managed_members(self, group: str) -> set[str]:
        """S14: members whom the connection owns or added, awake or asleep."""
        return {
            entry.user
            for entry in {*self.tenant.memberships, *self.tenant.sleeping}
            if entry.group == group and (entry.origin == self.source or self._owner(entry.user) == self.source)
        }

    def _take_out(self, user: str, group: str) -> bool:
        """Take out whom the connection added, and its own users by whomever they were put in (S10, S14)."""
        if user not in self.managed_members(group):
            return False
        own = self._owner(user) == self.source

        def stays(entry: Membership) -> bool:
            return (entry.user, entry.group) != (user, group) or not (own or entry.origin == self.source)

        before = len(self.tenant.memberships)
        self.tenant.memberships = {entry for entry in self.tenant.memberships if stays(entry)}
        self.tenant.sleeping = {entry: until for entry, until in self.tenant.sleeping.items() if stays(entry)}
        return len(self.tenant.memberships) < before

    def _comes_back(self, user: str) -> bool:
        return self._state(user) is State.DORMANT and self.tenant.said[self.source, user].active

    def _require_free_mails(self, users: Iterable[str]) -> None:
        """Whoever comes back together needs mails that nobody has, before any of them needs a seat."""
        mails: set[str] = set()
        for user in users:
            email = self.tenant.users[user].email
            self.tenant.require_free_mail(email, user=user)
            if email in mails:
                raise Refused("EMAIL_TAKEN")
            mails.add(email)

    def _put_in(self, user: str, group: str) -> None:
        """A user who is out comes back, unless the provider has deactivated it: then the membership sleeps (S6, S7)."""
        if self._state(user) is State.DORMANT and not self._comes_back(user):
            self.tenant.sleeping.setdefault(Membership(user, group, self.source), None)
            return
        if self._state(user) is State.DORMANT:
            self._wake(user)
        self.tenant.join(user, group, self.source)

    def _leave_account(self, user: str, account: str) -> None:
        """Who leaves the connection's last group of another account leaves it, unless put there by hand (R40)."""
        if account == self.account:
            return
        mine = [e for e in self.tenant.memberships if e.user == user and e.origin == self.source]
        others = [e for e in mine if self.tenant.groups[e.group].account == account]
        if all(self.tenant.groups[entry.group].is_main for entry in others):
            self.tenant.memberships -= set(others)

    def _put_out(self, users: Collection[str]) -> None:
        """S7: its own users who were taken out of a SCIM group and are in none now."""
        for user in users:
            is_own = self._owner(user) == self.source and self._state(user) is State.ACTIVE
            if is_own and not self.tenant.in_groups_of(self.source, user):
                self.tenant.leave(user, WayOut.LAST_GROUP, self.now)
