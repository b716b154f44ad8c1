"""Follow the directory's event stream and queue the mails each event asks for."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from email.utils import parseaddr

import grpc
import grpc.aio
import structlog
from muster.directory.v1 import events_pb2, events_pb2_grpc
from muster.runtime.errors import failure_of
from muster.runtime.telemetry import fault_of

from services.notifier.authors import KINDS, USER_ERASED, Authors, Occasion
from services.notifier.cancellation import heed_cancellation
from services.notifier.license_warning import LICENSE_REFUSED
from services.notifier.mail import Mail
from services.notifier.messages import Bundle, CursorMovedError, Draft, MessageKind, MessageStore
from services.notifier.read_ahead import ReadAhead
from services.notifier.readers import tenant_of
from services.notifier.report_data import Outcome
from services.notifier.tables import PERSONAL

log = structlog.get_logger()

SUBSCRIPTION = "notifier"
"""Under this name the directory is told how far the events are dealt with, so that it archives none before."""
MOST_TRIES = 8
"""Times an event is tried whose mail the directory answers with an error of its own, before it is given up."""

_AT_ONCE = 200  # events whose messages are stored together
_SILENCE_S = 60.0  # checkpoints come every few seconds; after this long the connection is dead
_FIRST_WAIT_S = 0.2
_LAST_WAIT_S = 10.0
_STANDBY_S = 2.0
_ACKNOWLEDGED_WITHIN_S = 5.0
_WAITED_FOR = (
    grpc.StatusCode.UNAVAILABLE,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.CANCELLED,
    grpc.StatusCode.UNAUTHENTICATED,  # our own token: somebody will set it right
    grpc.StatusCode.PERMISSION_DENIED,
)

Answer = events_pb2.WatchEventsResponse


class Follower:
    """Follows the stream from the stored cursor. Messages and the new cursor are stored together.

    Whatever the directory's trouble, the cursor stays before the event it could not deal with. Only an event that
    fails by itself is stored as a failed message and passed, so that it blocks no other. Of several replicas that
    follow, one stores what an event asks for; the others find the cursor moved, store nothing, and go on from there.
    """

    def __init__(
        self,
        channel: grpc.aio.Channel,
        store: MessageStore,
        authors: Authors,
        *,
        sender: str,
        now: Callable[[], datetime],
        queued: Callable[[], None],
    ) -> None:
        self._events = events_pb2_grpc.EventServiceStub(channel)
        self._store = store
        self._authors = authors
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
            except CursorMovedError:
                self._wait_s = _STANDBY_S * random.uniform(0.5, 1.5)  # noqa: S311 - only that replicas differ
                log.info("events.dealt_with_elsewhere", retry_in_s=self._wait_s)
            except grpc.aio.AioRpcError as error:
                failure = failure_of(error)
                log.warning("events.interrupted", reason=failure.reason, retry_in_s=self._wait_s)
            except TimeoutError:
                log.warning("events.silent", retry_in_s=self._wait_s)
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(_LAST_WAIT_S, self._wait_s * 2)

    async def follow(self) -> None:
        """Deal with events until the stream ends. Errors: AioRpcError, TimeoutError after silence, CursorMovedError."""
        cursor = await asyncio.to_thread(self._store.cursor)
        is_known = await self._acknowledge(cursor)
        name = "" if is_known else SUBSCRIPTION  # its first watch makes it, where this store is
        call = self._events.WatchEvents(events_pb2.WatchEventsRequest(cursor=cursor, kinds=KINDS, subscription=name))
        try:
            async with ReadAhead[Answer](call, most=_AT_ONCE, silence_s=_SILENCE_S) as ahead:
                while answers := await ahead.next():
                    heed_cancellation()
                    reached = await self._deal_with(answers, after=cursor)
                    self._wait_s = _FIRST_WAIT_S
                    if reached != cursor:
                        cursor = reached
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

    async def _deal_with(self, answers: Sequence[Answer], *, after: str) -> str:
        """Store what the events ask for; what was made before an event fails is stored before the error is raised."""
        await self._authors.prepare([answer.event for answer in answers if answer.HasField("event")])
        bundles: list[Bundle] = []
        stored = reached = after
        try:
            for answer in answers:
                bundle = await self._bundle(answer.event) if answer.HasField("event") else None
                reached = answer.cursor
                bundles += [bundle] if bundle else []
                if bundle and not all(draft.kind in PERSONAL for draft in bundle.drafts):
                    stored = await self._stored(bundles, stored, reached)  # a report waits for no thousand others
                    bundles = []
        finally:
            if reached != stored:
                stored = await self._stored(bundles, stored, reached)
        return stored

    async def _stored(self, bundles: Sequence[Bundle], after: str, cursor: str) -> str:
        heed_cancellation()
        for bundle in bundles:
            self._tries.pop(bundle.event, None)
        queued = await asyncio.to_thread(self._store.queue, bundles, now=self._now(), after=after, cursor=cursor)
        if queued:
            log.info("mail.queued", messages=queued, events=len(bundles))
            self._queued()
        return cursor

    async def _bundle(self, event: events_pb2.Event) -> Bundle | None:
        tenant = tenant_of(event.name)
        if event.kind == USER_ERASED:
            return Bundle(tenant, event.name, event.resource, erased_user=event.resource)
        drafts = await self._drafts(event)
        return Bundle(tenant, event.name, event.resource, drafts) if drafts else None

    async def _drafts(self, event: events_pb2.Event) -> list[Draft]:
        occasion: Occasion | None = None
        try:
            occasion = await self._authors.occasion(event)
            if occasion is None:
                return []
            return [
                self._draft(event, occasion, position, await write())
                for position, (_, write) in enumerate(occasion.letters)
            ]
        except grpc.aio.AioRpcError as error:
            if self._worth_another_try(event, error):
                raise
            reason = failure_of(error).reason
            log.error("mail.not_gathered", about=event.resource, reason=reason)
            return self._failed(event, occasion, f"the directory answered {reason}")
        except Exception as error:  # noqa: BLE001 - outermost; it logs
            log.error("mail.not_rendered", about=event.resource, **fault_of(error))
            return self._failed(event, occasion, f"the mail could not be rendered: {type(error).__name__}")

    def _worth_another_try(self, event: events_pb2.Event, error: grpc.aio.AioRpcError) -> bool:
        """Wait for a directory that is down; try other errors a few times, since they may be the event's own."""
        if error.code() in _WAITED_FOR:
            return True
        tries = self._tries.get(event.name, 0) + 1
        self._tries[event.name] = tries
        return tries < MOST_TRIES and error.code() is not grpc.StatusCode.NOT_FOUND

    def _draft(self, event: events_pb2.Event, occasion: Occasion, position: int, mail: Mail) -> Draft:
        recipient = occasion.letters[position][0]
        moment = event.time.ToDatetime(tzinfo=UTC)
        return Draft(
            recipient=recipient,
            kind=occasion.kind,
            message_id=message_id(event.name, moment, _reader(occasion, position), self._domain),
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            attachment_name=mail.attachment_name,
            attachment=mail.attachment,
            urgent=mail.urgent,
            priority=occasion.priority,
            mentions=occasion.mentions + mail.mentions,
        )

    def _failed(self, event: events_pb2.Event, occasion: Occasion | None, error: str) -> list[Draft]:
        """Show in the list of messages what was not mailed, to whom it would have gone as far as that is known."""
        kind = occasion.kind if occasion else _kind(event)
        subject = self._authors.templates.words(occasion.language if occasion else "").say(f"not_made.{kind.name}")
        moment = event.time.ToDatetime(tzinfo=UTC)
        if occasion is None:
            return [Draft("", kind, message_id(event.name, moment, "", self._domain), subject, error=error)]
        return [
            Draft(
                recipient,
                kind,
                message_id(event.name, moment, _reader(occasion, position), self._domain),
                subject,
                error=error,
                mentions=occasion.mentions,
            )
            for position, (recipient, _) in enumerate(occasion.letters)
        ]


