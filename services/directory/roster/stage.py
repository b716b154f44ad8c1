"""Take a run's rows into its stage: COPY on PostgreSQL, executemany on SQLite; all of a stream or nothing."""

from __future__ import annotations

import json
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
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
    display_name text NOT NULL, title text, phone text, secondary_phone text, groups text, digest text NOT NULL
)"""
_ISSUES = """(
    line bigint NOT NULL, row_key text NOT NULL, severity smallint NOT NULL, code text NOT NULL,
    column_name text NOT NULL, masked_value text NOT NULL, message text NOT NULL
)"""
Record = tuple[object, ...]


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
    tally = _Tally(Dialect(space.store.is_sqlite))
    if space.store.is_sqlite:
        _into_sqlite(space, tally.records(blocks))
    else:
        _into_postgresql(space, tally.records(blocks))
    sent = end()
    if (sent.row_count, sent.checksum) != (tally.row_count, tally.checksum):
        space.drop()
        raise StageMismatch(rows_announced=sent.row_count, rows_received=tally.row_count)
    with space.store.engine.connect() as connection, space.attached(connection):
        _check_canonical(space, connection)
        staged = Staged(tally.row_count, stage_checksum(space, connection))
        connection.commit()
    return staged


def stage_checksum(space: StageSpace, connection: Connection) -> int:
    """Sum up what is staged, so that a lost or changed stage is noticed before a plan."""
    weigh = (
        "line * 31 + length(external_id) * 7 + length(email)"
        if space.store.is_sqlite
        else "hashtext(external_id || chr(31) || email || chr(31) || display_name)::bigint + line"
    )
    found = connection.execute(text(f"SELECT count(*), coalesce(sum({weigh}), 0) FROM {space.name('rows')}")).one()
    return int(found[1]) % 2**62 + int(found[0])


class _Tally:
    """Turns blocks into records while counting them; lines must rise, so that no row comes twice."""

    def __init__(self, dialect: Dialect) -> None:
        self._is_sqlite = dialect.is_sqlite
        self._last_line = 0
        self.row_count = 0
        self._sum = 0

    @property
    def checksum(self) -> int:
        """As ImportEnd.checksum defines it."""
        return self._sum % 2**63

    def records(self, blocks: Iterable[imports_pb2.ImportBlock]) -> Iterator[tuple[list[Record], list[Record]]]:
        """Yield each block as records of rows and of issues."""
        for block in blocks:
            if len(block.rows) > MAX_BLOCK_ROWS:
                raise InvalidArgument([("block.rows", f"at most {MAX_BLOCK_ROWS} rows in a block")])
            yield [self._row(row) for row in block.rows], [_issue(issue) for issue in block.issues]

    def _row(self, row: imports_pb2.ImportRow) -> Record:
        line, external_id = row.line, row.external_id
        if line <= self._last_line:
            raise InvalidArgument([("block.rows.line", f"line {line} comes after line {self._last_line}")])
        self._last_line = line
        self.row_count += 1
        self._sum += zlib.crc32(f"{line}{external_id}".encode())
        return (
            line,
            row.disposition,
            external_id,
            row.email,
            row.display_name,
            row.title if row.HasField("title") else None,
            row.phone if row.HasField("phone") else None,
            row.secondary_phone if row.HasField("secondary_phone") else None,
            self._groups(row.group_external_ids) if row.has_groups else None,
            row.digest.hex(),
        )

    def _groups(self, listed: Sequence[str]) -> str:
        if len(listed) > 1 and len(set(listed)) != len(listed):
            raise InvalidArgument([("block.rows.group_external_ids", "a Group ID is listed twice")])
        if self._is_sqlite:
            return json.dumps(list(listed), ensure_ascii=False)
        return UNIT_SEPARATOR.join(listed)


def _issue(issue: imports_pb2.ImportIssue) -> Record:
    return (
        issue.line,
        issue.key,
        issue.severity,
        issue.code,
        issue.column,
        issue.masked_value,
        issue.message,
    )


def _into_sqlite(space: StageSpace, blocks: Iterator[tuple[list[Record], list[Record]]]) -> None:
    """Write the run's own file, so that the register's write lock stays free meanwhile."""
    space.directory.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(space.file, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        connection.execute(f"CREATE TABLE rows {_ROWS}")
        connection.execute(f"CREATE TABLE issues {_ISSUES}")
        for rows, issues in blocks:
            connection.executemany("INSERT INTO rows VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
            connection.executemany("INSERT INTO issues VALUES (?, ?, ?, ?, ?, ?, ?)", issues)
        connection.execute("CREATE UNIQUE INDEX rows_by_line ON rows (line)")
        connection.execute("COMMIT")
    finally:
        connection.close()


def _into_postgresql(space: StageSpace, blocks: Iterator[tuple[list[Record], list[Record]]]) -> None:
    """COPY block by block in one transaction; a stream that breaks rolls it back."""
    raw = space.store.engine.raw_connection()
    try:
        connection = raw.driver_connection
        assert isinstance(connection, psycopg.Connection)
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE UNLOGGED TABLE {space.name('rows')} {_ROWS}".encode())
            cursor.execute(f"CREATE UNLOGGED TABLE {space.name('issues')} {_ISSUES}".encode())
            for rows, issues in blocks:
                for table, records in (("rows", rows), ("issues", issues)):
                    if not records:
                        continue
                    with cursor.copy(f"COPY {space.name(table)} FROM STDIN".encode()) as copy:
                        for record in records:
                            copy.write_row(record)
        connection.commit()
        with connection.cursor() as cursor:
            cursor.execute(f"ANALYZE {space.name('rows')}".encode())
        connection.commit()
    except psycopg.DataError as error:  # a NUL character, say
        raw.rollback()
        raise InvalidArgument([("block.rows", "a value cannot be stored as text")]) from error
    except BaseException:
        raw.rollback()
        raise
    finally:
        raw.close()


def _check_canonical(space: StageSpace, connection: Connection) -> None:
    """Trust nobody: an accepted row that breaks a rule of form never reaches a plan."""
    dialect = Dialect(space.store.is_sqlite)
    phone = dialect.is_phone
    broken = connection.execute(
        text(f"""
        SELECT min(line) FROM {space.name("rows")}
        WHERE disposition NOT IN (1, 2, 3)
           OR (disposition <> 3 AND (length(external_id) < 10 OR length(external_id) > 256))
           OR (disposition = 1 AND (
                email NOT LIKE '_%@_%' OR {dialect.has_capital("email")} OR length(email) > 320
             OR length(display_name) NOT BETWEEN 1 AND 256 OR length(title) > 256
             OR NOT (phone = '' OR {phone("phone")})
             OR NOT (secondary_phone = '' OR {phone("secondary_phone")})
           ))
        """)
    ).scalar_one()
    if broken is not None:
        connection.rollback()
        raise InvalidArgument([("block.rows", f"the row at line {broken} is not in canonical form")])
