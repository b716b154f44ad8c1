"""ScimActivityService: requests in, operations, answers out."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from datetime import UTC
from typing import Final

import grpc
from muster.directory.v1 import scim_activity_pb2 as pb
from muster.directory.v1 import scim_activity_pb2_grpc

from services.directory.api import access, pages
from services.directory.api.servicer import Servicer, lock_wait_s, timestamp
from services.directory.operations import activity
from services.directory.operations.activity_keys import find_shown
from services.directory.operations.connection_health import last_hour
from services.directory.rules import names
from services.directory.rules.activity import Asked
from services.directory.rules.errors import InvalidArgument, Unauthenticated
from services.directory.store.activity_tables import ConnectionQuirk, ConnectionRequest
from services.directory.store.session import Lock

_BEYOND_ALL: Final = 2**62
_STATUSES: Final = {
    pb.ACTIVITY_STATUS_UNSPECIFIED: (0, 600),
    pb.ACTIVITY_STATUS_SERVED: (0, 400),
    pb.ACTIVITY_STATUS_REFUSED: (400, 500),
    pb.ACTIVITY_STATUS_UNSERVED: (500, 600),
    pb.ACTIVITY_STATUS_ERROR: (400, 600),
}


class ScimActivityServicer(Servicer, scim_activity_pb2_grpc.ScimActivityServiceServicer):
    """Keeps what identity providers asked, and shows it."""

    def RecordActivity(
        self, request: pb.RecordActivityRequest, context: grpc.ServicerContext
    ) -> pb.RecordActivityResponse:
        """Keep requests that showed one credential."""
        now = self.clock()
        with self.store.read(None) as session:
            shown = find_shown(session, request.credential, pepper=self.pepper, now=now)
        if shown is None:
            raise Unauthenticated
        asked = [_asked(each) for each in request.requests]
        # No writer of the register is in the way of this, and it is in the way of none.
        with self.store.write(shown.tenant_id, lock=Lock.NONE, wait_s=lock_wait_s(context)) as session:
            return pb.RecordActivityResponse(recorded=activity.record(session, shown, asked, request.dropped, now=now))

    def ListActivity(self, request: pb.ListActivityRequest, context: grpc.ServicerContext) -> pb.ListActivityResponse:
        """Page through a connection's requests."""
        tenant_id, source_id = names.parse(names.SOURCE, request.source, field="source")
        access.require(context, tenant_id)
        if request.status not in _STATUSES:
            raise InvalidArgument([("status", "must be one of ActivityStatus")])
        since = request.since.ToDatetime(tzinfo=UTC) if request.HasField("since") else None
        sought = activity.Sought(_STATUSES[request.status], since)
        page = pages.page_of(request, start=(_BEYOND_ALL,))
        with self.store.read(tenant_id) as session:
            found = activity.list_requests(
                session, tenant_id, source_id, sought, before=page.after[0], limit=page.limit
            )
        kept, token = page.cut(found, lambda each: (each.number,))
        return pb.ListActivityResponse(requests=map(_message, kept), next_page_token=token)

    def GetActivitySummary(
        self, request: pb.GetActivitySummaryRequest, context: grpc.ServicerContext
    ) -> pb.GetActivitySummaryResponse:
        """Say how a connection is doing."""
        tenant_id, source_id = names.parse(names.SOURCE, request.source, field="source")
        access.require(context, tenant_id)
        with self.store.read(tenant_id) as session:
            health = activity.read_health(session, tenant_id, source_id)
            hour = last_hour(session, health, self.clock())
            quirks = activity.read_quirks(session, tenant_id, source_id)
        return pb.GetActivitySummaryResponse(
            requests=hour.requests,
            failures=hour.failures,
            failing_since=timestamp(health.failing_since) if health.failing_since else None,
            last_success_time=timestamp(health.last_success_time) if health.last_success_time else None,
            dropped=health.dropped,
            quirks=map(_quirk_count, quirks),
        )


def _asked(message: pb.ScimRequest) -> Asked:
    return Asked(
        request_id=message.request_id,
        time=message.time.ToDatetime(tzinfo=UTC),
        method=message.method,
        path=message.path,
        status=message.status,
        shape=message.shape,
        scim_type=message.scim_type,
        problem=message.problem,
        detail=message.detail,
        cure=message.cure,
        quirks={quirk.name: quirk.cure for quirk in message.quirks},
        effects={effect.kind: effect.count for effect in message.effects},
        duration_ms=message.duration_ms,
    )


def _message(kept: ConnectionRequest) -> pb.ScimRequest:
    return pb.ScimRequest(
        request_id=kept.request_id,
        time=timestamp(kept.time),
        method=kept.method,
        path=kept.path,
        shape=kept.shape,
        status=kept.status,
        scim_type=kept.scim_type,
        problem=kept.problem,
        detail=kept.detail,
        cure=kept.cure,
        quirks=[pb.ScimQuirk(name=name) for name in kept.quirks],
        effects=[pb.ScimEffect(kind=kind, count=count) for kind, count in kept.effects.items()],
        duration_ms=kept.duration_ms,
        key_id=kept.key_id,
    )


def _quirk_count(kept: ConnectionQuirk) -> pb.QuirkCount:
    return pb.QuirkCount(
        quirk=pb.ScimQuirk(name=kept.quirk, cure=kept.cure),
        count=kept.count,
        first_time=timestamp(kept.first_time),
        last_time=timestamp(kept.last_time),
    )
