"""A second night that can be broken anywhere: the register before it, the register after it, and never one between."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
from muster.directory.v1 import events_pb2, imports_pb2
from muster.importer.v1 import importer_pb2
from muster.notifier.v1 import messages_pb2

from tests.builders import a_csv, a_row
from tests.stack.customer import FILE, Customer, is_at_rest, outcome_of, status_of
from tests.stack.sftp import SftpFolder
from tests.stack.smtp import ReceivedMail, SmtpSink
from tests.stack.system import System
from tests.stack.waiting import wait_until

ROWS = 8_000

Register = frozenset[tuple[str, str, str, tuple[str, ...]]]
"""UniqueID, mail, name and group of every active person."""


class Point(enum.IntEnum):
    """How far the night is, as seen from outside."""

    STAGING = 1
    PLANNING = 2
    APPLYING = 3
    AT_REST = 4


@dataclass
class Night:
    """A tenant whose first night is over, and a second file on its server that changes a third of the register."""

    system: System
    customer: Customer
    folder: SftpFolder
    smtp_sink: SmtpSink
    source: str = ""
    old: Register = frozenset()
    new: Register = frozenset()
    _progress: importer_pb2.Progress = field(default_factory=importer_pb2.Progress)
    _threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))

    def prepare(self) -> None:
        """Live through the first night, and put the second file on the server."""
        for group_id in ("A", "B"):
            self.customer.group(f"Group {group_id}", group_id=group_id)
        self.source = self.customer.source(self.folder)
        first, second = first_file(ROWS), second_file(ROWS)
        self.old, self.new = register_of_rows(first), register_of_rows(second)
        self.folder.put(FILE, a_csv(*first))
        assert outcome_of(self.customer.run(self.source)) == "applied"
        assert self.register() == self.old
        self.folder.put(FILE, a_csv(*second))

    def begin(self) -> Future[imports_pb2.ImportRun | None]:
        """Start the second night; the future gives the run, or None when the importer went away."""
        runs_before = len(self.customer.runs(self.source))
        night = self._threads.submit(self._run)
        wait_until(lambda: len(self.customer.runs(self.source)) > runs_before, every_s=0.01, what="the run to begin")
        return night

    def begin_undo(self, applied: imports_pb2.ImportRun) -> imports_pb2.ImportRun:
        """Plan the undo of a run and approve it; the directory is at it when this returns."""
        planned = self.system.imports.PlanUndo(imports_pb2.PlanUndoRequest(import_run=applied.name)).import_run
        assert self.register() == self.new  # shown, and nothing put back yet
        request = imports_pb2.ApplyImportRequest(import_run=planned.name, plan_hash=planned.plan_hash)
        undo: imports_pb2.ImportRun = self.system.imports.ApplyImport(request).import_run
        assert status_of(undo) == "applying"
        return undo

    def wait_for(self, point: Point) -> None:
        """Watch the night until it has come to `point`; it must not be over by then."""
        reached = wait_until(lambda: self._reached(point), timeout_s=60, every_s=0.002, what=point.name)
        assert reached is not Point.AT_REST, f"the night was over before {point.name} was seen: raise ROWS"

    def run(self) -> imports_pb2.ImportRun:
        """The newest run as it is now."""
        return self.customer.runs(self.source)[0]

    def register(self) -> Register:
        """The register as it is now."""
        return frozenset(
            (user.external_id, user.email, user.display_name, tuple(user.group_display_names))
            for user in self.customer.users().values()
        )

    def assert_whole(self) -> None:
        """The register is the old or the new one, as the run's status says, and everything beside it agrees."""
        run = self.customer.at_rest(self.run().name)
        register = self.register()
        assert status_of(run) in {"applied", "failed"}, outcome_of(run)
        assert register == (self.new if status_of(run) == "applied" else self.old)
        assert self.customer.seats()[1] == len(register)
        events = self.events_of(run)
        assert [kind for kind in events if kind.startswith("run.") and kind != "run.created"] == [
            f"run.{status_of(run)}"
        ]
        assert events.count("user.created") == run.counts.created
        assert events.count("user.deleted") == run.counts.deleted

    def assert_next_night_works(self) -> None:
        """The system takes the next run, and the register is the new one after it."""
        outcome = outcome_of(self.customer.run(self.source))
        assert outcome in {"applied", "unchanged"}, outcome  # the second when the broken night took effect (R5)
        assert self.register() == self.new
        assert self.customer.seats()[1] == len(self.new)

    def events_of(self, run: imports_pb2.ImportRun) -> list[str]:
        """The kinds of the run's events, in order."""
        request = events_pb2.ListEventsRequest(tenant=self.customer.tenant, import_run=run.name, page_size=1000)
        kinds: list[str] = []
        while True:
            page = self.system.events.ListEvents(request)
            kinds += [event.kind for event in page.events]
            if not page.next_page_token:
                return kinds
            request.page_token = page.next_page_token

    def assert_reported(self, runs: Sequence[imports_pb2.ImportRun], *, repeats: int = 0) -> None:
        """Each run has one report, and its mail came once; `repeats` may have come again, with the same Message-ID."""
        expected = {run.name for run in runs}

        def sent() -> dict[str, list[messages_pb2.Message]]:
            found = [message for message in self._messages() if message.about in expected]  # not letters to people
            done = all(message.state == messages_pb2.MESSAGE_STATE_SENT for message in found)
            return {run: [m for m in found if m.about == run] for run in expected} if done and found else {}

        by_run = wait_until(
            lambda: reports if (reports := sent()) and all(reports.values()) else None,
            timeout_s=60,
            what="every report to be sent",
        )
        assert by_run is not None
        assert {run: len(messages) for run, messages in by_run.items()} == dict.fromkeys(expected, 1)
        ids = [message.message_id for messages in by_run.values() for message in messages]
        mails = self.smtp_sink.wait_for(len(ids), to=self.customer.report_to)
        came = [mail.message_id for mail in mails if mail.message_id in ids]
        assert set(came) == set(ids)
        assert len(came) - len(ids) <= repeats

    def mails(self) -> Sequence[ReceivedMail]:
        """All mails for this customer."""
        return self.smtp_sink.mails(self.customer.report_to)

    def close(self) -> None:
        """Wait for the thread of `begin`."""
        self._threads.shutdown()

    def _run(self) -> imports_pb2.ImportRun | None:
        self._progress = importer_pb2.Progress()
        with suppress(grpc.RpcError):
            for answer in self.system.importer.RunSource(importer_pb2.RunSourceRequest(source=self.source)):
                self._progress = answer.progress
                if answer.HasField("import_run"):
                    run: imports_pb2.ImportRun = answer.import_run
                    return run
        return None

    def _reached(self, point: Point) -> Point | None:
        """Where the night is, once that is at `point` or past it."""
        run, progress = self.run(), self._progress
        if is_at_rest(run):
            now = Point.AT_REST
        elif status_of(run) == "applying":
            now = Point.APPLYING
        elif status_of(run) == "planned":
            now = Point.PLANNING  # its importer has not called ApplyImport yet
        elif progress.rows_total and progress.rows_sent >= progress.rows_total:
            now = Point.PLANNING
        elif progress.rows_sent:
            now = Point.STAGING
        else:
            return None
        return now if now >= point else None

    def _messages(self) -> list[messages_pb2.Message]:
        request = messages_pb2.ListMessagesRequest(tenant=self.customer.tenant, page_size=1000)
        found: list[messages_pb2.Message] = []
        while True:
            page = self.system.messages.ListMessages(request)
            found += page.messages
            if not page.next_page_token:
                return found
            request.page_token = page.next_page_token


def first_file(rows: int) -> list[dict[str, str]]:
    """Everyone in group A."""
    return [a_row(number, Groups="A") for number in range(1, rows + 1)]


def second_file(rows: int) -> list[dict[str, str]]:
    """A tenth has left, a tenth has new mails, a tenth has moved to group B, a tenth is new: all within the limits."""
    tenth = rows // 10
    moved = [a_row(number, Groups="B") for number in range(1, tenth + 1)]
    renamed = [a_row(number, Groups="A", Mail=f"new{number}@example.org") for number in range(tenth + 1, 2 * tenth + 1)]
    same = [a_row(number, Groups="A") for number in range(2 * tenth + 1, rows - tenth + 1)]
    joined = [a_row(number, Groups="B") for number in range(rows + 1, rows + tenth + 1)]
    return [*moved, *renamed, *same, *joined]


def register_of_rows(rows: Sequence[dict[str, str]]) -> Register:
    """The register that equals a file of these rows."""
    return frozenset((row["UniqueID"], row["Mail"], row["Name"], (f"Group {row['Groups']}",)) for row in rows)
