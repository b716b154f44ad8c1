"""Notice that a task was told to end although a library swallowed that."""

from __future__ import annotations

import asyncio


def heed_cancellation() -> None:
    """Raise CancelledError when the running task was cancelled and goes on nevertheless.

    On Python 3.11 `asyncio.wait_for`, which mail and gRPC libraries use inside, loses a cancellation that comes in the
    same turn of the loop as its result. A task that runs for ever asks here after each such call.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
