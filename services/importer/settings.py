"""The importer's settings, from environment variables that begin with IMPORTER_."""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

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
