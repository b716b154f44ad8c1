"""What `muster up` is made of: ports, kept secrets, child processes."""

import socket
import stat
import sys
import time

import psutil
import pytest

from cli.errors import CommandError
from cli.up import children, keepsake, ports
from cli.up.children import Child, Plan, Speech, stop_all
from cli.up.installation import Installation
from cli.up.plans import CHILDREN, Layout
from cli.up.tokens import make_tokens

WAITS_FOR_STDIN = "import sys; sys.stdin.read()"
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


def a_child(tmp_path, code, name="worker"):
    plan = Plan(name, [sys.executable, "-c", code], "127.0.0.1:1", {})
    return Child(plan, tmp_path / f"{name}.log")


def eventually(condition, *, within_s=10.0):
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def test_ports_are_kept_while_they_are_free():
    first = ports.choose(["a", "b"], {})
    assert len(set(first.values())) == 2
    assert ports.choose(["a", "b"], first) == first


def test_a_taken_port_is_replaced():
    before = ports.choose(["a", "b"], {})
    with socket.socket() as taker:
        taker.bind((ports.HOST, before["a"]))
        taker.listen()
        after = ports.choose(["a", "b"], before)
    assert after["a"] != before["a"]
    assert after["b"] == before["b"]


def test_what_up_made_is_kept_private_and_found_again(tmp_path):
    kept = keepsake.load(tmp_path, "")
    assert keepsake.load(tmp_path, "") == kept
    assert stat.S_IMODE((tmp_path / keepsake.KEPT_FILE).stat().st_mode) == 0o600
    assert kept.pepper not in repr(kept)
    assert kept.seal_key not in repr(kept)


def test_set_up_requests_have_the_same_id_each_time(tmp_path):
    kept = keepsake.load(tmp_path, "")
    assert kept.request_id("tenant") == keepsake.load(tmp_path, "").request_id("tenant")
    assert kept.request_id("tenant") != kept.request_id("source")


def test_the_host_key_is_made_once_and_kept_private(tmp_path):
    key = keepsake.host_key(tmp_path)
    assert key.startswith("ssh-ed25519 AAAA")
    assert keepsake.host_key(tmp_path) == key
    assert stat.S_IMODE((tmp_path / keepsake.HOST_KEY_FILE).stat().st_mode) == 0o600


def test_a_directory_stays_with_its_database(tmp_path):
    keepsake.load(tmp_path, "postgresql+psycopg://muster:old@db/muster")
    found = keepsake.load(tmp_path, "postgresql+psycopg://muster:new@db/muster")
    assert found.database_url.startswith("postgresql+psycopg://muster:new@")
    assert keepsake.load(tmp_path, "").database_url
    with pytest.raises(CommandError, match="another database"):
        keepsake.load(tmp_path, "postgresql+psycopg://muster:old@db/other")


def test_a_dead_child_starts_again_after_its_back_off(tmp_path):
    child = a_child(tmp_path, WAITS_FOR_STDIN)
    child.start()
    first = child.pid
    child.process.kill()
    child.process.wait()
    assert child.revive() is None
    statuses = []
    eventually(lambda: statuses.append(child.revive()) or statuses[-1] is not None)
    assert children.describe(statuses[-1]) == "signal SIGKILL"
    assert child.is_alive()
    assert child.pid != first
    stop_all([child])


def test_children_end_when_their_stdin_closes(tmp_path):
    child = a_child(tmp_path, WAITS_FOR_STDIN)
    child.start()
    child.process.stdin.close()
    eventually(lambda: not child.is_alive())


def test_a_child_that_does_not_end_is_killed(tmp_path):
    child = a_child(tmp_path, DEAF)
    child.start()
    eventually(lambda: "deaf" in child.log_file.read_text())
    stop_all([child], timeout_s=0.3)
    assert not child.is_alive()


