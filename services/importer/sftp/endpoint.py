"""Say where a file is, what its server tells of it, and how long to wait for what."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Endpoint:
    """Where a file is, and as whom to fetch it; `host_key` is `ssh-ed25519 AAAA…`, with or without a host before it."""

    host: str
    port: int
    username: str
    path: str
    host_key: str
    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class RemoteFile:
    """A file as the server tells it: size in bytes and seconds since 1970 by the server's clock."""

    size_bytes: int
    mtime: int


@dataclass(frozen=True)
class Patience:
    """How long to wait for what, and how often to try again."""

    connect_s: float = 15.0
    """For the connection, and again for the server's greeting, for the keys, and for the answer to a login."""
    stall_s: float = 30.0
    """For the next bytes of an answer."""
    transfer_s: float = 3600.0
    """For a whole file: 512 MiB at 150 KB/s. A server that trickles never stalls."""
    tries: int = 3
    """To connect, and to fetch a file whose transfer broke; a login that was refused is never tried again."""
    first_pause_s: float = 0.3
    longest_pause_s: float = 5.0


PATIENCE = Patience()
