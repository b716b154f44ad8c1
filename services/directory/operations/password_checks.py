"""Say whether somebody's password is right; the vendor's log-in page asks.

A try is counted before it is compared, in a transaction of its own, and neither waits for the tenant's lock: people
log in while an import is being applied.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlmodel import Session

from services.directory.operations.passwords import find_user
from services.directory.rules.contact import comparable_email
from services.directory.rules.errors import PasswordResetRequired, WrongPassword
from services.directory.rules.lockout import Guesses, Tries
from services.directory.rules.passwords import Passwords
from services.directory.store import ids
from services.directory.store.people_tables import Credential
from services.directory.store.session import Lock, Store
from services.directory.store.tables import User


@dataclass(frozen=True)
class _Try:
    """A try that was counted: what is kept of the password (nobody's: ""), and R27's mark."""

    user_id: int = 0
    password_hash: str = field(default="", repr=False)
    is_reset_required: bool = False


@dataclass(frozen=True)
class PasswordChecks:
    """What comparing needs; tries at mails that nobody has are remembered in this process."""

    store: Store
    passwords: Passwords
    guesses: Guesses = field(default_factory=Guesses)

    def verify(self, tenant_id: int, email: str, password: str, *, now: datetime) -> int:
        """Give the id of the active user with this mail and password.

        Errors: WrongPassword, PasswordResetRequired, SignInLocked, TooManySignIns.
        """
        with self.store.write(tenant_id, lock=Lock.NONE) as session:
            counted = _count(session, tenant_id, email, now)
        if counted is None:
            self.guesses.count((tenant_id, comparable_email(email)), now)
        kept = counted.password_hash if counted else ""
        if not self.passwords.is_right(kept, password) or counted is None:
            raise WrongPassword
        renewed = self.passwords.renewed(kept, password)
        with self.store.write(tenant_id, lock=Lock.NONE) as session:
            _forget_tries(session, tenant_id, counted, renewed)
        if counted.is_reset_required:
            raise PasswordResetRequired
        return counted.user_id


def _count(session: Session, tenant_id: int, email: str, now: datetime) -> _Try | None:
    """Count a try at a user's password; None where there is no such user, or one without a password."""
    user_id = find_user(session, tenant_id, email)
    user = session.get(User, (tenant_id, user_id)) if user_id is not None else None
    kept = session.get(Credential, (tenant_id, user.id), with_for_update=True) if user is not None else None
    if user is None or kept is None or not kept.password_hash:
        ids.next_id(session, "user")  # something is written here, too, so that time does not tell
        return None
    tries = Tries(kept.failures, kept.locked_until).and_another(now)
    kept.failures, kept.locked_until = tries.failures, tries.locked_until
    return _Try(user.id, kept.password_hash, user.password_reset_required)


def _forget_tries(session: Session, tenant_id: int, counted: _Try, renewed: str) -> None:
    kept = session.get(Credential, (tenant_id, counted.user_id), with_for_update=True)
    if kept is None or kept.password_hash != counted.password_hash:
        raise WrongPassword  # another one was set meanwhile
    kept.failures, kept.locked_until = 0, None
    kept.password_hash = renewed
