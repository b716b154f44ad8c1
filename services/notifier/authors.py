"""Know for each event which mails it asks for, to whom, and who gathers and words them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import grpc.aio
from muster.directory.v1 import events_pb2

from services.notifier.license_mail import render_warning
from services.notifier.license_warning import LICENSE_REFUSED, LicenseWarningReader
from services.notifier.mail import STANDARD, Mail, Templates
from services.notifier.notice_mail import render_notice
from services.notifier.notices import CONNECTION_FAILING, LICENSE_FULL, LICENSE_NEAR_FULL, SOURCE_PAUSED, NoticeReader
from services.notifier.people import PERSON_KINDS, PeopleReader
from services.notifier.person_mail import render_letter
from services.notifier.render import render
from services.notifier.report import ReportReader
from services.notifier.report_data import Outcome
from services.notifier.tables import MessageKind, Priority

USER_ERASED = "user.erased"
_NOTICES = (LICENSE_NEAR_FULL, LICENSE_FULL, SOURCE_PAUSED, CONNECTION_FAILING)
KINDS = ("run.*", LICENSE_REFUSED, *_NOTICES, USER_ERASED, *PERSON_KINDS)
"""Kinds of events that are followed."""


@dataclass(frozen=True)
class Occasion:
    """Something to mail: each address with its mail, which is gathered and worded by `write`.

    `mentions` are the people it is written to; whom else a mail names, the mail itself says.
    """

    kind: MessageKind
    letters: Sequence[tuple[str, Callable[[], Awaitable[Mail]]]]
    language: str = ""
    priority: Priority = Priority.REPORT
    mentions: tuple[str, ...] = ()


class Authors:
    """Everyone who writes mails, behind one channel to the directory. Methods raise grpc.aio.AioRpcError."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        *,
        admin_url: str = "",
        templates: Templates = STANDARD,
        now: Callable[[], datetime],
    ) -> None:
        self.templates = templates
        self._reports = ReportReader(channel, admin_url=admin_url)
        self._warnings = LicenseWarningReader(channel, admin_url=admin_url)
        self._notices = NoticeReader(channel, admin_url=admin_url)
        self._people = PeopleReader(channel, now=now)

    async def prepare(self, events: Sequence[events_pb2.Event]) -> None:
        """Read at once what the next events will need, since they may be thousands of one kind."""
        await self._people.prepare(events)

    async def occasion(self, event: events_pb2.Event) -> Occasion | None:
        """Say what the event asks to be mailed, and to whom; None when nothing is, or to nobody."""
        if event.kind == LICENSE_REFUSED:
            return await self._warning(event)
        if event.kind in _NOTICES:
            return await self._notice(event)
        if self._people.concerns(event):
            return await self._letter(event)
        return await self._report(event)

    async def _report(self, event: events_pb2.Event) -> Occasion | None:
        reportable = await self._reports.reportable(event)
        if reportable is None:
            return None

        async def write() -> Mail:
            return render(await self._reports.gather(reportable), self.templates)

        kind = MessageKind.NO_FILE if reportable.outcome is Outcome.NO_FILE else MessageKind.REPORT
        return Occasion(kind, _the_same(reportable.readers.addresses, write), reportable.source.language)

    async def _warning(self, event: events_pb2.Event) -> Occasion | None:
        shortage = await self._warnings.shortage(event)
        if shortage is None:
            return None

        async def write() -> Mail:
            return render_warning(await self._warnings.gather(shortage), self.templates)

        return Occasion(MessageKind.LICENSE, _the_same(shortage.readers.addresses, write), shortage.source.language)

    async def _notice(self, event: events_pb2.Event) -> Occasion | None:
        notice = await self._notices.of_event(event)
        if notice is None:
            return None

        async def write() -> Mail:
            return render_notice(notice, self.templates)

        return Occasion(notice.kind, _the_same(notice.readers.addresses, write), notice.language)

    async def _letter(self, event: events_pb2.Event) -> Occasion | None:
        letters = await self._people.letters(event)
        if not letters:
            return None
        first = letters[0]

        def writing(position: int) -> Callable[[], Awaitable[Mail]]:
            async def write() -> Mail:
                return render_letter(letters[position], self.templates)

            return write

        written = [(letter.recipient, writing(position)) for position, letter in enumerate(letters)]
        return Occasion(first.kind, written, first.language, first.priority, (first.user,))


def _the_same(
    recipients: Sequence[str], write: Callable[[], Awaitable[Mail]]
) -> Sequence[tuple[str, Callable[[], Awaitable[Mail]]]]:
    """Write once what all of them get."""
    written: list[Mail] = []

    async def write_once() -> Mail:
        if not written:
            written.append(await write())
        return written[0]

    return [(recipient, write_once) for recipient in recipients]
