"""`muster source test`: steps for people and scripts, and the key that is pinned."""

from __future__ import annotations

import pytest
from muster.directory.v1 import sources_pb2
from muster.importer.v1 import importer_pb2 as pb

SOURCE = "tenants/ten_1/sources/src_1"
KEY = pb.ShownHostKey(
    host_key="ssh-ed25519 AAAA", fingerprint="SHA256:new", standing=pb.HOST_KEY_STANDING_NEW, pinnable=True
)


def steps(*checks):
    return [pb.TestSourceResponse(check=check) for check in checks]


def passed(step="CONNECTION", **found):
    return pb.SourceCheck(
        step=f"SOURCE_CHECK_STEP_{step}", outcome=pb.SOURCE_CHECK_OUTCOME_PASSED, message="It works.", **found
    )


def unpinned(**changes):
    key = pb.ShownHostKey()
    key.CopyFrom(KEY)
    key.MergeFrom(pb.ShownHostKey(**changes))
    return pb.SourceCheck(
        step=pb.SOURCE_CHECK_STEP_HOST_KEY,
        outcome=pb.SOURCE_CHECK_OUTCOME_FAILED,
        reason="host_key_missing",
        message="No host key is pinned.",
        cure="Pin it.",
        host_key=key,
    )


def header():
    return passed("HEADER", header=pb.FoundHeader(encoding="utf-8", delimiter=";", columns=["UniqueID", "Mail"]))


def test_a_source_that_works_shows_each_step(services, muster):
    services.answer("TestSource", steps(passed(), header()))
    answer = muster("source", "test", SOURCE)
    assert (answer.status, answer.document["works"], answer.document["pinned"]) == (0, True, None)
    connection, last = answer.document["checks"]
    assert connection == {
        "step": "connection",
        "outcome": "passed",
        "reason": None,
        "message": "It works.",
        "cure": None,
    }
    assert last["header"] == {
        "encoding": "utf-8",
        "delimiter": ";",
        "columns": ["UniqueID", "Mail"],
        "unknown_columns": [],
    }
    assert [request.source for request in services.requests("TestSource")] == [SOURCE]


def test_people_see_cause_and_cure_and_how_to_pin(services, muster):
    services.answer("TestSource", steps(passed(), unpinned()))
    answer = muster("source", "test", SOURCE, as_json=False)
    assert answer.status == 1
    assert "host_key_missing: No host key is pinned. Pin it." in answer.out
    assert f"muster source test {SOURCE} --pin" in answer.err
    assert services.requests("UpdateSource") == []


@pytest.mark.parametrize("standing", [pb.HOST_KEY_STANDING_NEW, pb.HOST_KEY_STANDING_CHANGED])
def test_pin_pins_the_key_that_was_shown_and_tests_again(services, muster, standing):
    services.answer("TestSource", steps(passed(), unpinned(standing=standing)), steps(passed(), header()))
    services.answer("GetSource", sources_pb2.GetSourceResponse(source=sources_pb2.Source(name=SOURCE, etag="e")))
    services.answer("UpdateSource", sources_pb2.UpdateSourceResponse())
    answer = muster("source", "test", SOURCE, "--pin")
    assert (answer.status, answer.document["pinned"]) == (0, "SHA256:new")
    (request,) = services.requests("UpdateSource")
    assert list(request.update_mask.paths) == ["sftp.host_key"]
    assert (request.source.name, request.source.sftp.host_key, request.source.etag) == (SOURCE, "ssh-ed25519 AAAA", "e")
    assert [check["step"] for check in answer.document["checks"]] == ["connection", "header"]


def test_the_key_of_a_hosted_drop_is_not_pinned(services, muster):
    failed = unpinned()
    failed.host_key.pinnable = False
    services.answer("TestSource", steps(failed))
    answer = muster("source", "test", SOURCE, "--pin")
    assert (answer.status, answer.document["pinned"]) == (1, None)
    assert services.requests("UpdateSource") == []


def test_nothing_is_pinned_when_the_key_is_the_pinned_one(services, muster):
    services.answer("TestSource", steps(passed("HOST_KEY", host_key=KEY), header()))
    assert muster("source", "test", SOURCE, "--pin").status == 0
    assert services.requests("UpdateSource") == []
