"""How each child of `muster up` is run: its command, its address, its environment."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cli.errors import CommandError
from cli.up import ports
from cli.up.children import Plan, Speech
from cli.up.keepsake import HOST_KEY_FILE, Kept

CHILDREN = ("directory", "importer", "notifier", "scim_gateway", "sftp")
SENDER = "Muster <muster@demo.example>"


@dataclass(frozen=True)
class Layout:
    """Where things lie in a data directory, and what was made for it."""

    data: Path
    kept: Kept
    host_key: str

    def address(self, name: str) -> str:
        """Where a child listens."""
        return f"{ports.HOST}:{self.kept.ports[name]}"

    @property
    def mail(self) -> Path:
        """Where mails go as files."""
        return self.data / "mail"

    def directory_environment(self) -> dict[str, str]:
        """What the directory is told, also when it makes a token."""
        return {
            "DIRECTORY_DATABASE_URL": self.kept.database_url or f"sqlite:///{self.data / 'directory.db'}",
            "DIRECTORY_PEPPER": self.kept.pepper,
            "DIRECTORY_SEAL_KEY": self.kept.seal_key,
            "DIRECTORY_DROP_HOST": ports.HOST,
            "DIRECTORY_DROP_PORT": str(self.kept.ports["sftp"]),
            "DIRECTORY_DROP_HOST_KEY": self.host_key,
            "DIRECTORY_LISTEN": self.address("directory"),
            "DIRECTORY_EXIT_WITH_STDIN": "true",
            "DIRECTORY_MIGRATE_ON_START": "true",
        }

    def plan(self, name: str) -> Plan:
        """Say how to run one child; importer, notifier and drop need the directory's tokens."""
        if name == "directory":
            return Plan(
                name, [console_script("muster-directory"), "serve"], self.address(name), self.directory_environment()
            )
        if name == "sftp":
            command = [sys.executable, "-m", "cli.up.drop"]
            return Plan(name, command, self.address(name), self._drop_environment(), Speech.SSH)
        if name == "scim_gateway":
            command = [console_script("muster-scim-gateway")]
            return Plan(name, command, self.address(name), self._gateway_environment(), Speech.HTTP)
        environment = self._importer_environment() if name == "importer" else self._notifier_environment()
        return Plan(name, [console_script(f"muster-{name}")], self.address(name), environment)

    def _importer_environment(self) -> Mapping[str, str]:
        return {
            "IMPORTER_LISTEN": self.address("importer"),
            "IMPORTER_DIRECTORY": self.address("directory"),
            "IMPORTER_TOKEN": self.kept.tokens["importer"],
            "IMPORTER_TEMP_DIR": str(_folder(self.data / "temp")),
            "IMPORTER_NIGHTS_EVERY_S": "2",
            "IMPORTER_EXIT_WITH_STDIN": "true",
        }

    def _notifier_environment(self) -> Mapping[str, str]:
        return {
            "NOTIFIER_LISTEN": self.address("notifier"),
            "NOTIFIER_DIRECTORY": self.address("directory"),
            "NOTIFIER_TOKEN": self.kept.tokens["notifier"],
            "NOTIFIER_DATABASE_URL": self.kept.database_url or f"sqlite:///{self.data / 'notifier.db'}",
            "NOTIFIER_MAIL_DIR": str(_folder(self.mail)),
            "NOTIFIER_SENDER": SENDER,
            "NOTIFIER_EXIT_WITH_STDIN": "true",
        }

    def _gateway_environment(self) -> Mapping[str, str]:
        return {  # no token: it forwards the caller's key
            "SCIM_GATEWAY_LISTEN": self.address("scim_gateway"),
            "SCIM_GATEWAY_DIRECTORY": self.address("directory"),
            "SCIM_GATEWAY_EXIT_WITH_STDIN": "true",
        }

    def _drop_environment(self) -> Mapping[str, str]:
        return {
            "DROP_LISTEN": self.address("sftp"),
            "DROP_DIRECTORY": self.address("directory"),
            "DROP_TOKEN": self.kept.tokens["importer"],
            "DROP_HOST_KEY_FILE": str(self.data / HOST_KEY_FILE),
            "DROP_FOLDER": str(_folder(self.data / "drop")),
            "DROP_EXIT_WITH_STDIN": "true",
        }


def console_script(name: str) -> str:
    """Find a service's command beside our own Python, else on PATH."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise CommandError(f"{name} is not installed; install that service's wheel beside muster-cli")
    return found


def _folder(path: Path) -> Path:
    path.mkdir(mode=0o700, exist_ok=True)
    return path
