"""Texts mark whom they name, so an erasure takes a name out of a report that waits, and nothing is erased later."""

from __future__ import annotations

import re

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_MARKED = re.compile("\x02[^\x04]*\x04([^\x03]*)\x03")


def upgrade() -> None:
    """Withhold what waits and names somebody who was erased: no version from here on sends it."""
    withhold = """
        UPDATE message SET state = 4, claim = '', text = '', html = '', attachment_name = '', attachment = :nothing
        WHERE erase_when_done
    """
    op.execute(sa.text(withhold).bindparams(nothing=b""))
    with op.batch_alter_table("message", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.drop_column("erase_when_done")


def downgrade() -> None:
    """Have the column again, and no marks, which the older version would show."""
    with op.batch_alter_table("message", table_kwargs={"sqlite_autoincrement": True}) as table:
        table.add_column(sa.Column("erase_when_done", sa.Boolean(), nullable=False, server_default=sa.false()))
    connection = op.get_bind()
    marked = sa.text("SELECT key, text, html FROM message WHERE text LIKE :mark OR html LIKE :mark")
    rows = connection.execute(marked, {"mark": "%\x02%"}).all()
    anew = [{"of": key, "text": _MARKED.sub(r"\1", text), "html": _MARKED.sub(r"\1", html)} for key, text, html in rows]
    if anew:
        connection.execute(sa.text("UPDATE message SET text = :text, html = :html WHERE key = :of"), anew)
