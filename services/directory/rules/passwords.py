"""Passwords: which can be chosen, how random ones are made, and argon2id, a few computations at a time."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError

from services.directory.rules.checks import InvalidValueError
from services.directory.rules.errors import InvalidArgument, TooManySignIns
from services.directory.rules.tokens import ALPHABET

LEAST_CHARACTERS: Final = 10
MOST_CHARACTERS: Final = 256
MOST_AT_ONCE: Final = 2
"""Computations at a time: each takes about 50 ms of a core and 64 MiB."""
MOST_WAITING: Final = 8
"""Calls that wait for one: each takes one of the server's 32 threads."""


@dataclass(frozen=True)
class NewPassword:
    """A password that somebody chose, and what is kept of it."""

    text: str = field(repr=False)
    hash: str = field(repr=False)


class Passwords:
    """Makes and compares what is kept of passwords; `hasher` says at which cost (argon2-cffi's own unless said)."""

    def __init__(self, hasher: PasswordHasher | None = None) -> None:
        self._hasher = hasher or PasswordHasher()
        self._working = threading.BoundedSemaphore(MOST_AT_ONCE)
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE + MOST_WAITING)
        self._nobodys = self._hasher.hash(secrets.token_hex(16))

    def choose(self, text: str, *, field: str) -> NewPassword:
        """Take a password that somebody chose. Errors: InvalidArgument names `field`; TooManySignIns."""
        try:
            parse_password(text)
        except InvalidValueError as error:
            raise InvalidArgument([(field, str(error))]) from None
        with self._turn():
            return NewPassword(text, self._hasher.hash(text))

    def make(self) -> NewPassword:
        """Make a random password. Errors: TooManySignIns."""
        return self.choose(random_password(), field="password")

    def is_right(self, kept: str, given: str) -> bool:
        """Compare with what is kept; "" stands for nobody's, takes the same time, and is never right.

        Errors: TooManySignIns.
        """
        with self._turn():
            try:
                self._hasher.verify(kept or self._nobodys, given[: MOST_CHARACTERS + 1])
            except VerifyMismatchError:
                return False
        return bool(kept)

    def renewed(self, kept: str, given: str) -> str:
        """Give what is to be kept of a password that was right: the same, unless the cost has changed since.

        Errors: TooManySignIns.
        """
        if not self._hasher.check_needs_rehash(kept):
            return kept
        with self._turn():
            return self._hasher.hash(given)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._places.acquire(blocking=False):
            raise TooManySignIns
        try:
            with self._working:
                yield
        finally:
            self._places.release()


def parse_password(text: str) -> str:
    """Read a password: 10 to 256 characters, whichever they are."""
    if not LEAST_CHARACTERS <= len(text) <= MOST_CHARACTERS:
        raise InvalidValueError(f"must have {LEAST_CHARACTERS} to {MOST_CHARACTERS} characters")
    return text


def refuse_mail_as_password(text: str, email: str, *, field: str) -> None:
    """Refuse a password that is the person's own mail address. Errors: InvalidArgument."""
    if text.strip().lower() == email:
        raise InvalidArgument([(field, "must not be the mail address")])


def random_password() -> str:
    """Make a password of 100 random bits that can be read aloud: four parts of five characters."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(5)) for _ in range(4))
