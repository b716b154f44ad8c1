"""A stream is read in pieces: nothing is lost, out of order, or waited for without need."""

from __future__ import annotations

import asyncio

import pytest

from services.notifier.read_ahead import ReadAhead


async def _stream(*items, error=None, then_wait=False):
    for item in items:
        yield item
    if then_wait:
        await asyncio.Event().wait()
    if error:
        raise error


async def _pieces(stream, **limits):
    pieces = []
    async with ReadAhead(stream, **({"most": 10, "silence_s": 5.0} | limits)) as ahead:
        while piece := await ahead.next():
            pieces.append(piece)
            await asyncio.sleep(0)
    return pieces


def test_everything_comes_in_order_in_pieces_of_no_more_than_asked_for():
    pieces = asyncio.run(_pieces(_stream(*range(35)), most=10))
    assert [item for piece in pieces for item in piece] == list(range(35))
    assert max(len(piece) for piece in pieces) <= 10
    assert len(pieces) < 35


def test_what_came_before_an_error_is_given_before_it_is_raised():
    seen = []

    async def follow():
        async with ReadAhead(_stream(1, 2, error=OSError("gone")), most=10, silence_s=5.0) as ahead:
            while piece := await ahead.next():
                seen.extend(piece)

    with pytest.raises(OSError, match="gone"):
        asyncio.run(follow())
    assert seen == [1, 2]


def test_a_stream_that_falls_silent_is_given_up():
    with pytest.raises(TimeoutError):
        asyncio.run(_pieces(_stream(1, then_wait=True), silence_s=0.05))


def test_an_end_in_the_midst_ends_the_reader_too():
    async def leave():
        async with ReadAhead(_stream(*range(100), then_wait=True), most=5, silence_s=5.0) as ahead:
            await ahead.next()
        return len(asyncio.all_tasks())

    assert asyncio.run(leave()) == 1
