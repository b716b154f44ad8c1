"""Look at a file on its server: size and time, twins under way, and whether it has stood still (R1)."""

from __future__ import annotations

import errno
import stat

import paramiko

from services.importer.errors import FetchFailedError
from services.importer.sftp.endpoint import RemoteFile

TWINS = (".tmp", ".part", ".filepart")
"""What uploads under way are named (R1)."""


def look(sftp: paramiko.SFTPClient, path: str) -> RemoteFile | None:
    """Look at a file; None when it is not there. Raises FetchFailedError for a folder."""
    attributes = stat_of(sftp, path)
    if attributes is None:
        return None
    if is_folder(attributes):
        raise FetchFailedError(because="folder")
    return RemoteFile(attributes.st_size or 0, attributes.st_mtime or 0)


def stat_of(sftp: paramiko.SFTPClient, path: str) -> paramiko.SFTPAttributes | None:
    """Ask for what stands at a path; None when nothing does."""
    try:
        return sftp.stat(path)
    except OSError as error:
        if error.errno == errno.ENOENT:
            return None
        raise


def is_folder(attributes: paramiko.SFTPAttributes) -> bool:
    """Tell whether it is a folder; a server that does not say is taken to mean a file."""
    return attributes.st_mode is not None and stat.S_ISDIR(attributes.st_mode)


def twin_of(sftp: paramiko.SFTPClient, path: str) -> str:
    """Name the ending of a twin that is being uploaded, or "" when there is none."""
    return next((ending for ending in TWINS if stat_of(sftp, path + ending) is not None), "")


def has_settled(sftp: paramiko.SFTPClient, path: str, found: RemoteFile, stable_for_s: float) -> bool:
    """Tell whether the file's mtime is old by the server's own clock, so that one look suffices (R1).

    SFTP has no clock. But a server that keeps access times stamps a file when it is read: an access time that changes
    while we read one byte is the server's now. Where it does not change (mounted noatime, read a moment ago) nothing is
    known, and a second look is taken. Neither our own clock nor an access time that an uploader may have set is asked.
    """
    before = stat_of(sftp, path)
    try:
        with sftp.open(path, "rb") as file:
            file.read(1)
    except FileNotFoundError:  # taken away since the last look
        return False
    after = stat_of(sftp, path)
    if before is None or after is None or after.st_atime is None or after.st_atime == before.st_atime:
        return False
    is_same = RemoteFile(after.st_size or 0, after.st_mtime or 0) == found
    return is_same and after.st_atime - found.mtime > stable_for_s