def message_id(event: str, moment: datetime, reader: str, domain: str) -> str:
    """Make the id from the event and its reader alone, so that it is the same even if this store was lost."""
    known = f"{event} {moment.isoformat()} {reader}".encode()
    digest = hashlib.blake2b(known, digest_size=10).hexdigest()
    return f"<{moment:%Y%m%dT%H%M%SZ}.{digest}@{domain}>"


def _reader(occasion: Occasion, position: int) -> str:
    """Tell an event's readers apart; a person's address is not in it, since the id outlives an erasure."""
    return str(position) if occasion.kind in PERSONAL else occasion.letters[position][0]


def _kind(event: events_pb2.Event) -> MessageKind:
    kinds = {
        LICENSE_REFUSED: MessageKind.LICENSE,
        "license.near_full": MessageKind.LICENSE,
        "license.full": MessageKind.LICENSE,
        f"run.{Outcome.NO_FILE.value}": MessageKind.NO_FILE,
        "source.paused": MessageKind.CONNECTION,
        "connection.failing": MessageKind.CONNECTION,
        "invitation.created": MessageKind.INVITATION,
        "invitation.resent": MessageKind.INVITATION,
        "user.taken_over": MessageKind.LOGIN_AGAIN,
        "user.updated": MessageKind.MAIL_CHANGED,
        "user.password_reset_requested": MessageKind.PASSWORD_RESET,
    }
    return kinds.get(event.kind, MessageKind.REPORT)
