"""The storage over gRPC keeps scim2-server's own contract, with the real directory behind it."""

from __future__ import annotations

import asyncio

import pytest
from muster.runtime.client import open_aio_channel
from scim2_server.testing import AsyncScimStorageContract, BlockingStorage

from services.scim_gateway import schemas
from services.scim_gateway.storage import DirectoryStorage
from tests.integration.directory.serving import Office

pytestmark = pytest.mark.mostly("postgresql")


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture(scope="module")
def channel(directory, runner):
    async def opened():
        return open_aio_channel(directory.target)

    channel = runner.run(opened())
    yield channel
    runner.run(channel.close())


class TestDirectoryStorage(AsyncScimStorageContract):
    """Each test has a tenant of its own."""

    @pytest.fixture
    def provider(self):
        return schemas.provider()

    @pytest.fixture
    def storage(self, channel, runner, support):
        office = Office(support, seats=100)
        key = office.api_key(office.scim_source().name).secret

        async def made():
            return DirectoryStorage(channel, key)

        return BlockingStorage(runner.run(made()), runner)
