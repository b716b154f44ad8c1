"""Keep one fetched file on disk while its run lasts: unnamed, for this process only, gone when it is closed."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path
from typing import BinaryIO, Self, cast

from services.importer.errors import TooLargeError

MAX_FILE_BYTES = 512 * 1024 * 1024


class Spool:
    """A temporary file that counts and hashes what is written to it.

    It has no name in the file system, so that nobody else can open it and nothing is left of it even after SIGKILL.
    Writing more than `max_bytes` raises TooLargeError (R7).
    """

    def __init__(self, directory: Path | None, *, max_bytes: int = MAX_FILE_BYTES) -> None:
        self._file = tempfile.TemporaryFile(dir=directory, buffering=0)  # noqa: SIM115 - closed by close()
        self._max_bytes = max_bytes
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: bytes) -> int:
        """Append; TooLargeError when the file would pass its limit."""
        if self.size_bytes + len(data) > self._max_bytes:
            raise TooLargeError
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._sha256.update(data)
        self.size_bytes += len(data)
        return len(data)

    def clear(self) -> None:
        """Start again with nothing in it."""
        self._file.seek(0)
        self._file.truncate()
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0

    @property
    def sha256(self) -> bytes:
        """SHA-256 of everything written so far."""
        return self._sha256.digest()

    def open(self) -> BinaryIO:
        """Open it for reading from its beginning, with a position of its own."""
        return cast("BinaryIO", io.BufferedReader(_Window(self._file.fileno()), 256 * 1024))

    def close(self) -> None:
        """Remove it."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Window(io.RawIOBase):
    """Reads a descriptor that others read too, each at its own position."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence != os.SEEK_SET:
            raise io.UnsupportedOperation
        self._position = offset
        return offset

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # io always hands a memoryview
        count = os.preadv(self._descriptor, [buffer], self._position)
        self._position += count
        return count
