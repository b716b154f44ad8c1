"""Say why a run cannot use its file: one class per reason, each ending the run with a word of the vocabulary."""

from __future__ import annotations

from typing import ClassVar

from services.importer import vocabulary


class ImporterError(Exception):
    """Root of everything that the importer raises itself."""


class RunEndedError(ImporterError):
    """Ends a run; `code` is the vocabulary's word, with `:DETAIL` where it has one."""

    word: ClassVar[str]

    def __init__(self, detail: str = "", *, because: str = "", **facts: str) -> None:
        self.code = f"{self.word}:{detail}" if detail else self.word
        self.because = because
        """Which of the word's causes it was, as vocabulary.cause names it; empty when there is but one."""
        self._facts = facts
        super().__init__(self.code)

    @property
    def message(self) -> str:
        """One sentence for people, with the cure."""
        return vocabulary.cause(self.because, **self._facts) if self.because else vocabulary.sentence(self.code)


class NoFileError(RunEndedError):
    """There is no file at the path (R5)."""

    word = "no_file"


class FileRefusedError(RunEndedError):
    """The file is there and cannot be used; nothing changes."""


class UnstableFileError(FileRefusedError):
    """The file was still being written at the third try (R1)."""

    word = "unstable_file"


class TruncatedError(FileRefusedError):
    """The file stops in the middle (R3), or its end marker is absent or does not fit it (R2)."""

    word = "truncated"


class EmptyFileError(FileRefusedError):
    """Zero bytes, or a header alone (R4)."""

    word = "empty_file"


class TooLargeError(FileRefusedError):
    """More bytes, rows or columns than R7 allows."""

    word = "too_large"


class EncodingInvalidError(FileRefusedError):
    """Broken UTF-16, or a guess under a strict source (R10)."""

    word = "encoding_invalid"


class NoHeaderError(FileRefusedError):
    """No known header at all (R13)."""

    word = "no_header"


class DuplicateHeaderError(FileRefusedError):
    """A known header twice; the detail is its canonical column (R12)."""

    word = "duplicate_header"


class MissingColumnError(FileRefusedError):
    """A mandatory column is absent; the detail is its canonical name (R13)."""

    word = "missing_column"


class HostKeyMissingError(FileRefusedError):
    """No host key is pinned for the server, so nobody knows whose file it would be."""

    word = "host_key_missing"


class HostKeyChangedError(FileRefusedError):
    """The server shows another host key than the pinned one."""

    word = "host_key_changed"


class RunFailedError(RunEndedError):
    """Something broke on the way to the file; nothing changes."""


class ConnectionFailedError(RunFailedError):
    """The server cannot be reached or does not speak SSH."""

    word = "connection_failed"


class LoginFailedError(RunFailedError):
    """The server does not accept the login."""

    word = "login_failed"


class FetchFailedError(RunFailedError):
    """The file is there and cannot be read."""

    word = "fetch_failed"


class ConnectionLostError(FetchFailedError):
    """The connection broke or stalled on the way; another try may do."""


class InterruptedRunError(RunFailedError):
    """The importer was stopped, or had a fault of its own, before the run was planned."""

    word = "interrupted"


class FaultError(InterruptedRunError):
    """The importer met a fault of its own, or lost the directory, while it got at the file; the log says more."""