HEALTHY = """
import http.server, sys, threading
class Handler(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Handler.asked += 1
        self.send_response(200 if self.path == "/healthz" and Handler.asked > 1 else 503)
        self.end_headers()
server = http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""


def test_a_child_that_speaks_http_is_well_when_it_says_so(tmp_path):
    port = ports.choose(["gateway"], {})["gateway"]
    command = [sys.executable, "-c", HEALTHY, str(port)]
    child = Child(Plan("gateway", command, f"{ports.HOST}:{port}", {}, Speech.HTTP), tmp_path / "gateway.log")
    child.start()
    child.wait_until_well()
    assert [part for part in child.log_file.read_text().split() if part in {"503", "200"}] == ["503", "200"]
    stop_all([child])


def test_a_child_that_cannot_start_is_said_with_its_last_words(tmp_path):
    child = a_child(tmp_path, "raise SystemExit('WORKER_TOKEN is missing')")
    child.start()
    with pytest.raises(CommandError, match=r"worker did not start: WORKER_TOKEN is missing; see .*worker\.log"):
        child.wait_until_well()
    stop_all([child])


def test_children_do_not_inherit_settings_of_other_services(monkeypatch):
    monkeypatch.setenv("DIRECTORY_DATABASE_URL", "sqlite:///elsewhere.db")
    monkeypatch.setenv("MUSTER_TOKEN", "mst_svc_x")
    monkeypatch.setenv("SCIM_GATEWAY_BASE_URL", "https://elsewhere.example")
    foreign = {"DIRECTORY_DATABASE_URL", "MUSTER_TOKEN", "SCIM_GATEWAY_BASE_URL"}
    assert not foreign & set(children.surroundings())


def test_a_second_up_on_the_same_directory_is_refused(tmp_path):
    first, second = Installation(tmp_path), Installation(tmp_path)
    first._take_lock()
    with pytest.raises(CommandError, match="another `muster up`"):
        second._take_lock()
    second.stop()
    first.stop()
    second._take_lock()
    second.stop()


def test_secrets_travel_in_the_environment_and_not_in_the_command(tmp_path):
    kept = keepsake.Kept.make("")
    tokens = {grant: f"mst_svc_{grant}" for grant in ("support", "importer", "notifier")}
    layout = Layout(
        tmp_path,
        keepsake.Kept(kept.pepper, kept.seal_key, kept.setup_id, tokens=tokens, ports=ports.choose(CHILDREN, {})),
        "ssh-ed25519 AAAA",
    )
    plans = [layout.plan(name) for name in CHILDREN]
    said = " ".join(part for plan in plans for part in plan.command) + repr(plans)
    assert not any(secret in said for secret in (kept.pepper, kept.seal_key, *tokens.values()))
    directory, importer, notifier, scim_gateway, sftp = (plan.environment for plan in plans)
    assert directory["DIRECTORY_DATABASE_URL"] == f"sqlite:///{tmp_path}/directory.db"
    assert directory["DIRECTORY_DROP_PORT"] == sftp["DROP_LISTEN"].rpartition(":")[2]
    assert importer["IMPORTER_DIRECTORY"] == notifier["NOTIFIER_DIRECTORY"] == directory["DIRECTORY_LISTEN"]
    assert scim_gateway["SCIM_GATEWAY_DIRECTORY"] == directory["DIRECTORY_LISTEN"]
    assert not set(tokens.values()) & set(scim_gateway.values())
    assert notifier["NOTIFIER_MAIL_DIR"] == f"{tmp_path}/mail"


SAYS_A_TOKEN = "import json, sys; print(json.dumps({'token': 'of ' + sys.argv[2]}))"


def test_the_tokens_are_what_the_directory_says(tmp_path):
    command = [sys.executable, "-c", SAYS_A_TOKEN]
    made = make_tokens(command, {}, ["support", "importer"], wanted=lambda: True)
    assert made == {"support": "of support", "importer": "of importer"}
    with pytest.raises(CommandError, match="could not make the support token: no such grant"):
        make_tokens([sys.executable, "-c", "raise SystemExit('no such grant')"], {}, ["support"], wanted=lambda: True)


def test_who_is_interrupted_while_tokens_are_made_ends_at_once_and_leaves_nobody(tmp_path):
    code = f"import os, time; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); time.sleep(60)"
    pid = tmp_path / "pid"
    began = time.monotonic()
    with pytest.raises(CommandError, match="interrupted"):
        make_tokens(
            [sys.executable, "-c", code], {}, ["support"], wanted=lambda: not (pid.exists() and pid.read_text())
        )
    assert time.monotonic() - began < 10
    assert not psutil.pid_exists(int(pid.read_text()))
