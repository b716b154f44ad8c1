"""A PostgreSQL server and its databases, whoever runs it."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

SETTINGS = {
    "fsync": "off",  # no test pulls the plug of PostgreSQL; our own processes are what dies here
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "300",
}


@dataclass(frozen=True)
class PostgresServer:
    """Where it listens; `host` is a name, or the folder of its socket."""

    host: str
    port: int
    user: str
    password: str

    def url(self, database: str) -> str:
        """Name a database the way the services' settings do."""
        login = quote(self.user) + (f":{quote(self.password)}" if self.password else "")
        if self.host.startswith("/"):
            return f"postgresql+psycopg://{login}@/{database}?host={quote(self.host, safe='')}&port={self.port}"
        return f"postgresql+psycopg://{login}@{self.host}:{self.port}/{database}"

    def create_database(self, name: str, *, template: str = "template1") -> str:
        """Make a database, a copy of `template`, and give its URL; nobody may be connected to the template."""
        self._execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template)),
        )
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database and throw its connections out; nothing when there is none."""
        self._execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def ping(self) -> None:
        """Answer, or raise psycopg.OperationalError."""
        self._execute(sql.SQL("SELECT 1"))

    def _execute(self, statement: sql.SQL | sql.Composed) -> None:
        conninfo = make_conninfo(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password or None,
            dbname="postgres",
            connect_timeout=5,
        )
        with psycopg.connect(conninfo, autocommit=True) as connection:
            connection.execute(statement)
