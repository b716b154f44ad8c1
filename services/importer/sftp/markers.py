"""Read the end marker that stands beside a file, and see that it fits the file (R2)."""

from __future__ import annotations

import codecs
import enum
import re
from dataclasses import dataclass

import paramiko

from services.importer.errors import TruncatedError
from services.importer.sftp.endpoint import RemoteFile
from services.importer.sftp.looks import look

_MOST_BYTES = 64 * 1024
_CLOCK_SLACK_S = 10
"""A marker that was written first of two in one upload is not one of yesterday's."""
_SHA256 = re.compile(r"(?<![0-9a-fA-F])[0-9a-fA-F]{64}(?![0-9a-fA-F])")


class Marker(enum.Enum):
    """What stands beside a complete file; the value is the ending of its name."""

    NONE = ""
    SHA256 = ".sha256"
    DONE = ".done"


@dataclass(frozen=True)
class FoundMarker:
    """A marker as it was found: `hashes` are those it holds, when it is to hold one."""

    path: str
    file: RemoteFile
    hashes: frozenset[bytes] | None = None

    def check(self, sha256: bytes) -> None:
        """Compare with what was received. Raises TruncatedError when it is not the file that the marker means."""
        if self.hashes is not None and sha256 not in self.hashes:
            raise TruncatedError(because="sha256_differs", marker=_name_of(self.path))


def find_marker(sftp: paramiko.SFTPClient, path: str, file: RemoteFile, marker: Marker) -> FoundMarker | None:
    """Look for the marker of a file that stands still; None when it needs none.

    Raises TruncatedError when it is absent, holds no hash, or was left by an earlier upload.
    """
    if marker is Marker.NONE:
        return None
    beside = path + marker.value
    found = look(sftp, beside)
    if found is None:
        raise TruncatedError(because="marker_absent", marker=_name_of(beside))
    if marker is Marker.DONE:
        if found.mtime and found.mtime + _CLOCK_SLACK_S < file.mtime:
            raise TruncatedError(because="done_older", marker=_name_of(beside))
        return FoundMarker(beside, found)
    with sftp.open(beside, "rb") as opened:
        hashes = hashes_in(opened.read(_MOST_BYTES))
    if not hashes:
        raise TruncatedError(because="sha256_unreadable", marker=_name_of(beside), file=_name_of(path))
    return FoundMarker(beside, found, hashes)


def hashes_in(data: bytes) -> frozenset[bytes]:
    """Read every SHA-256 of a marker, as sha256sum, shasum, BSD, OpenSSL and PowerShell write it, in either case.

    The names beside them do not count: that the file's own hash stands there is proof enough.
    """
    is_utf_16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))  # PowerShell's `>`
    text = data.decode("utf-16" if is_utf_16 else "utf-8", errors="replace")
    return frozenset(bytes.fromhex(found) for found in _SHA256.findall(text))


def _name_of(path: str) -> str:
    return path.rpartition("/")[2]
