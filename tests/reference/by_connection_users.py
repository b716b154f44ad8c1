"""What an identity provider says of users, and what that does to the register: S2 to S7, S9, S10 and S14."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from tests.reference.register import RESTORABLE_FOR, Person, Refused, Said, State, Tenant, WayOut
from tests.reference.values import MANUAL


@dataclass(frozen=True)
class Facts:
    """What a provider says of a user; names compare without case."""

    user_name: str
    email: str
    display_name: str
    external_id: str = ""
    active: bool = True
    title: str = ""
    phone: str = ""
    secondary_phone: str = ""

    @property
    def mapped(self) -> dict[str, Any]:
        """What the register itself keeps of it."""
        return {
            "email": self.email,
            "display_name": self.display_name,
            "title": self.title,
            "phone": self.phone,
            "secondary_phone": self.secondary_phone,
        }

    @property
    def said(self) -> Said:
        """What is remembered as said."""
        return Said(self.user_name, self.external_id, self.active, words=self)


class UserDoor:
    """One connection's calls on one tenant at one time, as far as they are about users."""

    def __init__(self, tenant: Tenant, source: str, now: datetime) -> None:
        self.tenant, self.source, self.now = tenant, source, now
        self.account = tenant.sources[source].account

    # --- users ---

    def create_user(self, facts: Facts) -> str:
        """S2, S4, S5; S9: takes over a manual user with the mail; S6: one whom it deleted comes back; S13: a retry."""
        for (source, user), said in self.tenant.said.items():
            if source == self.source and facts.external_id and said == facts.said and said.words == facts:
                return user
        self._require_free_name(facts)
        holder = self.tenant.holder_of(facts.email)
        if holder is not None and self._owner(holder) != MANUAL:
            raise self._mail_refusal(holder)
        if holder is not None:
            self._take_over(holder, facts)
            return holder
        gone = self._gone_user(facts)
        if gone is not None:
            return self._bring_back(gone, facts)
        user = self.tenant.newcomer()
        self.tenant.users[user] = Person(owner=self.source, **facts.mapped)
        if facts.active:
            self._seat_newcomer(user)
        else:
            self._leave_as_deactivated(user)
        self._keep(user, facts)
        return user

    def update_user(self, user: str, facts: Facts) -> None:
        """S2, S6, S10; a file-owned user stays as it is (S14), a manual one is taken over."""
        self._require_seen(user)
        if self._owner(user) not in {MANUAL, self.source}:
            return
        self._require_free_name(facts, user=user)
        is_active = self._state(user) is State.ACTIVE
        if self._owner(user) == MANUAL:
            self._require_free_mail(user, facts)
            self._take_over(user, facts)
            return
        was_said = self.tenant.said[self.source, user]
        wakes = facts.active and self._state(user) is State.DORMANT and not was_said.active
        if wakes or (is_active and facts.active):
            self._require_free_mail(user, facts)
        self.tenant.change(user, **facts.mapped)
        self._keep(user, facts)
        if wakes:
            self._wake(user)
        elif not facts.active and is_active:
            self.tenant.leave(user, WayOut.DEACTIVATED, self.now)
        elif not facts.active and was_said.active:
            self._deactivate_dormant(user)

    def delete_user(self, user: str) -> None:
        """S6; of a file-owned user only what the connection did ends (S14)."""
        self._require_seen(user)
        owner = self._owner(user)
        if owner == MANUAL:
            raise Refused("NOT_FOUND")
        if owner != self.source:
            self.tenant.memberships = {
                entry for entry in self.tenant.memberships if (entry.user, entry.origin) != (user, self.source)
            }
            return
        self.tenant.leave(user, WayOut.DELETED, self.now)

    # --- what follows ---

    def _owner(self, user: str) -> str:
        return self.tenant.users[user].owner

    def _state(self, user: str) -> State:
        return self.tenant.users[user].state

    def _keep(self, user: str, facts: Facts) -> None:
        self.tenant.said[self.source, user] = facts.said

    def _require_seen(self, user: str) -> None:
        """S14: its own users, dormant ones too, and others that are active."""
        is_active = self._state(user) is State.ACTIVE
        is_own = self._owner(user) == self.source
        if not is_active and (not is_own or self._state(user) is State.DELETED):
            raise Refused("NOT_FOUND")

    def _require_free_name(self, facts: Facts, user: str = "") -> None:
        for (source, other), said in self.tenant.said.items():
            taken = said.user_name.lower() == facts.user_name.lower() and not said.gone
            if source == self.source and other != user and taken:
                raise Refused("USER_NAME_TAKEN")

    def _require_free_mail(self, user: str, facts: Facts) -> None:
        holder = self.tenant.holder_of(facts.email)
        if holder not in {None, user}:
            assert holder is not None
            raise self._mail_refusal(holder)

    def _mail_refusal(self, holder: str) -> Refused:
        own = self._owner(holder) in {MANUAL, self.source}
        return Refused("EMAIL_TAKEN" if own else "OWNED_BY_OTHER_SOURCE")

    def _take_over(self, user: str, facts: Facts) -> None:
        """S9: the same user with the connection's attributes; password and manual groups stay."""
        self.tenant.change(user, owner=self.source, **facts.mapped)
        self._keep(user, facts)
        self._enter_account(user)
        if not facts.active:
            self.tenant.leave(user, WayOut.DEACTIVATED, self.now)

    def _gone_user(self, facts: Facts) -> str | None:
        """Whom it deleted, or people did, within 90 days: by externalId, else by userName; who left last of several."""
        found = []
        for number, (name, person) in enumerate(self.tenant.users.items()):
            said = self.tenant.said.get((self.source, name))
            if said is None or person.owner != self.source or person.state is not State.DELETED:
                continue
            same_key = said.external_id == facts.external_id
            same_name = said.user_name.lower() == facts.user_name.lower()
            is_same = same_key if facts.external_id else same_name
            if is_same and person.left is not None and self.now - person.left < RESTORABLE_FOR:
                found.append((person.left, number, name))
        return max(found)[2] if found else None

    def _bring_back(self, user: str, facts: Facts) -> str:
        self.tenant.change(user, **facts.mapped)
        self._keep(user, facts)
        if facts.active:
            self._wake(user)
        else:
            self._leave_as_deactivated(user)
        return user

    def _seat_newcomer(self, user: str) -> None:
        self.tenant.change(user, state=State.DORMANT)  # who is not seated yet takes no seat
        self.tenant.require_seat()
        self.tenant.change(user, state=State.ACTIVE)
        self._enter_account(user)

    def _leave_as_deactivated(self, user: str) -> None:
        self.tenant.change(user, state=State.DORMANT, way_out=WayOut.DEACTIVATED, left=self.now)

    def _deactivate_dormant(self, user: str) -> None:
        """S6 for one who is out by S7: now only `active: true` brings it back, and manual memberships do not wake."""
        self.tenant.forget_sleep(user)
        self.tenant.change(user, way_out=WayOut.DEACTIVATED)

    def _wake(self, user: str) -> None:
        self.tenant.wake(user, self.now)
        self._enter_account(user)

    def _enter_account(self, user: str) -> None:
        if self.account is not None:
            self.tenant.join(user, self.tenant.accounts[self.account].main_group, self.source)
