"""Reach into stored JSON in SQL, as PostgreSQL and SQLite each say it; names and values are always bound."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from services.directory.rules.errors import InvalidFilter

Path = tuple[str, ...]
_NAME: Final = re.compile(r"[0-9A-Za-z$_:.\-]{1,200}")


@dataclass
class JsonSql:
    """Writes fragments for one statement and collects what they bind, under names that begin with `prefix`."""

    prefix: str
    is_sqlite: bool
    bound: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        """Bind a value and give its place in the statement."""
        name = f"{self.prefix}{len(self.bound)}"
        self.bound[name] = value
        return f":{name}"

    def text(self, json: str, path: Path) -> str:
        """What stands at a path of a column as SQL text; truth values are 'true' and 'false', on SQLite 1 and 0."""
        if self.is_sqlite:
            return f"json_extract({json}, {self._sqlite_path(path)})"
        return f"({json} #>> {self._postgresql_path(path)})"

    def exists(self, json: str, path: Path) -> str:
        """Whether anything stands at a path of a column."""
        if self.is_sqlite:
            return f"(json_type({json}, {self._sqlite_path(path)}) IS NOT NULL)"
        return f"(({json} #> {self._postgresql_path(path)}) IS NOT NULL)"

    def elements(self, json: str, path: Path, alias: str) -> str:
        """The values of a list as rows `alias` with value and place; none where there is no list."""
        if self.is_sqlite:
            return f"json_each({json}, {self._sqlite_path(path)}) {alias}"
        node = f"({json} #> {self._postgresql_path(path)})"
        listed = f"CASE WHEN jsonb_typeof({node}) = 'array' THEN {node} END"
        return f"jsonb_array_elements({listed}) WITH ORDINALITY {alias}(value, place)"

    def place(self, alias: str) -> str:
        """Which value of the list it is."""
        return f"{alias}.key" if self.is_sqlite else f"{alias}.place"

    def element_text(self, alias: str, path: Path) -> str:
        """What stands at a path of a list's value, as `text`; an empty path: the value itself, or its `value`."""
        if self.is_sqlite:
            inside = f"json_extract({alias}.value, {self._sqlite_path(path or ('value',))})"
            other = "" if path else f" ELSE {alias}.value"
            return f"(CASE WHEN {alias}.type = 'object' THEN {inside}{other} END)"
        if path:
            return f"({alias}.value #>> {self._postgresql_path(path)})"
        inside, plain = f"{alias}.value ->> 'value'", f"{alias}.value #>> CAST('{{}}' AS text[])"
        return f"(CASE WHEN jsonb_typeof({alias}.value) = 'object' THEN {inside} ELSE {plain} END)"

    def element_exists(self, alias: str, path: Path) -> str:
        """Whether anything stands at a path of a list's value."""
        return f"({self.element_text(alias, path)} IS NOT NULL)"

    def _sqlite_path(self, path: Path) -> str:
        return self.bind("$." + ".".join(f'"{name}"' for name in _checked(path)))

    def _postgresql_path(self, path: Path) -> str:
        return f"CAST({self.bind(_checked(path))} AS text[])"


def _checked(path: Path) -> list[str]:
    if not path or len(path) > 3 or not all(_NAME.fullmatch(name) for name in path):
        raise InvalidFilter("an attribute has no such name")
    return list(path)
