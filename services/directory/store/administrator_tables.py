"""The tables of administrators: who they are, and their sessions."""

from __future__ import annotations

import enum
from datetime import datetime

from sqlalchemy import Column, Index, Integer, LargeBinary, SmallInteger, String
from sqlmodel import Field, SQLModel

from services.directory.store.tables import UtcDateTime, big_column, flag_column, key_column, text_column


class Role(enum.IntEnum):
    """How far an administrator reaches; the numbers are those of the contract."""

    SUPPORT = 1
    TENANT = 2
    ACCOUNT = 3


class Administrator(SQLModel, table=True):
    """Somebody who signs in: vendor support (tenant 0), or an administrator of a tenant or of an account and below."""

    __tablename__ = "administrators"
    __table_args__ = (Index("administrators_by_email", "email", unique=True), {"sqlite_with_rowid": False})
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    id: int = Field(sa_column=key_column("id"))
    account_id: int = Field(default=0, sa_column=big_column("account_id", server_default="0"))
    role: int = Field(sa_column=Column("role", SmallInteger, nullable=False))
    email: str = Field(sa_column=text_column("email"))
    display_name: str = Field(default="", sa_column=text_column("display_name"))
    password_hash: str = Field(default="", sa_column=text_column("password_hash"))
    sealed_totp_secret: bytes | None = Field(
        default=None, sa_column=Column("sealed_totp_secret", LargeBinary, nullable=True)
    )
    is_totp_on: bool = Field(default=False, sa_column=flag_column("is_totp_on"))
    last_totp_step: int = Field(default=0, sa_column=big_column("last_totp_step", server_default="0"))
    failures: int = Field(default=0, sa_column=Column("failures", Integer, nullable=False, server_default="0"))
    locked_until: datetime | None = Field(default=None, sa_column=Column("locked_until", UtcDateTime, nullable=True))
    last_sign_in_time: datetime | None = Field(
        default=None, sa_column=Column("last_sign_in_time", UtcDateTime, nullable=True)
    )
    revision: int = Field(default=1, sa_column=Column("revision", Integer, nullable=False, server_default="1"))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))


class AdministratorSession(SQLModel, table=True):
    """A signed-in administrator's token: its HMAC, and until when it opens."""

    __tablename__ = "administrator_sessions"
    __table_args__ = (Index("administrator_sessions_by_owner", "tenant_id", "administrator_id"),)
    token_id: str = Field(sa_column=Column("token_id", String(32), primary_key=True))
    tenant_id: int = Field(sa_column=big_column("tenant_id"))
    administrator_id: int = Field(sa_column=big_column("administrator_id"))
    secret_hmac: bytes = Field(sa_column=Column("secret_hmac", LargeBinary, nullable=False))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))
    expire_time: datetime = Field(sa_column=Column("expire_time", UtcDateTime, nullable=False))
