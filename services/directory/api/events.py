"""EventService: one tenant's log, and the stream that other services follow."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

import base64
import binascii
import time
from collections.abc import Iterator
from typing import Any, Final

import grpc
from google.protobuf.struct_pb2 import Struct
from muster.directory.v1 import events_pb2 as pb
from muster.directory.v1 import events_pb2_grpc

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, timestamp
from services.directory.operations import events
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument
from services.directory.store.events import BEGINNING, Cursor
from services.directory.store.tables import Event

POLL_S: Final = 0.2
CHECKPOINT_S: Final = 5.0
_BATCH: Final = 500


class EventServicer(Servicer, events_pb2_grpc.EventServiceServicer):
    """Reads the event log."""

    def ListEvents(self, request: pb.ListEventsRequest, context: grpc.ServicerContext) -> pb.ListEventsResponse:
        """Page through one tenant's events in commit order."""
        tenant_id = names.parse_tenant(request.tenant, field="tenant")
        access.require(context, tenant_id)
        run_id = 0
        if request.import_run:
            run_id = names.parse_within(names.IMPORT_RUN, request.import_run, tenant_id=tenant_id, field="import_run")
        page = pages.page_of(request, start=BEGINNING)
        with self.store.read(tenant_id) as session:
            found = events.list_events(
                session,
                tenant_id,
                kind=request.kind,
                run_id=run_id,
                after=(page.after[0], page.after[1]),
                limit=page.limit,
            )
        kept, token = page.cut(found, lambda event: (event.xid, event.position))
        return pb.ListEventsResponse(events=map(event_message, kept), next_page_token=token)

    def WatchEvents(
        self, request: pb.WatchEventsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.WatchEventsResponse]:
        """Stream all tenants' events from the cursor on, with a checkpoint every few seconds, until the client goes."""
        access.require(context, 0)
        kinds = events.check_kinds(request.kinds, field="kinds")
        cursor = _parse_cursor(request.cursor)
        with self.watchers.take():
            said_at = time.monotonic()
            while context.is_active():
                commits = self.store.commits.count
                with self.store.read(None) as session:
                    batch = events.next_events(session, kinds, after=cursor, limit=_BATCH)
                for event in batch.events:
                    place = (event.xid, event.position)
                    yield pb.WatchEventsResponse(event=event_message(event), cursor=_format_cursor(place))
                cursor = batch.cursor
                if batch.events:
                    said_at = time.monotonic()
                    continue
                if time.monotonic() - said_at >= CHECKPOINT_S:
                    said_at = time.monotonic()
                    yield pb.WatchEventsResponse(cursor=_format_cursor(cursor))
                self.store.commits.wait(commits, timeout_s=POLL_S)


def event_message(event: Event) -> pb.Event:
    """Write an event; the ids of groups that it keeps are shown as names."""
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
        fields=sorted({*(event.before or {}), *(event.after or {})}),
        before=_struct(tenant_id, event.before),
        after=_struct(tenant_id, event.after),
        import_run=names.format_optional(names.IMPORT_RUN, tenant_id, event.run_id),
    )


def _struct(tenant_id: int, values: dict[str, Any] | None) -> Struct | None:
    if values is None:
        return None
    shown = dict(values)
    if "groups" in shown:
        shown["groups"] = [names.GROUP.format(tenant_id, int(group_id)) for group_id in shown["groups"]]
    written = Struct()
    written.update(shown)
    return written


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
