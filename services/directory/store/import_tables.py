"""What is kept of files beside what was made of them: rejected rows, sealed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ForeignKeyConstraint, Index, LargeBinary
from sqlmodel import Field, SQLModel

from services.directory.store.tables import UtcDateTime, big_column, key_column


class RejectedRowsPage(SQLModel, table=True):
    """Some rejected rows of a run as they stand in its file, from one line to another, sealed together."""

    __tablename__ = "rejected_rows"
    __table_args__ = (
        ForeignKeyConstraint(["tenant_id", "run_id"], ["import_runs.tenant_id", "import_runs.id"]),
        Index("rejected_rows_by_age", "tenant_id", "create_time"),
        {"sqlite_with_rowid": False},
    )
    tenant_id: int = Field(sa_column=key_column("tenant_id"))
    run_id: int = Field(sa_column=key_column("run_id"))
    first_line: int = Field(sa_column=key_column("first_line"))
    last_line: int = Field(sa_column=big_column("last_line"))
    sealed: bytes = Field(sa_column=Column("sealed", LargeBinary, nullable=False))
    create_time: datetime = Field(sa_column=Column("create_time", UtcDateTime, nullable=False))
