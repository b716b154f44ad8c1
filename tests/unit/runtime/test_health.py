"""`python -m muster.runtime.health`: the exit status says whether a service serves."""

from __future__ import annotations

import pytest
from muster.runtime.health import main
from muster.runtime.server import Server


@pytest.fixture
def server():
    server = Server(lambda _: None, service_names=[], address="127.0.0.1:0")
    server.start()
    yield server
    server.stop(grace_s=0)


def test_a_service_that_serves_is_well(server):
    assert main([f"127.0.0.1:{server.port}"]) == 0


def test_one_that_has_ended_is_not_and_is_named(server, capsys):
    server.stop(grace_s=0)
    assert main([f"127.0.0.1:{server.port}"]) == 1
    assert capsys.readouterr().err == f"no healthy service at 127.0.0.1:{server.port}\n"


@pytest.mark.parametrize("arguments", [[], ["nowhere"], ["a:1", "b:2"]])
def test_wrong_usage_is_told_apart(arguments):
    assert main(arguments) == 2
