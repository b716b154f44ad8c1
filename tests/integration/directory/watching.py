"""Follow the stream of events in a thread of its own, as a service would."""

from __future__ import annotations

import threading

import grpc
from muster.directory.v1 import events_pb2

from tests.integration.directory.serving import Caller
from tests.stack.waiting import wait_until


class Watcher:
    """One watch, and all that it has been told."""

    def __init__(self, caller: Caller, **request):
        self.stream = caller.events.WatchEvents(events_pb2.WatchEventsRequest(**request))
        self.answers: list[events_pb2.WatchEventsResponse] = []
        self.error: grpc.RpcError | None = None
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()

    def _follow(self):
        try:
            for answer in self.stream:
                self.answers.append(answer)
        except grpc.RpcError as error:
            self.error = error

    @property
    def events(self):
        return [answer.event for answer in list(self.answers) if answer.HasField("event")]

    @property
    def cursors(self):
        """The cursors of the events, in their order."""
        return [answer.cursor for answer in list(self.answers) if answer.HasField("event")]

    @property
    def kinds(self):
        return [event.kind for event in self.events]

    def stop(self):
        self.stream.cancel()
        self._thread.join(10)


def cursor_now(caller: Caller) -> str:
    """A cursor past all that has happened: that of the first checkpoint when no kind matches."""
    watcher = Watcher(caller, kinds=["run.expired"])
    (checkpoint,) = wait_until(lambda: list(watcher.answers))
    watcher.stop()
    assert not checkpoint.HasField("event")
    return checkpoint.cursor
