"""The notifier's settings, read from the environment (prefix NOTIFIER_) and checked once at start."""

from __future__ import annotations

import email.utils
from pathlib import Path
from typing import Literal, Self

from pydantic import DirectoryPath, Field, FilePath, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

PREFIX = "NOTIFIER_"
_PORTS = {"none": 25, "starttls": 587, "tls": 465}


class SettingsError(Exception):
    """The environment does not say what the notifier needs; the text names the variables."""


class Settings(BaseSettings):
    """What the notifier needs to know; mails go by SMTP where a host is set, else into files."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", env_ignore_empty=True)

    directory: str = Field(description="host:port of the directory")
    token: SecretStr = Field(description="service token with the notifier's grant")
    database_url: str = Field(description="the notifier's own store, SQLite or PostgreSQL")
    listen: str = Field(default="127.0.0.1:0", description="host:port to serve gRPC on; port 0: any free one")
    exit_with_stdin: bool = Field(default=False, description="end when stdin closes, because the parent is gone")
    sender: str = Field(default="Muster <muster@localhost>", description="address that mails come from")
    mail_dir: Path | None = Field(default=None, description="folder for .eml files where no SMTP host is set")
    smtp_host: str = Field(default="", description="mail server; empty: mails are files")
    smtp_port: int = Field(default=0, ge=0, le=65535, description="its port; 0: the usual one for smtp_tls")
    smtp_username: str = Field(default="", description="login, or empty for none")
    smtp_password: SecretStr = Field(default=SecretStr(""), description="password of the login")
    smtp_tls: Literal["none", "starttls", "tls"] = Field(default="starttls", description="how the way is kept private")
    smtp_ca_file: FilePath | None = Field(default=None, description="authorities to trust instead of the system's")
    smtp_timeout_s: float = Field(
        default=120.0, gt=0, le=900, description="longest that handing over one mail may take"
    )
    smtp_connections: int = Field(default=2, ge=1, le=50, description="mails handed over at a time by this replica")
    bounce_address: str = Field(default="", description="where bounces go (envelope sender); empty: to the sender")
    template_dir: DirectoryPath | None = Field(default=None, description="folder with templates in place of our own")
    keep_days: int = Field(default=90, ge=1, le=3650, description="days after which the text of a mail is erased")
    admin_url: str = Field(default="", description="where the admin panel is, for links in mails; empty: no links")
    secrets_dir: DirectoryPath | None = Field(default=None, description="folder with a file for a setting, named so")

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

    @field_validator("database_url")
    @classmethod
    def _database_is_one_of_two(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError:
            url = None
        if url is None or url.drivername not in {"sqlite", "postgresql+psycopg"} or not url.database:
            raise ValueError("must be sqlite:////path/notifier.db or postgresql+psycopg://…/database")
        return value

    @field_validator("sender")
    @classmethod
    def _sender_is_an_address(cls, value: str) -> str:
        address = email.utils.parseaddr(value)[1]
        if "\n" in value or "\r" in value or "@" not in address.strip("@"):
            raise ValueError("must be a mail address, such as Muster <muster@example.org>")
        return value

    @field_validator("bounce_address")
    @classmethod
    def _bounce_address_is_bare(cls, value: str) -> str:
        if value and (
            email.utils.parseaddr(value)[1] != value or "@" not in value.strip("@") or not value.isprintable()
        ):
            raise ValueError("must be a bare mail address, such as bounces@example.org")
        return value

    @field_validator("admin_url")
    @classmethod
    def _admin_url_is_a_web_address(cls, value: str) -> str:
        if value and not value.startswith(("https://", "http://")):
            raise ValueError("must begin with https:// or http://")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _mails_have_a_way_out(self) -> Self:
        if not self.smtp_host and self.mail_dir is None:
            raise ValueError("set NOTIFIER_SMTP_HOST, or NOTIFIER_MAIL_DIR to write mails as files")
        if self.smtp_username and not self.smtp_password.get_secret_value():
            raise ValueError("NOTIFIER_SMTP_USERNAME needs NOTIFIER_SMTP_PASSWORD")
        return self

    @property
    def claim_s(self) -> float:
        """How long a message that somebody began to send is left to them: longer than they may take."""
        return self.smtp_timeout_s * 2.5  # once to connect, once to hand over, and half of it for the link

    @property
    def smtp_port_or_usual(self) -> int:
        """The port, or the one that smtp_tls usually has."""
        return self.smtp_port or _PORTS[self.smtp_tls]


def load_settings() -> Settings:
    """Read the environment; `SettingsError` names each variable that is missing or wrong."""
    try:
        return Settings()  # type: ignore[call-arg]  # the environment has the fields
    except ValidationError as error:
        raise SettingsError("; ".join(_complaint(part["loc"], part["msg"]) for part in error.errors())) from None


def _complaint(location: tuple[int | str, ...], text: str) -> str:
    """Name the variable and never its value: it may be a secret."""
    text = text.removeprefix("Value error, ")
    return f"{PREFIX}{str(location[0]).upper()}: {text}" if location else text
