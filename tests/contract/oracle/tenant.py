"""A tenant whose provider calls the gateway directly."""

from __future__ import annotations

import json
from typing import Any

from muster.directory.v1 import sources_pb2

from tests.contract.direct import Direct, Request
from tests.integration.directory.serving import Caller, Office


class Tenant:
    """A connection and its key, and what an administrator sees."""

    def __init__(self, gateway: Direct, support: Caller, *, seats: int):
        self._gateway = gateway
        self.office = Office(support, seats=seats)
        source = self.office.scim_source(guard=sources_pb2.GUARD_OFF)
        self._headers = {
            "Authorization": f"Bearer {self.office.api_key(source.name).secret}",
            "Content-Type": "application/scim+json",
            "Host": "scim.example.org",
        }

    def ask(self, request: Request) -> tuple[int, Any]:
        """Make a request; gives status and body."""
        headers = {**self._headers, **request.headers}
        answer = self._gateway.ask(Request(request.method, request.target, request.body, headers))
        return answer.status, json.loads(answer.body) if answer.body else None

    def seats_used(self) -> int:
        """How many seats are taken."""
        return self.office.seats().seats_used
