"""The importer's settings, from environment variables that begin with IMPORTER_."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import DirectoryPath, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict

_PREFIX = "IMPORTER_"


class InvalidSettingsError(Exception):
    """A variable is missing or malformed; the text names it and never shows its value."""


class ImporterSettings(BaseSettings):
    """What the importer needs to know at start."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    directory: str
    """The directory's address, `host:port`."""
    token: SecretStr
    """The service token of the importer's grant."""
    listen: str = "127.0.0.1:0"
    """Where to serve gRPC, `host:port`; port 0 takes a free one."""
    exit_with_stdin: bool = False
    """End when stdin closes, because the parent is gone."""
    temp_dir: Path | None = None
    """Where fetched files are kept while they are read; none: the system's place."""
    nights: bool = True
    """Run by itself what is due; false where `muster-importer run --due` does."""
    nights_at_a_time: Annotated[int, Field(ge=1, le=32)] = 2
    """Sources that one importer runs at a time by itself."""
    nights_every_s: Annotated[float, Field(ge=0.1, le=3600)] = 5.0
    """Seconds between two questions for what is due."""
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


def load_settings() -> ImporterSettings:
    """Read the environment; InvalidSettingsError names each variable that is missing or malformed."""
    try:
        return ImporterSettings()  # type: ignore[call-arg]  # the environment fills them in
    except ValidationError as error:
        problems = [
            f"{_PREFIX}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise InvalidSettingsError("; ".join(problems)) from None
