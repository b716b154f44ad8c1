"""Take a run's rows into its stage: COPY on PostgreSQL, executemany on SQLite; all of a stream or nothing."""

from __future__ import annotations

import json
import operator
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from muster.directory.v1 import imports_pb2
from sqlalchemy import text
from sqlalchemy.engine import Connection

from services.directory.roster.dialect import UNIT_SEPARATOR, Dialect
from services.directory.roster.space import StageSpace
from services.directory.rules.errors import InvalidArgument, StageMismatch

MAX_BLOCK_ROWS = 10_000
_ROWS = """(
    line bigint NOT NULL, disposition smallint NOT NULL, external_id text NOT NULL, email text NOT NULL,
    display_name text NOT NULL, title text, phone text, secondary_phone text, groups text, digest text NOT NULL,
    row_hash text NOT NULL
)"""
_SETTLED_ROWS = "(line bigint NOT NULL, row_hash text NOT NULL)"
_ISSUES = """(
    line bigint NOT NULL, row_key text NOT NULL, severity smallint NOT NULL, code text NOT NULL,
    column_name text NOT NULL, masked_value text NOT NULL, message text NOT NULL
)"""
_HASH_DIGITS = 32
_PHONES = re.compile(r"(?:(?:\+[1-9][0-9]{1,14})?\n)*")
"""Phones of a block in E.164 (R21), or nothing, a line each."""
_TO_ESCAPE = re.compile(r'["\\\x00-\x1e]')
"""What JSON cannot hold as it is; a Group ID rarely has any of it."""
_NULL = "\x1e"
"""Stands for NULL in COPY; no value may hold it."""
Columns = list[Sequence[int] | Sequence[str] | Sequence[str | None]]


@dataclass(frozen=True)
class Staged:
    """What was staged: how many rows, and a checksum to ask for again before each plan."""

    row_count: int
    checksum: int


def stage_rows(
    space: StageSpace, blocks: Iterable[imports_pb2.ImportBlock], end: Callable[[], imports_pb2.ImportEnd]
) -> Staged:
    """Replace the run's stage by these blocks, then compare with what `end` says was sent.

    Raises:
        InvalidArgument: a row is not in canonical form, or lines do not rise.
        StageMismatch: count or checksum differ; nothing is staged.
    """
    space.drop()
    tally = _Tally()
    if space.store.is_sqlite:
        _into_sqlite(space, tally, blocks)
    else:
        _into_postgresql(space, tally, blocks)
    sent = end()
    if (sent.row_count, sent.checksum) != (tally.row_count, tally.checksum):
        space.drop()
        raise StageMismatch(rows_announced=sent.row_count, rows_received=tally.row_count)
    with space.store.engine.connect() as connection, space.attached(connection):
        _check_canonical(space, connection)
        staged = Staged(tally.row_count, stage_checksum(space, connection))
        connection.commit()
    return staged


def has_settled_rows(space: StageSpace, connection: Connection) -> bool:
    """Say whether rows came as settled."""
    return bool(connection.execute(text(f"SELECT EXISTS (SELECT 1 FROM {space.name('settled_rows')})")).scalar_one())


def stage_checksum(space: StageSpace, connection: Connection) -> int:
    """Sum up what is staged, so that a lost or changed stage is noticed before a plan."""
    weigh = (
        "line * 31 + length(external_id) * 7 + length(email)"
        if space.store.is_sqlite
        else "hashtext(external_id || chr(31) || email || chr(31) || display_name)::bigint + line"
    )
    weigh_settled = "line * 31 + length(row_hash)" if space.store.is_sqlite else "hashtext(row_hash)::bigint + line"
    found = connection.execute(
        text(f"""
        SELECT count(*), coalesce(sum({weigh}), 0), (
            SELECT coalesce(sum({weigh_settled}), 0) + count(*) FROM {space.name("settled_rows")})
        FROM {space.name("rows")}
        """)
    ).one()
    return int(found[1] + found[2]) % 2**62 + int(found[0])


