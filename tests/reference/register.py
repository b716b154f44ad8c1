"""The whole register of one tenant as the second opinion keeps it: plain containers, and what a change entails.

`by_hand`, `by_connection`, `by_file` and `by_time` say what each hand does to it. An operation changes the register it
is given or raises `Refused`, after which that register is not to be used any more: callers work on a copy. Nothing here
is taken from the directory; the tables of product.md are written a second time on purpose.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeVar

from tests.reference.values import MANUAL, Claim, Group, Membership, Source

RESTORABLE_FOR = timedelta(days=90)
"""A deleted user comes back within this time; then it is erased. A dormant one is deleted after as long."""
MANUAL_SLEEP = timedelta(hours=24)
"""How long memberships by hand sleep when the last SCIM group is gone (S7)."""
_Thing = TypeVar("_Thing")


class Refused(Exception):  # noqa: N818 - a refusal is an answer
    """An operation that is not to be had; `reason` is the contract's word."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class State(Enum):
    """Whether a user takes part."""

    ACTIVE = "active"
    DORMANT = "dormant"
    DELETED = "deleted"


class WayOut(Enum):
    """How a user left."""

    LEFT_FILE = "not in the file"
    DEACTIVATED = "active: false"
    LAST_GROUP = "last SCIM group gone"
    DELETED = "deleted by SCIM or by hand"


class Fate(Enum):
    """What becomes of a membership whose user leaves."""

    END = "ends"
    SLEEP = "sleeps"
    SLEEP_A_DAY = "sleeps for 24 hours"


@dataclass(frozen=True)
class Leaving:
    """One row of the table "What leaving does"."""

    state: State
    of_connection: Fate
    of_file: Fate
    by_hand: Fate


LEAVING = {
    WayOut.LEFT_FILE: Leaving(State.DELETED, Fate.END, Fate.END, Fate.END),
    WayOut.DEACTIVATED: Leaving(State.DORMANT, Fate.SLEEP, Fate.END, Fate.END),
    WayOut.LAST_GROUP: Leaving(State.DORMANT, Fate.END, Fate.END, Fate.SLEEP_A_DAY),
    WayOut.DELETED: Leaving(State.DELETED, Fate.END, Fate.END, Fate.END),
}


@dataclass(frozen=True)
class Person:
    """A user, whatever its state."""

    email: str
    display_name: str
    title: str = ""
    phone: str = ""
    secondary_phone: str = ""
    owner: str = MANUAL
    state: State = State.ACTIVE
    way_out: WayOut | None = None
    left: datetime | None = None
    password_reset_required: bool = False
    is_erased: bool = False


@dataclass(frozen=True)
class Said:
    """What a connection said last of a user; `gone`: it deleted the user. `words` is all of it, word for word."""

    user_name: str
    external_id: str = ""
    active: bool = True
    gone: bool = False
    words: object = field(default=None, compare=False)


@dataclass(frozen=True)
class Account:
    """An account; the main account has no parent."""

    main_group: str
    parent: str = ""


