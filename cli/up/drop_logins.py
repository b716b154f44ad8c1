"""Whom the drop lets in: the directory's logins, remembered for a few seconds, and the importer beside each."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import grpc
import structlog
from muster.directory.v1 import sources_pb2, sources_pb2_grpc

FRESH_S = 3.0
"""A known login is looked up again after this."""
UNKNOWN_S = 0.5
"""Looking for an unknown one asks the directory no more often than this."""
STALE_S = 300.0
"""While the directory is away, what it said last is good for this long."""

log = structlog.get_logger()
Fetch = Callable[[], Awaitable[Sequence[sources_pb2.DropLoginRecord]]]


@dataclass(frozen=True)
class Login:
    """A login, the folder it opens, and the networks it may come from; none allow any."""

    folder: str
    source: str
    password_sha256: bytes
    allowed_networks: Sequence[str] = ()


@dataclass
class DropLogins:
    """The logins as the directory last told them; `clock` counts seconds."""

    fetch: Fetch
    clock: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._logins: Mapping[str, Login] = {}
        self._told_at = -STALE_S
        self._asked_at = -STALE_S

    async def let_in(self, username: str, password: str, address: str) -> Login | None:
        """Give the login if it may come in from this address, else None; constant time in the password."""
        login = await self.find(username)
        digest = hashlib.sha256(password.encode()).digest()
        matches = hmac.compare_digest(digest, login.password_sha256 if login is not None else bytes(32))
        may_come = login is not None and may_come_from(address, login.allowed_networks)
        return login if matches and may_come else None

    async def find(self, username: str) -> Login | None:
        """Find a login, asking the directory when what it said is no longer fresh."""
        now = self.clock()
        patience_s = FRESH_S if username in self._logins else UNKNOWN_S
        if now - self._told_at > patience_s and now - self._asked_at > UNKNOWN_S:
            self._asked_at = now
            await self._refresh(now)
        return self._logins.get(username)

    async def _refresh(self, now: float) -> None:
        try:
            self._logins = {name: login for record in await self.fetch() for name, login in _logins_of(record)}
            self._told_at = now
        except grpc.RpcError as error:
            log.warning("drop.directory_away", code=error.code().name)
            if now - self._told_at > STALE_S:
                self._logins = {}


def _logins_of(record: sources_pb2.DropLoginRecord) -> Iterator[tuple[str, Login]]:
    """Read the customer's login and the importer's, which the customer's networks do not bind."""
    yield record.username, Login(record.username, record.source, record.password_sha256, record.allowed_networks)
    if record.importer_username:
        yield record.importer_username, Login(record.username, record.source, record.importer_password_sha256)


def may_come_from(address: str, networks: Sequence[str]) -> bool:
    """Tell whether the address is in one of the networks; no networks allow any, an unreadable one allows none."""
    if not networks:
        return True
    try:
        source = ipaddress.ip_address(address)
        if isinstance(source, ipaddress.IPv6Address):
            source = source.ipv4_mapped or source  # how a listener for both kinds shows a peer that came by IPv4
        return any(source in ipaddress.ip_network(network, strict=False) for network in networks)
    except ValueError:
        return False


def from_directory(sources: sources_pb2_grpc.SourceServiceAsyncStub) -> Fetch:
    """Fetch all pages of logins from the directory."""

    async def fetch() -> Sequence[sources_pb2.DropLoginRecord]:
        logins: list[sources_pb2.DropLoginRecord] = []
        request = sources_pb2.ListDropLoginsRequest(page_size=1000)
        while True:
            answer = await sources.ListDropLogins(request, timeout=5.0)
            logins += answer.logins
            if not answer.next_page_token:
                return logins
            request.page_token = answer.next_page_token

    return fetch
