"""The tables beside the event log: who follows it and how far, and events past their time."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, Column, ForeignKeyConstraint, String
from sqlmodel import Field, SQLModel

from services.directory.store.tables import UtcDateTime, big_column, key_column, text_column


class Subscription(SQLModel, table=True):
    """A follower of all tenants' events: what it asks for, and the place up to which it has dealt with them."""

    __tablename__ = "subscriptions"
    name: str = Field(sa_column=Column("name", String(64), primary_key=True))
    kinds: list[str] = Field(default_factory=list, sa_column=Column("kinds", JSON, nullable=False))
    xid: int = Field(sa_column=big_column("xid"))
    position: int = Field(sa_column=big_column("position"))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))
    update_time: datetime = Field(sa_column=Column("update_time", UtcDateTime, nullable=False))


class ArchivedEvent(SQLModel, table=True):
    """An event past the log's retention: read on request, and no longer part of the stream."""

    __tablename__ = "archived_events"
    __table_args__ = (ForeignKeyConstraint(["tenant_id"], ["tenants.id"]), {"sqlite_with_rowid": False})
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    xid: int = Field(sa_column=key_column("xid"))
    position: int = Field(sa_column=key_column("position"))
    time: datetime = Field(sa_column=Column("time", UtcDateTime, nullable=False))
    actor_source_id: int = Field(default=0, sa_column=big_column("actor_source_id", server_default="0"))
    actor: str = Field(default="", sa_column=text_column("actor"))
    kind: str = Field(sa_column=text_column("kind", length=64))
    resource_kind: str = Field(sa_column=text_column("resource_kind", length=8))
    resource_id: int = Field(sa_column=big_column("resource_id"))
    run_id: int = Field(default=0, sa_column=big_column("run_id", server_default="0"))
    before: dict[str, Any] | None = Field(
        default=None, sa_column=Column("before", JSON(none_as_null=True), nullable=True)
    )
    after: dict[str, Any] | None = Field(
        default=None, sa_column=Column("after", JSON(none_as_null=True), nullable=True)
    )