class _Tally:
    """Turns blocks into columns of text while counting rows; lines must rise, so that no row comes twice.

    Raises InvalidArgument for what no row may hold; what SQL can tell of the rows is left to `_check_canonical`.
    """

    def __init__(self) -> None:
        self._last_line = self._last_settled_line = 0
        self.row_count = 0
        self.checksum = 0
        """As ImportEnd.checksum defines it."""

    def columns(self, block: imports_pb2.ImportBlock) -> Columns:
        """Take one block; answers its columns in the order of the table `rows`."""
        count = len(block.lines)
        if count > MAX_BLOCK_ROWS:
            raise InvalidArgument([("block.lines", f"at most {MAX_BLOCK_ROWS} rows in a block")])
        self._count(block)
        required = [block.external_ids, block.emails, block.display_names]
        optional = [
            _values(name, getattr(block, name), count)
            for name in ("titles", "phones", "secondary_phones", "group_external_ids")
        ]
        hashes = [_hashes("digests", block.digests), _hashes("row_hashes", block.row_hashes)]
        columns: Columns = [block.lines, block.dispositions, *required, *optional, *hashes]
        if any(len(column) != count for column in columns):
            raise InvalidArgument([("block", "the columns differ in length")])
        _require_separable([*required, *optional])
        for name, phones in zip(("phones", "secondary_phones"), optional[1:3], strict=True):
            if _PHONES.fullmatch("".join([f"{phone or ''}\n" for phone in phones])) is None:
                raise InvalidArgument([(f"block.{name}", "a phone is not in E.164")])
        _require_distinct(optional[-1])
        return columns

    def settled(self, block: imports_pb2.ImportBlock) -> list[tuple[int, str]]:
        """Answer a block's settled rows, after its columns were taken: their lines and hashes."""
        hashes = _hashes("settled_hashes", block.settled_hashes)
        if len(block.settled_lines) > MAX_BLOCK_ROWS or len(block.settled_lines) != len(hashes):
            raise InvalidArgument([("block.settled_lines", f"at most {MAX_BLOCK_ROWS}, and a hash for each")])
        self._last_settled_line = _last_of_rising("settled_lines", self._last_settled_line, block.settled_lines)
        self.row_count += len(hashes)
        self.checksum = zlib.crc32(block.settled_hashes, self.checksum)
        return list(zip(block.settled_lines, hashes, strict=True))

    def _count(self, block: imports_pb2.ImportBlock) -> None:
        self._last_line = _last_of_rising("lines", self._last_line, block.lines)
        self.row_count += len(block.lines)
        self.checksum = zlib.crc32("".join(f"{name}\n" for name in block.external_ids).encode(), self.checksum)


def _last_of_rising(name: str, last: int, lines: Sequence[int]) -> int:
    if not all(map(operator.lt, (last, *lines), lines)):
        raise InvalidArgument([(f"block.{name}", f"a line does not come after the one before it, from {last} on")])
    return lines[-1] if lines else last


def _hashes(name: str, joined: bytes) -> list[str]:
    text = joined.hex()
    if len(text) % _HASH_DIGITS:
        raise InvalidArgument([(f"block.{name}", "a hash has 16 bytes")])
    return [text[place : place + _HASH_DIGITS] for place in range(0, len(text), _HASH_DIGITS)]


def _values(name: str, column: imports_pb2.OptionalColumn, count: int) -> Sequence[str | None]:
    if not column.values:
        return [None] * count
    if not column.absent:
        return column.values
    values: list[str | None] = list(column.values)
    for place in column.absent:
        if place >= len(values):
            raise InvalidArgument([(f"block.{name}.absent", f"there is no row {place} in the block")])
        values[place] = None
    return values


def _require_separable(columns: Sequence[Sequence[str | None]]) -> None:
    """Keep out what would end a value or a row on its way into the database."""
    text = "".join([value for column in columns for value in column if value])
    if any(separator in text for separator in ("\0", "\t", "\n", "\r", _NULL)):
        raise InvalidArgument(
            [("block", "a value holds a tab, a line break or another character that no value may hold")]
        )


def _require_distinct(listed: Sequence[str | None]) -> None:
    for cell in listed:
        if cell and UNIT_SEPARATOR in cell:
            parts = cell.split(UNIT_SEPARATOR)
            if "" in parts or len(set(parts)) != len(parts):
                raise InvalidArgument([("block.group_external_ids", "a Group ID is empty or listed twice")])


def _issue(issue: imports_pb2.ImportIssue) -> tuple[object, ...]:
    return (issue.line, issue.key, issue.severity, issue.code, issue.column, issue.masked_value, issue.message)


