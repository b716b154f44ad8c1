"""A directory that answers nobody keeps nobody waiting long, and leaves the gateway standing (S13)."""

from __future__ import annotations

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.scim_gateway import storage, turns
from tests.contract.serving import ServedGateway

KEY = "mst_scim_1czaj2bn39ed_" + "0" * 72


@pytest.fixture
def gateway(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedGateway]:
    """A gateway whose directory takes connections and says nothing; its patience is short."""
    monkeypatch.setattr(storage, "DEADLINE_S", 0.3)
    monkeypatch.setattr(turns, "LONGEST_WAIT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        served = ServedGateway("{}:{}".format(*silent.getsockname()))
        yield served
        served.stop()


def ask(url: str):
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {KEY}"})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, dict(response.headers), json.loads(response.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), json.loads(error.read())


def test_everybody_is_told_soon_to_come_back_and_what_needs_no_directory_is_answered(gateway):
    with ThreadPoolExecutor(turns.AT_ONCE + 8) as threads:
        waiting = [threads.submit(ask, gateway.url + "/Users") for _ in range(turns.AT_ONCE + 8)]
        started = time.monotonic()
        assert ask(gateway.url + "/ServiceProviderConfig")[0] == 200
        assert ask(gateway.origin + "/healthz")[0] == 200
        assert time.monotonic() - started < 5
        for status, headers, body in (each.result() for each in waiting):
            told = {name.lower(): value for name, value in headers.items()}
            assert (status, body["schemas"]) == (503, ["urn:ietf:params:scim:api:messages:2.0:Error"])
            assert int(told["retry-after"]) >= 1
