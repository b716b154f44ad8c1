"""Fresh migrated databases, quickly: each is a copy of a template that was made once."""

from __future__ import annotations

import itertools
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from tests.stack.postgres import PostgresServer

KINDS = ("sqlite", "postgresql")
_numbers = itertools.count(1)


class Databases:
    """Makes databases of one shape; `prepare` gets the URL of an empty one and fills it as every copy shall be."""

    def __init__(self, folder: Path, postgres: Callable[[], PostgresServer], prepare: Callable[[str], None]) -> None:
        self._folder = folder
        self._postgres = postgres
        self._prepare = prepare
        self._templates: dict[str, str] = {}
        self._made: dict[str, str] = {}

    def make(self, kind: str) -> str:
        """Make a database of `kind` (sqlite or postgresql) and give its URL."""
        if kind not in self._templates:
            self._templates[kind] = self._make_template(kind)
        name = f"muster_{os.getpid()}_{next(_numbers)}"
        if kind == "postgresql":
            url = self._postgres().create_database(name, template=self._templates[kind])
            self._made[url] = name
            return url
        path = self._folder / name / "directory.db"
        path.parent.mkdir(parents=True)
        with (
            closing(sqlite3.connect(self._templates[kind])) as template,
            closing(sqlite3.connect(path)) as copy,
        ):
            template.backup(copy)
        return f"sqlite:///{path}"

    def drop(self, url: str) -> None:
        """Remove a database of PostgreSQL; one of SQLite goes with its folder."""
        if name := self._made.pop(url, ""):
            self._postgres().drop_database(name)

    def _make_template(self, kind: str) -> str:
        name = f"muster_{os.getpid()}_template_{next(_numbers)}"
        if kind == "postgresql":
            self._prepare(self._postgres().create_database(name))
            return name
        path = self._folder / f"{name}.db"
        self._prepare(f"sqlite:///{path}")
        return str(path)
