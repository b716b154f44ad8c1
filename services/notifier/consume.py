"""Follow the directory's event stream and queue the mails each event asks for."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterable, Callable
from datetime import UTC, datetime
from email.utils import parseaddr

import grpc
import grpc.aio
import structlog
from muster.directory.v1 import events_pb2, events_pb2_grpc
from muster.runtime.errors import failure_of
from muster.runtime.telemetry import fault_of

from services.notifier.cancellation import heed_cancellation
from services.notifier.license_mail import render_warning
from services.notifier.license_warning import LICENSE_REFUSED, LicenseWarningReader, Shortage
from services.notifier.mail import Mail
from services.notifier.messages import Draft, MessageKind, MessageStore
from services.notifier.render import render
from services.notifier.report import Reportable, ReportReader, tenant_of
from services.notifier.report_data import Outcome
from services.notifier.words import words_in

log = structlog.get_logger()

KINDS = ("run.*", LICENSE_REFUSED)
SUBSCRIPTION = "notifier"
"""Under this name the directory is told how far the events are dealt with, so that it archives none before."""
MOST_TRIES = 8
"""Times an event is tried whose mail the directory answers with an error of its own, before it is given up."""

_SILENCE_S = 60.0  # checkpoints come every few seconds; after this long the connection is dead
_FIRST_WAIT_S = 0.2
_LAST_WAIT_S = 10.0
_ACKNOWLEDGED_WITHIN_S = 5.0
_WAITED_FOR = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNAUTHENTICATED,  # our own token: somebody will set it right
    grpc.StatusCode.PERMISSION_DENIED,
)


class Follower:
    """Follows the stream from the stored cursor. Each event's messages and the new cursor are stored together.

    Whatever the directory's trouble, the cursor stays before the event it could not deal with. Only an event that
    fails by itself is stored as a failed message and passed, so that it blocks no other.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        store: MessageStore,
        reports: ReportReader,
        warnings: LicenseWarningReader,
        *,
        sender: str,
        now: Callable[[], datetime],
        queued: Callable[[], None],
    ) -> None:
        self._events = events_pb2_grpc.EventServiceStub(channel)
        self._store = store
        self._reports = reports
        self._warnings = warnings
        self._domain = parseaddr(sender)[1].rpartition("@")[2]
        self._now = now
        self._queued = queued
        self._tries: dict[str, int] = {}
        self._wait_s = _FIRST_WAIT_S

    async def run(self) -> None:
        """Follow for ever; reconnect with a back-off."""
        while True:
            try:
                await self.follow()
            except grpc.aio.AioRpcError as error:
                failure = failure_of(error)
                log.warning("events.interrupted", reason=failure.reason, retry_in_s=self._wait_s)
            except TimeoutError:
                log.warning("events.silent", retry_in_s=self._wait_s)
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(_LAST_WAIT_S, self._wait_s * 2)

    async def follow(self) -> None:
        """Deal with events until the stream ends. Errors: AioRpcError, TimeoutError after silence."""
        cursor = await asyncio.to_thread(self._store.cursor)
        is_known = await self._acknowledge(cursor)
        name = "" if is_known else SUBSCRIPTION  # its first watch makes it, where this store is
        call = self._events.WatchEvents(events_pb2.WatchEventsRequest(cursor=cursor, kinds=KINDS, subscription=name))
        try:
            while (answer := await _next(call)) is not None:
                if answer.HasField("event"):
                    await self._deal_with(answer.event, answer.cursor)
                elif answer.cursor != cursor:
                    await asyncio.to_thread(self._store.advance, answer.cursor)
                self._wait_s = _FIRST_WAIT_S
                if answer.cursor != cursor:
                    cursor = answer.cursor
                    await self._acknowledge(cursor)
        finally:
            call.cancel()

    async def _acknowledge(self, cursor: str) -> bool:
        """Tell the directory how far this store has come; the store's own cursor is what counts.

        Says whether the directory has the subscription; when it cannot be told, it has. The next cursor tells it again.
        """
        request = events_pb2.AcknowledgeEventsRequest(subscription=SUBSCRIPTION, cursor=cursor)
        try:
            await self._events.AcknowledgeEvents(request, timeout=_ACKNOWLEDGED_WITHIN_S)
        except grpc.aio.AioRpcError as error:
            heed_cancellation()
            log.info("events.not_acknowledged", reason=failure_of(error).reason)
            return error.code() is not grpc.StatusCode.NOT_FOUND
        heed_cancellation()
        return True

    async def _deal_with(self, event: events_pb2.Event, cursor: str) -> None:
        drafts = await self._drafts(event)
        heed_cancellation()
        self._tries.pop(event.name, None)
        queued = await asyncio.to_thread(
            self._store.queue,
            drafts,
            tenant=tenant_of(event.name),
            event=event.name,
            about=event.resource,
            cursor=cursor,
            now=self._now(),
        )
        if queued:
            log.info("mail.queued", about=event.resource, kind=event.kind, messages=queued)
            self._queued()

    async def _drafts(self, event: events_pb2.Event) -> list[Draft]:
        occasion: Reportable | Shortage | None = None
        try:
            occasion = await self._occasion(event)
            if occasion is None:
                return []
            mail = await self._mail(occasion)
        except grpc.aio.AioRpcError as error:
            if self._worth_another_try(event, error):
                raise
            reason = failure_of(error).reason
            log.error("mail.not_gathered", about=event.resource, reason=reason)
            return self._failed(event, occasion, f"the directory answered {reason}")
        except Exception as error:  # noqa: BLE001 - outermost; it logs
            log.error("mail.not_rendered", about=event.resource, **fault_of(error))
            return self._failed(event, occasion, f"the mail could not be rendered: {type(error).__name__}")
        return [self._draft(event, mail, recipient) for recipient in occasion.recipients]

    async def _occasion(self, event: events_pb2.Event) -> Reportable | Shortage | None:
        """Say what the event asks to be mailed, and to whom; None when nothing is, or to nobody."""
        if event.kind == LICENSE_REFUSED:
            return await self._warnings.shortage(event)
        return await self._reports.reportable(event)

    async def _mail(self, occasion: Reportable | Shortage) -> Mail:
        if isinstance(occasion, Shortage):
            return render_warning(await self._warnings.gather(occasion))
        return render(await self._reports.gather(occasion))

    def _worth_another_try(self, event: events_pb2.Event, error: grpc.aio.AioRpcError) -> bool:
        """Wait for a directory that is down; try other errors a few times, since they may be the event's own."""
        if error.code() in _WAITED_FOR:
            return True
        tries = self._tries.get(event.name, 0) + 1
        self._tries[event.name] = tries
        return tries < MOST_TRIES and error.code() is not grpc.StatusCode.NOT_FOUND

    def _draft(self, event: events_pb2.Event, mail: Mail, recipient: str) -> Draft:
        return Draft(
            recipient=recipient,
            kind=_kind(event),
            message_id=self._message_id(event, recipient),
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            attachment_name=mail.attachment_name,
            attachment=mail.attachment,
            urgent=mail.urgent,
        )

    def _failed(self, event: events_pb2.Event, occasion: Reportable | Shortage | None, error: str) -> list[Draft]:
        """Show in the list of messages what was not mailed, to whom it would have gone as far as that is known."""
        not_made = "license.not_made" if event.kind == LICENSE_REFUSED else "subject.not_made"
        subject = words_in(occasion.source.language if occasion else "").say(not_made)
        return [
            Draft(recipient, _kind(event), self._message_id(event, recipient), subject, error=error)
            for recipient in (occasion.recipients if occasion else ("",))
        ]

    def _message_id(self, event: events_pb2.Event, recipient: str) -> str:
        """Make the id from event and address alone, so that it is the same even if this store was lost."""
        moment = event.time.ToDatetime(tzinfo=UTC)
        known = f"{event.name} {moment.isoformat()} {recipient}".encode()
        digest = hashlib.blake2b(known, digest_size=10).hexdigest()
        return f"<{moment:%Y%m%dT%H%M%SZ}.{digest}@{self._domain}>"


def _kind(event: events_pb2.Event) -> MessageKind:
    kinds = {LICENSE_REFUSED: MessageKind.LICENSE, f"run.{Outcome.NO_FILE.value}": MessageKind.NO_FILE}
    return kinds.get(event.kind, MessageKind.REPORT)


async def _next(
    call: AsyncIterable[events_pb2.WatchEventsResponse],
) -> events_pb2.WatchEventsResponse | None:
    """Read the next answer; None at the end of the stream."""
    async with asyncio.timeout(_SILENCE_S):
        answer = await anext(aiter(call), None)
    heed_cancellation()
    return answer
