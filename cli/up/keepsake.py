"""What `muster up` made once for a data directory and must find again: secrets, tokens, ports, the demo tenant."""

from __future__ import annotations

import base64
import json
import os
import secrets
import uuid
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import asyncssh

from cli.errors import CommandError

KEPT_FILE = "kept.json"
HOST_KEY_FILE = "drop_host_key"


@dataclass(frozen=True)
class Kept:
    """The content of DIR/kept.json, readable by its owner alone."""

    pepper: str = field(repr=False)
    seal_key: str = field(repr=False)
    setup_id: str
    """Names the first set-up's requests, so that an interrupted one is taken up again and not done twice."""
    database_url: str = field(default="", repr=False)
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: Mapping[str, int] = field(default_factory=dict)
    demo: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """tenant, account, sftp_source and the drop's login, scim_source and its key, admin_login, once they exist."""

    @classmethod
    def make(cls, database_url: str) -> Self:
        """Make new secrets."""
        return cls(
            pepper=secrets.token_urlsafe(32),
            seal_key=base64.b64encode(secrets.token_bytes(32)).decode(),
            setup_id=str(uuid.uuid4()),
            database_url=database_url,
        )

    def request_id(self, step: str) -> str:
        """Name one request of the first set-up, the same each time."""
        return str(uuid.uuid5(uuid.UUID(self.setup_id), step))


def load(data: Path, database_url: str) -> Kept:
    """Read what was kept, or make it; a directory that began on another database is refused."""
    path = data / KEPT_FILE
    if not path.exists():
        kept = Kept.make(database_url)
        save(data, kept)
        return kept
    try:
        kept = Kept(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise CommandError(f"cannot read {path} ({error}); restore it from a backup or use another --data") from error
    if database_url and _place(database_url) != _place(kept.database_url):
        raise CommandError(f"{data} belongs to another database; use another --data, or leave --database-url out")
    return replace(kept, database_url=database_url or kept.database_url)


def save(data: Path, kept: Kept) -> None:
    """Write it whole or not at all."""
    write_private(data / KEPT_FILE, json.dumps(asdict(kept), indent=1))


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step; only its owner may read it."""
    draft = path.with_name(path.name + ".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def host_key(data: Path) -> str:
    """Read the drop's public host key, "ssh-ed25519 AAAA…", making the pair when there is none."""
    path = data / HOST_KEY_FILE
    if not path.exists():
        write_private(path, asyncssh.generate_private_key("ssh-ed25519").export_private_key().decode())
    key = asyncssh.read_private_key(str(path))
    return " ".join(key.export_public_key().decode().split()[:2])


def _place(database_url: str) -> str:
    """Tell one database from another: the address without the login."""
    return database_url.rpartition("@")[2] if "@" in database_url else database_url
