"""The few words that PostgreSQL and SQLite say differently in the engine's SQL."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.engine import Connection

UNIT_SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Dialect:
    """SQL fragments; everything else in the engine is the same text on both databases."""

    is_sqlite: bool

    @property
    def create_table(self) -> str:
        """Begin a stage table: PostgreSQL need not log it, a run that dies is staged again."""
        return "CREATE TABLE" if self.is_sqlite else "CREATE UNLOGGED TABLE"

    @property
    def split_groups(self) -> str:
        """Join a row `r` with what `each_group` reads; PostgreSQL needs nothing for that."""
        return "CROSS JOIN json_each(r.groups) AS l" if self.is_sqlite else ""

    @property
    def each_group(self) -> str:
        """Select each Group ID of a row `r`; on PostgreSQL a row a Group ID, which is faster than a lateral join."""
        return "l.value" if self.is_sqlite else "unnest(string_to_array(r.groups, E'\\x1f'))"

    @property
    def no_groups(self) -> str:
        """A staged Groups cell that lists nothing."""
        return "'[]'" if self.is_sqlite else "''"

    @property
    def first_group(self) -> str:
        """The first Group ID of a row `r`, NULL or empty when it lists none."""
        return "json_extract(r.groups, '$[0]')" if self.is_sqlite else "split_part(r.groups, E'\\x1f', 1)"

    def fresh_id(self, sequence: str) -> str:
        """An id nobody has; SQLite gives ids afterwards, in one step (plan_people.py)."""
        return "0" if self.is_sqlite else f"nextval('{sequence}_id_seq')"

    def json_of(self, **fields: str) -> str:
        """A JSON object of SQL expressions, without the fields that are NULL."""
        pairs = ", ".join(f"'{name}', {expression}" for name, expression in fields.items())
        if self.is_sqlite:
            return f"json_patch('{{}}', json_object({pairs}))"
        return f"json_strip_nulls(json_build_object({pairs}))"

    def json_row(self, *values: str) -> str:
        """A JSON array of SQL expressions."""
        return f"{'json_array' if self.is_sqlite else 'json_build_array'}({', '.join(values)})"

    def json_rows(self, value: str) -> str:
        """A JSON array of a JSON value of each row of a group, as text."""
        return f"json_group_array({value})" if self.is_sqlite else f"json_agg({value})::text"

    def id_list(self, column: str) -> str:
        """The ids of a group's rows as the text of a JSON array, in order; on SQLite in the order they come in."""
        if self.is_sqlite:
            return f"'[' || group_concat({column}, ',') || ']'"
        return f"'[' || string_agg({column}::text, ',' ORDER BY {column}) || ']'"

    def each_json(self, document: str, *path: str) -> str:
        """A relation `x(value)` with each element of an array inside a JSON document; empty when it is not there."""
        if self.is_sqlite:
            return f"json_each({document}, '$.{'.'.join(path)}') x"
        inside = "".join(f" -> '{name}'" for name in path)
        return f"json_array_elements(coalesce({document}{inside}, '[]'::json)) AS x(value)"

    def json_item(self, value: str, place: int, *, kind: str = "text") -> str:
        """An element of a JSON array as `text`, `bigint` or `moment`."""
        if self.is_sqlite:
            found = f"json_extract({value}, '$[{place}]')"
            return f"CAST({found} AS bigint)" if kind == "bigint" else found
        found = f"({value} ->> {place})"
        return found if kind == "text" else f"CAST({found} AS {'timestamptz' if kind == 'moment' else kind})"

    def json_number(self, value: str) -> str:
        """A JSON number that is a whole value, as `bigint`."""
        return f"CAST({value} AS bigint)" if self.is_sqlite else f"CAST({value}::text AS bigint)"

    def json_value(self, document: str, *path: str, kind: str = "text") -> str:
        """A value inside a JSON document as `text`, `bigint` or `moment`; NULL when it is not there."""
        if self.is_sqlite:
            found = f"json_extract({document}, '$.{'.'.join(path)}')"
            return f"CAST({found} AS bigint)" if kind == "bigint" else found
        inside = "".join(f" -> '{name}'" for name in path[:-1])
        found = f"({document}{inside} ->> '{path[-1]}')"
        return found if kind == "text" else f"CAST({found} AS {'timestamptz' if kind == 'moment' else kind})"

    @property
    def no_json(self) -> str:
        """NULL where JSON is expected."""
        return "NULL" if self.is_sqlite else "NULL::json"

    def as_json(self, expression: str) -> str:
        """A text that holds JSON, as JSON."""
        return f"json({expression})" if self.is_sqlite else f"({expression})::json"

    @property
    def row_text(self) -> str:
        """Begin an unambiguous text of several values; end it with `row_text_end`."""
        return "json_array(" if self.is_sqlite else "(ROW("

    @property
    def row_text_end(self) -> str:
        """End what `row_text` began."""
        return ")" if self.is_sqlite else ")::text)"

    def tune(self, connection: Connection) -> None:
        """Prepare PostgreSQL for a plan, in this transaction.

        Whole files are compared with whole tenants: hash joins in memory are right whatever the statistics say, and a
        nested loop chosen on stale ones turns a small night into minutes. Stage tables live for seconds: few rows
        are enough for their statistics.
        """
        if not self.is_sqlite:
            connection.execute(
                text(
                    "SELECT set_config('jit', 'off', true), set_config('default_statistics_target', '10', true),"
                    " set_config('enable_nestloop', 'off', true)"
                )
            )
            self.tune_sorts(connection)

    def tune_sorts(self, connection: Connection) -> None:
        """Let PostgreSQL sort and hash a file's rows in memory, in this transaction."""
        if not self.is_sqlite:
            connection.execute(text("SELECT set_config('work_mem', '64MB', true)"))

    def tune_for_few(self, connection: Connection) -> None:
        """Let PostgreSQL look up few people of many by their keys; the tables it starts from were analysed just now."""
        if not self.is_sqlite:
            connection.execute(
                text("SELECT set_config('enable_nestloop', 'on', true), set_config('random_page_cost', '1.1', true)")
            )

    def untune(self, connection: Connection) -> None:
        """Let what follows in the transaction choose its joins again: an apply touches few people of many."""
        if not self.is_sqlite:
            connection.execute(text("SELECT set_config('enable_nestloop', 'on', true)"))

    def has_capital(self, column: str) -> str:
        """Whether a column holds an ASCII capital; lower-casing other scripts is Python's affair."""
        folded = f"lower({column})" if self.is_sqlite else f'lower({column} COLLATE "C")'
        return f"({folded} <> {column})"