@dataclass
class Tenant:
    """Everything that is kept of a tenant. Values are frozen, so a copy of the containers is a copy of it all."""

    accounts: dict[str, Account]
    groups: dict[str, Group]
    sources: dict[str, Source]
    seats_total: int
    users: dict[str, Person] = field(default_factory=dict)
    claims: dict[tuple[str, str], Claim] = field(default_factory=dict)
    former: dict[tuple[str, str, str], datetime] = field(default_factory=dict)
    """Source, external id and user of a claim that ended with its user → when."""
    memberships: set[Membership] = field(default_factory=set)
    sleeping: dict[Membership, datetime | None] = field(default_factory=dict)
    """Membership of a dormant user → until when it can wake; None: as long as the user can."""
    said: dict[tuple[str, str], Said] = field(default_factory=dict)
    """Connection and user → what it said."""
    reserved: set[str] = field(default_factory=set)
    """Group IDs of synced groups that people deleted: taken until released (S8)."""
    groups_by_file: int = 0
    """How many groups files have made: their names tell them apart."""

    def copy(self) -> Tenant:
        """Give one that may be changed while this stays."""
        return Tenant(**{name: _copied(value) for name, value in vars(self).items()})

    # --- what is asked of it ---

    @property
    def main_account(self) -> str:
        """The account without a parent."""
        return next(iter(self.accounts))

    def active(self) -> list[str]:
        """Who takes part, and so has a seat."""
        return [name for name, user in self.users.items() if user.state is State.ACTIVE]

    def holder_of(self, email: str) -> str | None:
        """The active user with this mail."""
        return next((name for name in self.active() if self.users[name].email == email), None)

    def groups_of(self, user: str) -> set[str]:
        """The groups a user is in, main groups included, by whomever."""
        return {entry.group for entry in self.memberships if entry.user == user}

    def in_groups_of(self, source: str, user: str) -> bool:
        """Whether a user is in a group that the connection syncs."""
        return any(self.groups[group].owner == source for group in self.groups_of(user))

    def with_group_id(self, group_id: str) -> str | None:
        """The group that has this Group ID."""
        return next((name for name, group in self.groups.items() if group.group_external_id == group_id), None)

    # --- what may be refused ---

    def require(self, things: dict[str, _Thing], name: str) -> _Thing:
        """Give what has this name, or refuse."""
        if name not in things:
            raise Refused("NOT_FOUND")
        return things[name]

    def require_seat(self) -> None:
        """Refuse when the active users are as many as the license has seats (R35, S5)."""
        if len(self.active()) >= self.seats_total:
            raise Refused("LICENSE_LIMIT_REACHED")

    def require_free_mail(self, email: str, *, user: str = "") -> None:
        """Refuse a mail that another active user has."""
        if self.holder_of(email) not in {None, user}:
            raise Refused("EMAIL_TAKEN")

    # --- what happens to people ---

    def change(self, user: str, **values: Any) -> None:
        """Write values of a user."""
        self.users[user] = replace(self.users[user], **values)

    def newcomer(self) -> str:
        """A name that no user has had."""
        return f"user {len(self.users) + 1}"

    def join(self, user: str, group: str, origin: str) -> None:
        """Put a user into a group, and so into its account."""
        main_group = self.accounts[self.groups[group].account].main_group
        self.memberships |= {Membership(user, group, origin), Membership(user, main_group, origin)}

    def leave(self, user: str, way_out: WayOut, now: datetime) -> None:
        """Take a user out as the table says; claims end with a deleted one, and are remembered."""
        row = LEAVING[way_out]
        for entry in [entry for entry in self.memberships if entry.user == user]:
            self.memberships.remove(entry)
            fate = self._fate_of(entry, row)
            if fate is not Fate.END:
                self.sleeping[entry] = now + MANUAL_SLEEP if fate is Fate.SLEEP_A_DAY else None
        self.change(user, state=row.state, way_out=way_out, left=now)
        if row.state is State.DELETED:
            self.forget_sleep(user)
            self.end_claims(user, now)
            owner = self.users[user].owner
            if (owner, user) in self.said:
                self.said[owner, user] = replace(self.said[owner, user], gone=True)

    def _fate_of(self, entry: Membership, row: Leaving) -> Fate:
        if entry.origin == MANUAL:
            return row.by_hand
        return row.of_connection if self.sources[entry.origin].is_scim else row.of_file

    def wake(self, user: str, now: datetime) -> None:
        """Bring a user back, with the memberships that still sleep."""
        self.require_free_mail(self.users[user].email, user=user)
        self.require_seat()
        self.change(user, state=State.ACTIVE, way_out=None, left=None)
        self.memberships |= {
            entry for entry, until in self.sleeping.items() if entry.user == user and (until is None or now < until)
        }
        self.forget_sleep(user)

    def forget_sleep(self, user: str) -> None:
        """End what slept for a user."""
        self.sleeping = {entry: until for entry, until in self.sleeping.items() if entry.user != user}

    def forget_person(self, user: str) -> None:
        """Erase a deleted user: nothing that says who it was is kept."""
        nothing = dict.fromkeys(("email", "display_name", "title", "phone", "secondary_phone"), "")
        self.change(user, **nothing, password_reset_required=False, is_erased=True)
        self.former = {key: ended for key, ended in self.former.items() if key[2] != user}
        self.said = {key: said for key, said in self.said.items() if key[1] != user}

    def end_claims(self, user: str, now: datetime) -> None:
        """Turn a user's claims into former ones."""
        for (source, external_id), claim in list(self.claims.items()):
            if claim.user == user:
                del self.claims[source, external_id]
                self.former[source, external_id, user] = now


Operation = Callable[[Tenant], object]


def attempt(tenant: Tenant, operation: Operation) -> tuple[str, Tenant]:
    """Do it, whole or not at all: "OK" and the register afterwards, or the reason and the register as it was."""
    trial = tenant.copy()
    try:
        operation(trial)
    except Refused as refusal:
        return refusal.reason, tenant
    return "OK", trial


def _copied(value: Any) -> Any:
    return value.copy() if isinstance(value, dict | set) else value
