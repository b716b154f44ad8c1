"""Sign administrators in and out, and let them change what they sign in with.

A password is compared outside of any transaction, since that takes its time. So a try is counted first, in a
transaction of its own that commits, and the count is taken back when the password was right: many tries at once count,
too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete
from sqlmodel import Session, col, select

from services.directory.operations import administrators
from services.directory.operations.tokens import is_open, mint
from services.directory.rules import totp
from services.directory.rules.contact import comparable_email
from services.directory.rules.errors import InvalidArgument, NotFound, TotpRequired, TotpStateError, WrongPassword
from services.directory.rules.lockout import Guesses, Tries
from services.directory.rules.names import format_administrator
from services.directory.rules.passwords import Passwords, refuse_mail_as_password
from services.directory.rules.tokens import ADMINISTRATOR_SESSION
from services.directory.store import ids
from services.directory.store.administrator_tables import Administrator, AdministratorSession
from services.directory.store.events import Actor
from services.directory.store.seal import Seal
from services.directory.store.session import Store

SESSION_HOURS: Final = 12
Key = tuple[int, int]
"""An administrator: its tenant (0: vendor support's) and its id."""


@dataclass(frozen=True)
class SignedIn:
    """A new session: its token, which is shown once, when it ends, and whose it is."""

    token: str = field(repr=False)
    expire_time: datetime
    administrator: Administrator


@dataclass(frozen=True)
class _Try:
    """A try that was counted: whose, and what is kept of the password (nobody's: "")."""

    key: Key = (0, 0)
    password_hash: str = field(default="", repr=False)
    locked_until: datetime | None = None


@dataclass(frozen=True)
class SignIns:
    """What signing in needs; tries at mails that nobody has are remembered in this process."""

    store: Store
    passwords: Passwords
    seal: Seal
    pepper: bytes = field(repr=False)
    guesses: Guesses = field(default_factory=Guesses)

    def sign_in(self, email: str, password: str, totp_code: str, *, now: datetime) -> SignedIn:
        """Open a session. Errors: WrongPassword, TotpRequired, SignInLocked, TooManySignIns."""
        mail = comparable_email(email)
        with self.store.write(None) as session:
            counted = self._count(session, _find(session, mail), now)
        if counted is None:
            self.guesses.count(mail, now)
        self._compare(counted or _Try(), password)
        assert counted is not None
        renewed = self.passwords.renewed(counted.password_hash, password)
        with self.store.write(None) as session:
            administrator = _same(session, counted)
            administrator.password_hash = renewed
            signed_in = self._open_session(session, administrator, totp_code, counted, now)
        if signed_in is None:
            raise TotpRequired
        return signed_in

    def change_password(self, key: Key, old: str, new: str, *, now: datetime) -> None:
        """Set an administrator's own password, and end its sessions. Errors: as of `prove`, InvalidArgument."""
        counted = self._prove(key, old, now)
        password = self.passwords.choose(new, field="new_password")
        with self.store.write(None) as session:
            administrator = _same(session, counted)
            refuse_mail_as_password(new, administrator.email, field="new_password")
            administrators.give_password(
                session, administrator, password, told="changed", actor=_actor(administrator), now=now
            )

    def begin_totp(self, key: Key) -> tuple[str, str]:
        """Make a secret for an authenticator app, and give it and its URI. Errors: TotpStateError."""
        secret = totp.make_secret()
        with self.store.write(None) as session:
            administrator = _locked(session, key)
            if administrator.is_totp_on:
                raise TotpStateError(state="on")
            administrator.sealed_totp_secret = self.seal.close_up(secret.encode(), belongs_to=_belongs_to(key))
            return secret, totp.app_uri(secret, administrator.email)

    def confirm_totp(self, key: Key, code: str, *, now: datetime) -> Administrator:
        """Turn codes on, since the app shows the right one. Errors: InvalidArgument, TotpStateError."""
        with self.store.write(None) as session:
            administrator = _locked(session, key)
            if administrator.is_totp_on or administrator.sealed_totp_secret is None:
                raise TotpStateError(state="on" if administrator.is_totp_on else "off")
            step = self._step(administrator, code, now)
            if step is None:
                raise InvalidArgument([("code", "is not the code that the app shows now")])
            administrator.is_totp_on, administrator.last_totp_step = True, step
            return _told(session, administrator, totp_is="on", now=now)

    def end_totp(self, key: Key, password: str, *, now: datetime) -> Administrator:
        """Turn codes off. Errors: as of `prove`."""
        counted = self._prove(key, password, now)
        with self.store.write(None) as session:
            administrator = _same(session, counted)
            administrator.is_totp_on, administrator.sealed_totp_secret = False, None
            administrator.failures, administrator.locked_until = 0, None
            return _told(session, administrator, totp_is="off", now=now)

    def _prove(self, key: Key, password: str, now: datetime) -> _Try:
        """Compare a signed-in administrator's password. Errors: WrongPassword, SignInLocked, TooManySignIns."""
        with self.store.write(None) as session:
            counted = self._count(session, _locked(session, key), now)
        assert counted is not None
        self._compare(counted, password)
        return counted

    def _count(self, session: Session, administrator: Administrator | None, now: datetime) -> _Try | None:
        if administrator is None:
            ids.next_id(session, "administrator")  # something is written here, too, so that time does not tell
            return None
        tries = Tries(administrator.failures, administrator.locked_until).and_another(now)
        administrator.failures, administrator.locked_until = tries.failures, tries.locked_until
        key = (administrator.tenant_id, administrator.id)
        return _Try(key, administrator.password_hash, tries.locked_until)

    def _compare(self, counted: _Try, password: str) -> None:
        if not self.passwords.is_right(counted.password_hash, password):
            raise WrongPassword

    def _open_session(
        self,
        session: Session,
        administrator: Administrator,
        totp_code: str,
        counted: _Try,
        now: datetime,
    ) -> SignedIn | None:
        """Give the session, or None where a code is missing: then just this try is taken back.

        If all were, whoever knows the password could guess codes for ever.
        """
        if administrator.is_totp_on and not totp_code.strip():
            administrator.failures = max(0, administrator.failures - 1)
            if administrator.locked_until == counted.locked_until:
                administrator.locked_until = None
            return None
        if administrator.is_totp_on:
            step = self._step(administrator, totp_code, now)
            if step is None:
                raise WrongPassword
            administrator.last_totp_step = step
        administrator.failures, administrator.locked_until = 0, None
        administrator.last_sign_in_time = now
        minted = mint(ADMINISTRATOR_SESSION, pepper=self.pepper)
        expire_time = now + timedelta(hours=SESSION_HOURS)
        _forget_ended(session, administrator, now)
        session.add(
            AdministratorSession(
                token_id=minted.token_id,
                tenant_id=administrator.tenant_id,
                administrator_id=administrator.id,
                secret_hmac=minted.secret_hmac,
                create_time=now,
                expire_time=expire_time,
            )
        )
        administrators.tell(session, administrator, "administrator.signed_in", actor=_actor(administrator), now=now)
        return SignedIn(minted.token, expire_time, _let_go(session, administrator))

    def _step(self, administrator: Administrator, code: str, now: datetime) -> int | None:
        key = (administrator.tenant_id, administrator.id)
        assert administrator.sealed_totp_secret is not None
        secret = self.seal.open(administrator.sealed_totp_secret, belongs_to=_belongs_to(key)).decode()
        return totp.step_of(secret, code, now, after=administrator.last_totp_step)


def sign_out(session: Session, token_id: str) -> None:
    """End one session."""
    session.connection().execute(delete(AdministratorSession).where(col(AdministratorSession.token_id) == token_id))


def session_end(session: Session, token_id: str) -> datetime:
    """Read when a session ends. Errors: NotFound."""
    kept = session.get(AdministratorSession, token_id)
    if kept is None:
        raise NotFound(resource="session")
    return kept.expire_time


def _find(session: Session, mail: str) -> Administrator | None:
    """Find whoever signs in with this mail; nobody of a tenant that was deleted."""
    query = select(Administrator).where(col(Administrator.email) == mail).with_for_update()
    administrator = session.exec(query).first()
    return administrator if administrator is not None and is_open(session, administrator.tenant_id) else None


def _locked(session: Session, key: Key) -> Administrator:
    administrator = session.get(Administrator, key, with_for_update=True)
    if administrator is None:
        raise NotFound(resource=format_administrator(*key))
    return administrator


def _same(session: Session, counted: _Try) -> Administrator:
    """Lock the administrator again, whose password must still be the one that was compared. Errors: WrongPassword."""
    administrator = session.get(Administrator, counted.key, with_for_update=True)
    if administrator is None or administrator.password_hash != counted.password_hash:
        raise WrongPassword
    return administrator


def _forget_ended(session: Session, administrator: Administrator, now: datetime) -> None:
    session.connection().execute(
        delete(AdministratorSession).where(
            col(AdministratorSession.tenant_id) == administrator.tenant_id,
            col(AdministratorSession.administrator_id) == administrator.id,
            col(AdministratorSession.expire_time) <= now,
        )
    )


def _told(session: Session, administrator: Administrator, *, totp_is: str, now: datetime) -> Administrator:
    administrator.revision += 1
    administrators.tell(
        session,
        administrator,
        "administrator.updated",
        actor=_actor(administrator),
        now=now,
        after={"totp": totp_is},
    )
    return _let_go(session, administrator)


def _let_go(session: Session, administrator: Administrator) -> Administrator:
    """Keep what was read of an administrator beyond the commit."""
    session.flush()
    session.expunge(administrator)
    return administrator


def _actor(administrator: Administrator) -> Actor:
    return Actor(name=format_administrator(administrator.tenant_id, administrator.id))


def _belongs_to(key: Key) -> str:
    return f"administrators/{key[0]}/{key[1]}/totp"
