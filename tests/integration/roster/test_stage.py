"""The stage trusts nobody: a block that breaks its form is refused, and nothing of its stream is staged."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from muster.directory.v1 import imports_pb2
from sqlalchemy import text

from services.directory.roster.space import StageSpace
from services.directory.roster.stage import MAX_BLOCK_ROWS, stage_checksum, stage_rows
from services.directory.rules.errors import InvalidArgument, StageMismatch
from services.importer.row_block import Row, import_block

RUN = 10**9


@pytest.fixture
def space(engine, tmp_path: Path):
    made = StageSpace(engine.store, RUN, tmp_path)
    yield made
    made.drop()


def row(line=2, **changes):
    usual = Row(
        line,
        imports_pb2.ROW_DISPOSITION_ACCEPTED,
        external_id=f"EMPLOYEE-{line}",
        email=f"person{line}@example.org",
        display_name="Anna Berg",
        title="",
        phone="+46701234567",
        secondary_phone=None,
        group_external_ids="A\x1fB",
        digest=bytes(16),
        row_hash=bytes(16),
    )
    return usual._replace(**changes)


def stage(space, *blocks, row_count=None, checksum=0):
    for block in blocks:
        checksum = zlib.crc32("".join(f"{external_id}\n" for external_id in block.external_ids).encode(), checksum)
        checksum = zlib.crc32(block.settled_hashes, checksum)
    count = sum(len(block.lines) + len(block.settled_lines) for block in blocks)
    end = imports_pb2.ImportEnd(row_count=count if row_count is None else row_count, checksum=checksum)
    return stage_rows(space, iter(blocks), lambda: end)


def staged(space):
    with space.store.engine.connect() as connection, space.attached(connection):
        rows = connection.execute(text(f"SELECT * FROM {space.name('rows')} ORDER BY line")).all()
        settled = connection.execute(text(f"SELECT * FROM {space.name('settled_rows')} ORDER BY line")).all()
        return [tuple(found) for found in rows], [tuple(found) for found in settled]


def is_empty(space):
    with space.store.engine.connect() as connection, space.attached(connection):
        return not space.exists(connection) or staged(space) == ([], [])


def test_values_are_kept_to_the_letter(space, engine):
    odd = row(3, title="a\\b \\N \\\\ 100% 'quoted' \"twice\" Åsa \U0001f600", phone=None, group_external_ids="")
    bare = row(4, title=None, group_external_ids=None)
    stage(space, import_block([row(2), odd], [(9, b"\x01" * 16)], []), import_block([bare], [(10, b"\x02" * 16)], []))
    rows, settled = staged(space)
    listed = ['["A", "B"]', "[]", None] if engine.store.is_sqlite else ["A\x1fB", "", None]
    assert [found[5:9] for found in rows] == [
        ("", "+46701234567", None, listed[0]),
        (odd.title, None, None, listed[1]),
        (None, "+46701234567", None, listed[2]),
    ]
    assert settled == [(9, "01" * 16), (10, "02" * 16)]


@pytest.mark.parametrize(
    "changes",
    [
        {"external_id": "short"},
        {"external_id": "x" * 257},
        {"email": "no mail"},
        {"email": "Anna@example.org"},
        {"display_name": ""},
        {"display_name": "x" * 257},
        {"title": "x" * 257},
        {"phone": "0701234567"},
        {"phone": "+0701234567"},
        {"phone": "+4670123456789012"},
        {"secondary_phone": "+46 70"},
        {"title": "a\tb"},
        {"title": "a\nb"},
        {"title": "a\rb"},
        {"title": "a\0b"},
        {"title": "\x1e"},
        {"group_external_ids": "A\x1fA"},
        {"group_external_ids": "A\x1f\x1fB"},
        {"digest": b"short"},
        {"row_hash": bytes(17)},
    ],
)
def test_a_row_out_of_form_is_refused(space, changes):
    with pytest.raises(InvalidArgument):
        stage(space, import_block([row(2)], [], []), import_block([row(3, **changes)], [], []))


def broken(name):
    """A block that no importer sends."""
    block = import_block([row(2), row(3)], [(4, bytes(16))], [])
    if name == "line twice":
        block.lines[1] = 2
    elif name == "missing mail":
        block.emails.pop()
    elif name == "short column":
        block.titles.values.pop()
    elif name == "absent beyond the end":
        block.titles.absent.append(2)
    elif name == "settled line twice":
        block.settled_lines.append(4)
        block.settled_hashes += bytes(16)
    elif name == "settled without hash":
        block.settled_lines.append(5)
    elif name == "disposition":
        block.dispositions[0] = 7  # what another client might send
    else:
        block.lines.extend(range(4, MAX_BLOCK_ROWS + 4))
    return block


@pytest.mark.parametrize(
    "name",
    [
        "line twice",
        "missing mail",
        "short column",
        "absent beyond the end",
        "settled line twice",
        "settled without hash",
        "disposition",
        "too many",
    ],
)
def test_a_block_out_of_form_is_refused(space, name):
    with pytest.raises(InvalidArgument):
        stage(space, broken(name))


def test_a_row_of_an_earlier_block_cannot_come_again(space):
    with pytest.raises(InvalidArgument):
        stage(space, import_block([row(3)], [], []), import_block([row(2)], [], []))


@pytest.mark.parametrize("end", [{"row_count": 2}, {"checksum": 1}])
def test_a_stream_that_is_not_what_it_announces_leaves_nothing(space, end):
    with pytest.raises(StageMismatch):
        stage(space, import_block([row(2)], [], []), **end)
    assert is_empty(space)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM {rows} WHERE line = 2",
        "DELETE FROM {settled_rows}",
        "UPDATE {rows} SET external_id = 'EMPLOYEE-OTHER-X' WHERE line = 2",
    ],
)
def test_a_stage_that_has_lost_something_has_another_checksum(space, damage):
    before = stage(space, import_block([row(2), row(3)], [(4, b"\x01" * 16)], [])).checksum
    with space.store.engine.connect() as connection, space.attached(connection):
        assert stage_checksum(space, connection) == before
        connection.execute(text(damage.format(**space.names)))
        assert stage_checksum(space, connection) != before
        connection.rollback()
