"""Make the secrets of docker-compose.yml once and lay out to each service its own: `python -m cli.compose.secrets`.

KEPT is where all of them are kept (kept.json, as with `muster up`); below SECRETS each service has a volume of its own.
What is there already stays, so the job may run at each `docker compose up`.
"""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

from cli.errors import CommandError
from cli.up import keepsake

KEPT, SECRETS = Path("/kept"), Path("/secrets")
DATABASE_URL = "postgresql+psycopg://muster:{password}@postgres:5432/muster"
CUSTOMER = "customer"
_OWNER_ONLY, _EVERY_USER = 0o600, 0o644  # others' images run as other users, and see only their own volume


def main() -> None:
    """Lay out everything; a line on stderr and status 1 when what was kept cannot be read."""
    try:
        lay_out(KEPT, SECRETS)
    except CommandError as error:
        sys.exit(f"secrets: {error}")


def lay_out(kept_folder: Path, folder: Path) -> None:
    """Write each service's secrets into its folder below `folder`."""
    kept = keepsake.load(kept_folder, "")
    host_key = keepsake.host_key(kept_folder)
    password = _made_once(folder / "postgres" / "password", secrets.token_hex(24))
    database_url = DATABASE_URL.format(password=password)
    _write(folder / "directory" / "directory_pepper", kept.pepper)
    _write(folder / "directory" / "directory_seal_key", kept.seal_key)
    _write(folder / "directory" / "directory_database_url", database_url)
    _write(folder / "directory" / "directory_drop_host_key", host_key)
    _write(folder / "notifier" / "notifier_database_url", database_url)
    _write(folder / "drop" / keepsake.HOST_KEY_FILE, (kept_folder / keepsake.HOST_KEY_FILE).read_text())
    _made_once(folder / CUSTOMER / "users.conf", f"{CUSTOMER}:{secrets.token_hex(12)}:1001:100:upload\n")


def _made_once(path: Path, text: str) -> str:
    """Write a secret unless there is one, readable by whoever has the volume; gives the one that holds."""
    if not path.exists():
        _write(path, text, mode=_EVERY_USER)
    return path.read_text()


def _write(path: Path, text: str, *, mode: int = _OWNER_ONLY) -> None:
    """Replace a file in one step."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        os.fsync(file.fileno())
    draft.replace(path)


if __name__ == "__main__":
    main()
