"""The gateway's settings, from environment variables that begin with SCIM_GATEWAY_."""

from __future__ import annotations

from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StringConstraints, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

_PREFIX = "SCIM_GATEWAY_"

Address = Annotated[str, StringConstraints(pattern=r"^[^\s:]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$")]
"""`host:port`."""


def _networks(text: object) -> str:
    """Check a list of networks, `10.0.0.0/8, 192.0.2.7`; gives it without spaces. Errors: ValueError."""
    parts = [part.strip() for part in str(text).split(",") if part.strip()]
    try:
        return ",".join(str(ip_network(part)) for part in parts)
    except ValueError:
        raise ValueError("must be networks or addresses, with commas between them, such as 10.0.0.0/8") from None


Networks = Annotated[str, BeforeValidator(_networks)]
"""Networks and addresses, with commas between them."""

LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], BeforeValidator(lambda text: str(text).upper())]


class InvalidSettingsError(Exception):
    """A variable is missing or malformed; the text names it and never shows its value."""


class GatewaySettings(BaseSettings):
    """What the gateway needs to know at start. It has no secret: it forwards its callers' keys."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, frozen=True, extra="ignore")

    directory: str
    """The directory's address, `host:port`."""
    listen: Address = "127.0.0.1:0"
    """Where to serve HTTP, `host:port`; port 0 takes a free one."""
    base_url: Annotated[str, StringConstraints(pattern=r"^(https?://[^\s?#]+)?$")] = ""
    """What identity providers call, such as `https://scim.example.org/scim/v2`, where a proxy stands in between; empty:
    what each request says."""
    trusted_proxies: Networks = ""
    """Networks of the proxies whose X-Forwarded-For and X-Forwarded-Proto are believed; empty: nobody's."""
    token_minutes: Annotated[int, Field(ge=60, le=360)] = 60
    """How long an access token opens (OAuth 2.0), 60 to 360 minutes."""
    exit_with_stdin: bool = False
    """End when stdin closes, because the parent is gone."""
    log_level: LogLevel = "INFO"
    """How much to log; a request's one line is INFO."""


def load_settings() -> GatewaySettings:
    """Read the environment; InvalidSettingsError names each variable that is missing or malformed."""
    try:
        return GatewaySettings()  # type: ignore[call-arg]  # the environment fills them in
    except ValidationError as error:
        problems = [
            f"{_PREFIX}{'_'.join(map(str, problem['loc'])).upper()}: {problem['msg']}"
            for problem in error.errors(include_input=False, include_url=False)
        ]
        raise InvalidSettingsError("; ".join(problems)) from None
