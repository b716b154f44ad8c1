"""Keep what opens an SFTP server, sealed, and give it to the importer and to the drop."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlmodel import Session, col, select

from services.directory.rules.checks import FieldChecks
from services.directory.rules.drops import (
    PASSWORD_BYTES,
    drop_password,
    importer_password,
    importer_username,
    password_sha256,
)
from services.directory.rules.errors import NotFound, SourceStateError
from services.directory.rules.names import SOURCE
from services.directory.rules.private_keys import check_private_key
from services.directory.store.seal import Seal
from services.directory.store.tables import Source, SourceKind, SourceState

_MOST_CHARACTERS = 64 * 1024


@dataclass(frozen=True)
class Credentials:
    """How to log in; never printed."""

    password: str = field(default="", repr=False)
    private_key: str = field(default="", repr=False)


@dataclass(frozen=True)
class HostedDrop:
    """The vendor's own SFTP server, which customers without one upload to."""

    host: str = ""
    port: int = 22
    host_key: str = ""


@dataclass(frozen=True)
class SourceSecret:
    """Where and as whom to fetch."""

    host: str
    port: int
    username: str
    host_key: str
    path: str
    allowed_networks: Sequence[str]
    credentials: Credentials


def keep_credentials(source: Source, credentials: Credentials, *, seal: Seal) -> None:
    """Seal credentials into the source's row; they open only there."""
    text = json.dumps({"password": credentials.password, "private_key": credentials.private_key})
    source.sealed_credentials = seal.close_up(text.encode(), belongs_to=_belongs_to(source))


def make_drop_login(source: Source, username: str) -> str:
    """Make a hosted drop's login; its password is in the answer and nowhere else."""
    password = drop_password(secrets.token_bytes(PASSWORD_BYTES))
    source.sftp_username = username
    source.drop_password_sha256 = password_sha256(password)
    return password


def get_source_secret(
    session: Session, tenant_id: int, source_id: int, *, seal: Seal, pepper: bytes, drop: HostedDrop
) -> SourceSecret:
    """Read where and as whom to fetch, secrets included. Errors: NotFound, SourceStateError (a SCIM source).

    Into a hosted drop the importer has a login of its own: the customer's comes from the customer's networks only.
    """
    source = session.get(Source, (tenant_id, source_id))
    if source is None or source.delete_time is not None:
        raise NotFound(resource=SOURCE.format(tenant_id, source_id))
    require_file(source)
    if not source.sftp_host:
        return SourceSecret(
            host=drop.host,
            port=drop.port,
            username=importer_username(source.sftp_username),
            host_key=drop.host_key,
            path=source.sftp_path,
            allowed_networks=source.allowed_networks,
            credentials=Credentials(password=importer_password(_belongs_to(source), pepper=pepper)),
        )
    credentials = Credentials()
    if source.sealed_credentials is not None:
        credentials = Credentials(**json.loads(seal.open(source.sealed_credentials, belongs_to=_belongs_to(source))))
    return SourceSecret(
        host=source.sftp_host,
        port=source.sftp_port,
        username=source.sftp_username,
        host_key=source.sftp_host_key,
        path=source.sftp_path,
        allowed_networks=source.allowed_networks,
        credentials=credentials,
    )


def require_file(source: Source) -> None:
    """Refuse a source that has no file to fetch. Errors: SourceStateError."""
    if source.kind != SourceKind.SFTP:
        raise SourceStateError(
            "the source is a SCIM connection: its identity provider calls, and there is no file to import",
            state=SourceState(source.state).name.lower(),
        )


def list_drop_logins(session: Session, *, after_id: int, limit: int) -> list[Source]:
    """Read the hosted drops of all tenants in order of creation, past `after_id`."""
    query = select(Source).where(
        col(Source.id) > after_id,
        col(Source.drop_password_sha256).is_not(None),
        col(Source.delete_time).is_(None),
    )
    return list(session.exec(query.order_by(col(Source.id)).limit(limit)))


def check_credentials(checks: FieldChecks, credentials: Credentials | None, *, host: str) -> None:
    """Note what is wrong with credentials for this host ("": the hosted drop, which makes its own)."""
    if credentials is None:
        return
    if not host:
        checks.refuse("credentials", "a hosted drop makes its own login: give no credentials, or a host")
    for name in ("password", "private_key"):
        if len(getattr(credentials, name)) > _MOST_CHARACTERS:
            checks.refuse(f"credentials.{name}", f"must have at most {_MOST_CHARACTERS} characters")
    if 0 < len(credentials.private_key) <= _MOST_CHARACTERS:
        checks.parse("credentials.private_key", check_private_key, credentials.private_key)


def _belongs_to(source: Source) -> str:
    return SOURCE.format(source.tenant_id, source.id)
