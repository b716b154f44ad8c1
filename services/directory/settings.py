"""The directory's settings, read from the environment and checked at start."""

from __future__ import annotations

import base64
import binascii
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, DirectoryPath, Field, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

LEAST_EVENT_RETENTION_DAYS: Final = 100
"""Younger events are needed by runs that may be undone and by people who may be restored."""


def _seal_key(text: object) -> bytes:
    try:
        key = text if isinstance(text, bytes) else base64.b64decode(str(text), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != 32:
        raise ValueError("must be 32 bytes in base64")
    return key


def _database_url(text: object) -> str:
    try:
        url = make_url(str(text))
    except ArgumentError:
        url = None
    if url is None or url.drivername not in {"sqlite", "postgresql+psycopg"} or not url.database:
        raise ValueError("must be sqlite:////path/directory.db or postgresql+psycopg://…/database")
    return str(text)


class Settings(BaseSettings):
    """What the directory is told, each as a variable `DIRECTORY_…`."""

    model_config = SettingsConfigDict(env_prefix="DIRECTORY_", frozen=True, extra="ignore", hide_input_in_errors=True)

    database_url: Annotated[str, BeforeValidator(_database_url)]
    """`sqlite:////path/directory.db` or `postgresql+psycopg://…`."""
    pepper: Annotated[SecretStr, Field(min_length=16)]
    """Secret under which the HMACs of tokens are made; another one makes all tokens unknown."""
    seal_key: Annotated[bytes, BeforeValidator(_seal_key), Field(repr=False)]
    """32 bytes in base64, under which secrets are sealed at rest."""
    stage_dir: Path | None = None
    """Where SQLite's stage files are kept; beside the database by default."""
    drop_host: str = ""
    """Host of the hosted drop."""
    drop_port: int = 22
    """TCP port of the hosted drop."""
    drop_host_key: str = ""
    """Public host key of the hosted drop, "ssh-ed25519 AAAA…"."""
    listen: str = "127.0.0.1:0"
    """host:port to serve gRPC on; port 0 takes a free one, which is printed."""
    exit_with_stdin: bool = False
    """End when stdin closes, because the parent is gone."""
    migrate_on_start: bool = False
    """Bring the database to this release's schema before serving."""
    event_retention_days: Annotated[int, Field(ge=LEAST_EVENT_RETENTION_DAYS)] = 730
    """Days after which an event leaves the log for the archive; at least 100."""
    activity_retention_days: Annotated[int, Field(ge=1)] = 30
    """Days for which requests of SCIM connections are kept."""
    housekeeping: bool = True
    """Do what has come due once an hour: delete long dormant users, erase deleted ones, put old events away."""
    log_level: str = "INFO"
    """Least level that is logged."""
    secrets_dir: DirectoryPath | None = None
    """Folder with a file for each setting that shall not stand in the environment, named like its variable."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - pydantic-settings' signature
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let a variable come before the file of its name; that a folder is none, secrets_dir tells by itself."""
        assert isinstance(file_secret_settings, SecretsSettingsSource)
        folder = env_settings().get("secrets_dir")
        file_secret_settings.secrets_dir = folder if folder and Path(folder).is_dir() else None
        return init_settings, env_settings, dotenv_settings, file_secret_settings

    @property
    def pepper_bytes(self) -> bytes:
        """The pepper as HMAC takes it."""
        return self.pepper.get_secret_value().encode()

    @property
    def stages(self) -> Path:
        """Where SQLite's stage files go; PostgreSQL has its stages inside."""
        url = make_url(self.database_url)
        beside = Path(url.database or "").parent if url.get_backend_name() == "sqlite" else Path()
        return self.stage_dir or beside
