"""A task that runs for ever ends when told to, even if a library swallowed that."""

from __future__ import annotations

import asyncio

import pytest

from services.notifier.cancellation import heed_cancellation


def test_a_swallowed_cancellation_is_noticed():
    async def swallows_then_asks():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            heed_cancellation()
        return "went on"

    async def cancel_it():
        task = asyncio.create_task(swallows_then_asks())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel_it())


def test_a_task_that_nobody_cancelled_goes_on():
    async def ask():
        heed_cancellation()
        return "went on"

    assert asyncio.run(ask()) == "went on"
