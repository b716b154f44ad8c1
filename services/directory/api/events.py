"""EventService: one tenant's log, and the stream that other services follow."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

import base64
import binascii
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from datetime import datetime
from typing import Any, Final

import grpc
from google.protobuf.struct_pb2 import Struct
from muster.directory.v1 import events_pb2 as pb
from muster.directory.v1 import events_pb2_grpc
from sqlmodel import Session

from services.directory.api import access, pages
from services.directory.api.servicer import Resources, Servicer, WatchSlots, lock_wait_s, timestamp
from services.directory.operations import events, subscriptions
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument
from services.directory.store.events import BEGINNING, END, GROUP_LISTS, MEMORY, AnyEvent, Cursor, Order, Sought

MOST_TENANT_WATCHERS: Final = 4
"""Of the server's watchers, how many may follow one tenant's events each."""

POLL_S: Final = 0.2
LOOKS_APART_S: Final = 0.25
"""How long after a look for events the next one is: writers under load commit hundreds of times a second."""
CHECKPOINT_S: Final = 5.0
_BATCH: Final = 500


class EventServicer(Servicer, events_pb2_grpc.EventServiceServicer):
    """Reads the event log."""

    def __init__(self, resources: Resources) -> None:
        super().__init__(resources)
        self._tenant_watchers = WatchSlots(MOST_TENANT_WATCHERS)

    def ListEvents(self, request: pb.ListEventsRequest, context: grpc.ServicerContext) -> pb.ListEventsResponse:
        """Page through one tenant's events in commit order, or against it."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        sought = Sought(
            kinds=events.check_kinds([request.kind] if request.kind else [], field="kind"),
            tenant_id=tenant_id,
            run_id=_run_id(request, tenant_id),
            resource=names.parse_resource(request.resource, tenant_id=tenant_id, field="resource")
            if request.resource
            else None,
        )
        order, start = (Order.NEWEST_FIRST, END) if request.newest_first else (Order.OLDEST_FIRST, BEGINNING)
        page = pages.page_of(request, start=start)
        with self.store.read(tenant_id) as session:
            found = events.list_events(
                session,
                sought,
                log=events.Log.ARCHIVE if request.archived else events.Log.CURRENT,
                order=order,
                beyond=(page.after[0], page.after[1]),
                limit=page.limit,
            )
        kept, token = page.cut(found, lambda event: (event.xid, event.position))
        return pb.ListEventsResponse(events=map(event_message, kept), next_page_token=token)

    def WatchEvents(
        self, request: pb.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchEventsResponse]:
        """Stream events from the cursor on, with a checkpoint every few seconds, until the client goes."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant") if request.tenant else None
        access.require(context, tenant_id or 0)
        if tenant_id and request.subscription:
            raise InvalidArgument([("subscription", "follows all tenants: leave it or the tenant empty")])
        sought = Sought(kinds=events.check_kinds(request.kinds, field="kinds"), tenant_id=tenant_id)
        cursor = _parse_cursor(request.cursor)
        # What tenants follow leaves places to the services that follow all.
        with self._tenant_watchers.take() if tenant_id else nullcontext(), self.watchers.take():
            if request.subscription:
                cursor = self._open(request, sought.kinds, cursor)
            yield from self._follow(sought, cursor, context)

    def AcknowledgeEvents(
        self, request: pb.AcknowledgeEventsRequest, context: grpc.ServicerContext
    ) -> pb.AcknowledgeEventsResponse:
        """Move a subscription forward."""
        access.require(context, 0)
        cursor = _parse_cursor(request.cursor)
        with self.store.write(None, wait_s=lock_wait_s(context)) as session:
            subscriptions.acknowledge(session, request.subscription, cursor, now=self.clock())
        return pb.AcknowledgeEventsResponse()

    def ListSubscriptions(
        self, _request: pb.ListSubscriptionsRequest, context: grpc.ServicerContext
    ) -> pb.ListSubscriptionsResponse:
        """Read all subscriptions."""
        access.require(context, 0)
        with self.store.read(None) as session:
            found = subscriptions.list_subscriptions(session, now=self.clock())
            return pb.ListSubscriptionsResponse(subscriptions=map(_subscription_message, found))

    def DeleteSubscription(
        self, request: pb.DeleteSubscriptionRequest, context: grpc.ServicerContext
    ) -> pb.DeleteSubscriptionResponse:
        """Forget a subscription."""
        access.require(context, 0)

        def work(session: Session, _now: datetime) -> pb.DeleteSubscriptionResponse:
            subscriptions.delete_subscription(session, request.subscription)
            return pb.DeleteSubscriptionResponse()

        return self.write_once(request, context, None, pb.DeleteSubscriptionResponse, work)

    def _open(self, request: pb.WatchEventsRequest, kinds: Sequence[str], cursor: Cursor) -> Cursor:
        with self.store.write(None) as session:
            return subscriptions.open_subscription(
                session,
                request.subscription,
                kinds=kinds,
                cursor=cursor if request.cursor else None,
                now=self.clock(),
            )

    def _follow(
        self, sought: Sought, cursor: Cursor, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchEventsResponse]:
        said_at = time.monotonic()
        gone = threading.Event()  # its place is free as soon as the client has gone, and not after a pause
        context.add_callback(gone.set)
        while context.is_active():
            commits, looked_at = self.store.commits.count, time.monotonic()
            with self.store.read(sought.tenant_id) as session:
                batch = events.next_events(session, sought, after=cursor, limit=_BATCH)
            for event in batch.events:
                place = (event.xid, event.position)
                yield pb.WatchEventsResponse(event=event_message(event), cursor=_format_cursor(place))
            cursor = batch.cursor
            if batch.events:
                said_at = time.monotonic()
            if len(batch.events) == _BATCH:
                continue
            if time.monotonic() - said_at >= CHECKPOINT_S:
                said_at = time.monotonic()
                yield pb.WatchEventsResponse(cursor=_format_cursor(cursor))
            self.store.commits.wait(commits, timeout_s=POLL_S)
            gone.wait(max(0.0, looked_at + LOOKS_APART_S - time.monotonic()))


def event_message(event: AnyEvent) -> pb.Event:
    """Write an event; the ids of groups and of a user that it keeps are shown as names."""
    tenant_id = event.tenant_id
    actor = event.actor
    if event.actor_source_id:
        actor = names.SOURCE.format(tenant_id, event.actor_source_id)
    return pb.Event(
        name=names.EVENT.format(tenant_id, event.position),
        time=timestamp(event.time),
        actor=actor,
        kind=event.kind,
        resource=names.format_resource(event.resource_kind, tenant_id, event.resource_id),
        fields=sorted({*(event.before or {}), *(event.after or {})} - {MEMORY}),
        before=_struct(tenant_id, event.before),
        after=_struct(tenant_id, event.after),
        import_run=names.format_optional(names.IMPORT_RUN, tenant_id, event.run_id),
    )


def _struct(tenant_id: int, values: dict[str, Any] | None) -> Struct | None:
    if values is None:
        return None
    shown = {name: value for name, value in values.items() if name != MEMORY}
    for listed in shown.keys() & GROUP_LISTS:
        shown[listed] = [names.GROUP.format(tenant_id, int(group_id)) for group_id in shown[listed]]
    if isinstance(shown.get("user"), int):
        shown["user"] = names.USER.format(tenant_id, shown["user"])
    written = Struct()
    written.update(shown)
    return written


def _run_id(request: pb.ListEventsRequest, tenant_id: int) -> int:
    if not request.import_run:
        return 0
    return names.parse_within(names.IMPORT_RUN, request.import_run, tenant_id=tenant_id, field="import_run")


def _subscription_message(view: subscriptions.SubscriptionView) -> pb.Subscription:
    kept = view.subscription
    place = (kept.xid, kept.position)
    return pb.Subscription(
        name=kept.name,
        kinds=kept.kinds,
        cursor="" if place == BEGINNING else _format_cursor(place),
        behind_seconds=max(0, int(view.behind.total_seconds())),
        create_time=timestamp(kept.create_time),
        update_time=timestamp(kept.update_time),
    )


def _format_cursor(place: Cursor) -> str:
    return base64.urlsafe_b64encode(f"{place[0]}.{place[1]}".encode()).decode().rstrip("=")


def _parse_cursor(text: str) -> Cursor:
    if not text:
        return BEGINNING
    try:
        padded = text + "=" * (-len(text) % 4)
        xid, position = base64.b64decode(padded, altchars=b"-_", validate=True).decode("ascii").split(".")
        place = (int(xid), int(position))
    except (binascii.Error, ValueError):
        place = None
    if place is None or not all(abs(part) < 2**63 for part in place):
        raise InvalidArgument([("cursor", "was not made by this method")])
    return place
