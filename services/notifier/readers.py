"""Know who is told about a source: its own addresses or, where it has none, the tenant's administrators."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import grpc.aio
import structlog
from muster.directory.v1 import administrators_pb2, administrators_pb2_grpc, sources_pb2

from services.notifier.pages import every

log = structlog.get_logger()


@dataclass(frozen=True)
class Readers:
    """Addresses that get a mail, each once, and whether they are those of administrators whom nobody set for it."""

    addresses: tuple[str, ...] = ()
    are_administrators: bool = False


class ReadersOf:
    """Finds readers through one channel to the directory. Every method raises grpc.aio.AioRpcError."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._administrators = administrators_pb2_grpc.AdministratorServiceStub(channel)

    async def source(self, source: sources_pb2.Source) -> Readers:
        """Say who is told about a source: a mail of it is always sent, if there is anybody at all."""
        return await self.tenant(tenant_of(source.name), [source])

    async def tenant(self, tenant: str, sources: Sequence[sources_pb2.Source]) -> Readers:
        """Say who is told of what concerns all these sources of a tenant."""
        addresses = [address for source in sources for address in source.report_to]
        if addresses:
            return Readers(_each_once(addresses))
        found = Readers(_each_once(await self._administrators_of(tenant)), are_administrators=True)
        if not found.addresses:
            log.warning("mail.nobody_to_tell", tenant=tenant)
        return found

    async def _administrators_of(self, tenant: str) -> list[str]:
        """List those of the whole tenant; those of one account tend no sources."""
        request = administrators_pb2.ListAdministratorsRequest(parent=tenant)
        return [
            administrator.email
            async for administrator in every(self._administrators.ListAdministrators, request, "administrators")
            if administrator.role == administrators_pb2.ADMINISTRATOR_ROLE_TENANT
        ]


def tenant_of(name: str) -> str:
    """Cut the tenant's name off the front of the name of something it has."""
    return "/".join(name.split("/")[:2])


def _each_once(addresses: Sequence[str]) -> tuple[str, ...]:
    return tuple({address.casefold(): address for address in addresses}.values())
