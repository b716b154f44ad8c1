"""What the claim on a source's night means for the try under way: whether it ends the night, or puts it back."""

from __future__ import annotations

from dataclasses import dataclass

from services.importer.errors import (
    ConnectionFailedError,
    FaultError,
    FetchFailedError,
    ImporterError,
    InterruptedRunError,
    RunEndedError,
)

_PASSING = (ConnectionFailedError, FaultError, FetchFailedError)
"""What ends a night only at its last try."""


@dataclass(frozen=True)
class NightClaim:
    """The claim under which a source's night is run, and whether no other try of it comes by itself."""

    id: str
    is_last_attempt: bool

    def puts_back(self, error: RunEndedError) -> bool:
        """Say whether the night is better tried again than ended: we stop, or the server may be back."""
        if type(error) is InterruptedRunError:
            return True
        return isinstance(error, _PASSING) and not self.is_last_attempt


class PutBackError(ImporterError):
    """The night is to be tried again, and no run was opened for this try; `code` is the vocabulary's word for why."""

    def __init__(self, cause: RunEndedError) -> None:
        self.code = cause.code
        super().__init__(cause.code)
