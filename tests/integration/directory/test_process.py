"""The process: migrates, mints tokens, prints where it listens, and ends with its parent."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from muster.directory.v1 import tenants_pb2, tenants_pb2_grpc
from muster.runtime import client

from tests.integration.directory.serving import refused

pytestmark = pytest.mark.mostly("sqlite")

PROGRAM = [str(Path(sys.executable).parent / "muster-directory")]


@pytest.fixture
def environment(database_url):
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("DIRECTORY_")},
        "DIRECTORY_DATABASE_URL": database_url,
        "DIRECTORY_PEPPER": "a pepper of the tests only",
        "DIRECTORY_SEAL_KEY": base64.b64encode(bytes(32)).decode(),
        "DIRECTORY_EXIT_WITH_STDIN": "true",
    }


def run(environment, *arguments):
    return subprocess.run(
        [*PROGRAM, *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def mint(environment, *arguments):
    done = run(environment, "token", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["token"]


@pytest.fixture
def serving(environment):
    with subprocess.Popen(
        PROGRAM, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def test_a_directory_says_where_it_listens_and_ends_when_its_stdin_closes(environment, serving):
    target = json.loads(serving.stdout.readline())["listening"]
    client.wait_until_serving(target, timeout_s=60)
    token = mint(environment, "--grant", "support")
    with client.open_channel(target, token) as channel:
        stub = tenants_pb2_grpc.TenantServiceStub(channel)
        tenant = stub.CreateTenant(tenants_pb2.CreateTenantRequest(display_name="Springfield")).tenant
    bound = mint(environment, "--grant", "tenant", "--tenant", tenant.name)
    with client.open_channel(target, bound) as channel:
        stub = tenants_pb2_grpc.TenantServiceStub(channel)
        assert stub.GetTenant(tenants_pb2.GetTenantRequest(name=tenant.name)).tenant == tenant
        with refused("PERMISSION_DENIED"):
            stub.CreateTenant(tenants_pb2.CreateTenantRequest(display_name="Mine"))
    _, log = serving.communicate("", timeout=60)
    assert serving.returncode == 0
    lines = [json.loads(line) for line in log.splitlines()]
    assert {line["event"] for line in lines} >= {"directory.serving", "rpc", "directory.ended"}
    assert token not in log
    assert "Springfield" not in log


def test_sigterm_ends_it_cleanly(serving):
    serving.stdout.readline()
    serving.send_signal(signal.SIGTERM)
    assert serving.wait(60) == 0


@pytest.mark.long
def test_migrate_may_run_again(environment):
    assert run(environment, "migrate").returncode == 0
    assert run(environment, "migrate").returncode == 0


def test_the_embedded_default_migrates_before_it_serves(environment, tmp_path):
    fresh = {
        "DIRECTORY_DATABASE_URL": f"sqlite:///{tmp_path}/new/directory.db",
        "DIRECTORY_MIGRATE_ON_START": "true",
    }
    with subprocess.Popen(
        [*PROGRAM, "serve"], env=environment | fresh, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin
        assert process.stdout
        json.loads(process.stdout.readline())
        assert mint(environment | fresh, "--grant", "importer").startswith("mst_svc_")
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.long
def test_a_token_for_a_tenant_that_is_not_there_is_refused(environment):
    done = run(environment, "token", "--grant", "tenant", "--tenant", "tenants/nobody")
    assert (done.returncode, done.stdout) == (1, "")
    assert "--tenant" in done.stderr
