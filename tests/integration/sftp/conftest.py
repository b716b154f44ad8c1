"""One SFTP server for each module, emptied for each test."""

from __future__ import annotations

import pytest

from tests.integration.sftp.customer_server import serving


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("drop")) as started:
        yield started


@pytest.fixture(autouse=True)
def folder(server):
    for path in server.folder.iterdir():
        path.unlink()
    server.asked.clear()
    server.logins.clear()
    return server.folder
