"""Check the fields of a request and tell all that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from services.directory.rules.errors import InvalidArgument

Given = TypeVar("Given")
Parsed = TypeVar("Parsed")


class InvalidValueError(ValueError):
    """A value that cannot be used; its text is a sentence without the value, which may be personal."""


class FieldChecks:
    """Collects what is wrong; `end` raises it all."""

    def __init__(self) -> None:
        self._violations: list[tuple[str, str]] = []

    def parse(self, field: str, parser: Callable[[Given], Parsed], value: Given) -> Parsed:
        """Parse one field; what a wrong one gives must not be used, and cannot be once `end` has been called."""
        try:
            return parser(value)
        except InvalidValueError as error:
            self.refuse(field, str(error))
        except InvalidArgument as error:  # a resource name's own check
            self._violations.extend(error.violations)
        return None  # type: ignore[return-value]

    def refuse(self, field: str, sentence: str) -> None:
        """Note a violation."""
        self._violations.append((field, sentence))

    def end(self) -> None:
        """Raise InvalidArgument if anything was wrong."""
        if self._violations:
            raise InvalidArgument(self._violations)
