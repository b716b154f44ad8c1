"""The tables of what identity providers asked: their requests, sums by time, quirks, and how connections are doing."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, Column, ForeignKeyConstraint, Index, Integer, SmallInteger, String, text
from sqlmodel import Field, SQLModel

from services.directory.store.tables import UtcDateTime, big_column, key_column, text_column

_OF_SOURCE = (("tenant_id", "source_id"), ("sources.tenant_id", "sources.id"))


class ConnectionRequest(SQLModel, table=True):
    """A request of a connection, without secrets and personal data (S13); `number` is the order of recording."""

    __tablename__ = "connection_requests"
    __table_args__ = (
        ForeignKeyConstraint(*_OF_SOURCE),
        Index("connection_requests_by_request", "tenant_id", "source_id", "request_id", unique=True),
        Index("connection_requests_by_time", "tenant_id", "time"),
        Index(
            "connection_requests_failed",
            "tenant_id",
            "source_id",
            "number",
            postgresql_where=text("status >= 400"),
            sqlite_where=text("status >= 400"),
        ),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    number: int = Field(sa_column=key_column("number"))
    request_id: str = Field(sa_column=Column("request_id", String(64), nullable=False))
    time: datetime = Field(sa_column=Column("time", UtcDateTime, nullable=False))
    key_id: str = Field(default="", sa_column=text_column("key_id", length=32))
    method: str = Field(sa_column=text_column("method", length=8))
    path: str = Field(sa_column=text_column("path"))
    shape: str = Field(default="", sa_column=text_column("shape"))
    status: int = Field(sa_column=Column("status", SmallInteger, nullable=False))
    scim_type: str = Field(default="", sa_column=text_column("scim_type", length=32))
    problem: str = Field(default="", sa_column=text_column("problem", length=64))
    detail: str = Field(default="", sa_column=text_column("detail"))
    cure: str = Field(default="", sa_column=text_column("cure"))
    quirks: list[str] = Field(default_factory=list, sa_column=Column("quirks", JSON, nullable=False))
    effects: dict[str, int] = Field(default_factory=dict, sa_column=Column("effects", JSON, nullable=False))
    duration_ms: int = Field(default=0, sa_column=Column("duration_ms", Integer, nullable=False, server_default="0"))


class ConnectionTally(SQLModel, table=True):
    """Requests that count for a connection's health, in the ten minutes from `start_time` on."""

    __tablename__ = "connection_tallies"
    __table_args__ = (ForeignKeyConstraint(*_OF_SOURCE), {"sqlite_with_rowid": False})
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    start_time: datetime = Field(sa_column=Column("start_time", UtcDateTime, primary_key=True))
    requests: int = Field(default=0, sa_column=big_column("requests", server_default="0"))
    failures: int = Field(default=0, sa_column=big_column("failures", server_default="0"))


class ConnectionQuirk(SQLModel, table=True):
    """How often a connection needed a quirk, and what cures it."""

    __tablename__ = "connection_quirks"
    __table_args__ = (ForeignKeyConstraint(*_OF_SOURCE), {"sqlite_with_rowid": False})
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    quirk: str = Field(sa_column=Column("quirk", String(64), primary_key=True))
    cure: str = Field(sa_column=text_column("cure"))
    count: int = Field(sa_column=big_column("count"))
    first_time: datetime = Field(sa_column=Column("first_time", UtcDateTime, nullable=False))
    last_time: datetime = Field(sa_column=Column("last_time", UtcDateTime, nullable=False))


class ConnectionHealth(SQLModel, table=True):
    """How a connection is doing.

    `locked_out` counts refused keys in a row, with nothing else in between. `judged_from` is when it recovered last:
    what came before is held against it no more.
    """

    __tablename__ = "connection_health"
    __table_args__ = (ForeignKeyConstraint(*_OF_SOURCE), {"sqlite_with_rowid": False})
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    source_id: int = Field(sa_column=key_column("source_id"))
    last_success_time: datetime | None = Field(
        default=None, sa_column=Column("last_success_time", UtcDateTime, nullable=True)
    )
    locked_out: int = Field(default=0, sa_column=big_column("locked_out", server_default="0"))
    failing_since: datetime | None = Field(default=None, sa_column=Column("failing_since", UtcDateTime, nullable=True))
    judged_from: datetime | None = Field(default=None, sa_column=Column("judged_from", UtcDateTime, nullable=True))
    dropped: int = Field(default=0, sa_column=big_column("dropped", server_default="0"))