def _into_sqlite(space: StageSpace, tally: _Tally, blocks: Iterable[imports_pb2.ImportBlock]) -> None:
    """Write the run's own file, so that the register's write lock stays free meanwhile."""
    space.directory.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(space.file, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute(f"CREATE TABLE rows {_ROWS}")
        connection.execute(f"CREATE TABLE settled_rows {_SETTLED_ROWS}")
        connection.execute(f"CREATE TABLE issues {_ISSUES}")
        for block in blocks:
            *columns, listed, digests, row_hashes = tally.columns(block)
            groups = [None if cell is None else _json_of_groups(str(cell)) for cell in listed]
            records = zip(*columns, groups, digests, row_hashes, strict=True)
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", records)
            connection.executemany("INSERT INTO settled_rows VALUES (?, ?)", tally.settled(block))
            connection.executemany("INSERT INTO issues VALUES (?, ?, ?, ?, ?, ?, ?)", map(_issue, block.issues))
        connection.execute("CREATE UNIQUE INDEX rows_by_line ON rows (line)")
        connection.execute("COMMIT")
    finally:
        connection.close()


def _json_of_groups(cell: str) -> str:
    if _TO_ESCAPE.search(cell):
        return json.dumps(cell.split(UNIT_SEPARATOR), ensure_ascii=False)
    listed = cell.replace(UNIT_SEPARATOR, '", "')
    return f'["{listed}"]' if cell else "[]"


def _into_postgresql(space: StageSpace, tally: _Tally, blocks: Iterable[imports_pb2.ImportBlock]) -> None:
    """COPY block by block in one transaction; a stream that breaks rolls it back."""
    rows, settled_rows, issues = space.name("rows"), space.name("settled_rows"), space.name("issues")
    with space.store.engine.connect() as connection:
        raw = connection.connection.driver_connection
        assert isinstance(raw, psycopg.Connection)
        with _no_bad_text(), connection.begin(), raw.cursor() as cursor:
            cursor.execute(f"CREATE UNLOGGED TABLE {rows} {_ROWS}".encode())
            cursor.execute(f"CREATE UNLOGGED TABLE {settled_rows} {_SETTLED_ROWS}".encode())
            cursor.execute(f"CREATE UNLOGGED TABLE {issues} {_ISSUES}".encode())
            for block in blocks:
                with cursor.copy(f"COPY {rows} FROM STDIN WITH (NULL E'\\x1e')".encode()) as copy:
                    copy.write(_copy_text(tally.columns(block)))
                if settled := tally.settled(block):
                    with cursor.copy(f"COPY {settled_rows} FROM STDIN".encode()) as copy:
                        copy.write("".join([f"{line}\t{row_hash}\n" for line, row_hash in settled]))
                if block.issues:
                    with cursor.copy(f"COPY {issues} FROM STDIN".encode()) as copy:
                        for issue in block.issues:
                            copy.write_row(_issue(issue))
        with connection.begin():
            connection.execute(text("SET LOCAL default_statistics_target = 10"))  # it lives for seconds
            connection.execute(text(f"ANALYZE {rows}, {settled_rows}"))


@contextmanager
def _no_bad_text() -> Iterator[None]:
    try:
        yield
    except psycopg.DataError as error:  # a NUL character in an issue, say
        raise InvalidArgument([("block.issues", "a value cannot be stored as text")]) from error


def _copy_text(columns: Columns) -> str:
    """Write rows as COPY reads them. Values hold no tab, line break or NULL mark; a backslash is doubled."""
    lines, dispositions, *texts = columns
    shown = [[_NULL if value is None else value for value in column] if None in column else column for column in texts]
    rows = map("\t".join, zip(map(str, lines), map(str, dispositions), *shown, strict=True))
    return "".join([f"{row}\n" for row in rows]).replace("\\", "\\\\")


def _check_canonical(space: StageSpace, connection: Connection) -> None:
    """Trust nobody: an accepted row that breaks a rule of form never reaches a plan."""
    dialect = Dialect(space.store.is_sqlite)
    broken = connection.execute(
        text(f"""
        SELECT min(line) FROM {space.name("rows")}
        WHERE disposition NOT IN (1, 2, 3)
           OR (disposition <> 3 AND (length(external_id) < 10 OR length(external_id) > 256))
           OR (disposition = 1 AND (
                email NOT LIKE '_%@_%' OR {dialect.has_capital("email")} OR length(email) > 320
             OR length(display_name) NOT BETWEEN 1 AND 256 OR length(title) > 256
           ))
        """)
    ).scalar_one()
    if broken is not None:
        connection.rollback()
        raise InvalidArgument([("block", f"the row at line {broken} is not in canonical form")])
