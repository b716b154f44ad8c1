"""`muster check`, `user export|erase` and what ends a source: the contract to documents and exit statuses."""

import json

import pytest
from muster.directory.v1 import operations_pb2, sources_pb2, users_pb2

TENANT, SOURCE, USER = "tenants/ten_1", "tenants/ten_1/sources/src_1", "tenants/ten_1/users/usr_1"


def test_check_lists_problems_and_exits_1_when_there_is_one(services, muster):
    problem = operations_pb2.Problem(tenant=TENANT, kind="seats_used", resource=f"{TENANT}/license", message="2 and 3")
    services.answer("CheckIntegrity", [operations_pb2.CheckIntegrityResponse(problem=problem)], [])
    shown = muster("check", "--tenant", TENANT)
    assert (shown.status, shown.document) == (
        1,
        {"problems": [{"tenant": TENANT, "kind": "seats_used", "resource": f"{TENANT}/license", "message": "2 and 3"}]},
    )
    assert services.requests("CheckIntegrity")[0].tenant == TENANT
    healthy = muster("check")
    assert (healthy.status, healthy.document) == (0, {"problems": []})


def test_export_prints_the_document_and_erase_the_empty_user(services, muster):
    document = {"user": USER, "register": {"name": "Åsa"}}
    services.answer("ExportUser", users_pb2.ExportUserResponse(document=json.dumps(document).encode()))
    assert muster("user", "export", USER).document == document
    erased = users_pb2.User(name=USER, state=users_pb2.USER_STATE_DELETED)
    services.answer("EraseUser", users_pb2.EraseUserResponse(user=erased))
    shown = muster("user", "erase", USER, "--yes")
    assert (shown.document["state"], shown.document["email"]) == ("deleted", "")
    assert services.requests("EraseUser")[0].request_id


@pytest.mark.parametrize(
    ("words", "choice"),
    [("keep", sources_pb2.DETACHED_USERS_KEEP_AS_MANUAL), ("delete", sources_pb2.DETACHED_USERS_DELETE)],
)
def test_detach_says_what_becomes_of_the_users(services, muster, words, choice):
    source = sources_pb2.Source(name=SOURCE, state=sources_pb2.SOURCE_STATE_DISABLED)
    services.answer("DetachSource", sources_pb2.DetachSourceResponse(source=source, users=3))
    shown = muster("source", "detach", SOURCE, "--users", words)
    assert (shown.document["state"], shown.document["users"]) == ("disabled", 3)
    assert services.requests("DetachSource")[0].users == choice


def test_pause_resume_and_delete_name_the_source(services, muster):
    paused = sources_pb2.Source(name=SOURCE, state=sources_pb2.SOURCE_STATE_PAUSED)
    services.answer("PauseSource", sources_pb2.PauseSourceResponse(source=paused))
    services.answer("ResumeSource", sources_pb2.ResumeSourceResponse(source=paused))
    services.answer("DeleteSource", sources_pb2.DeleteSourceResponse())
    assert muster("source", "pause", SOURCE).document["state"] == "paused"
    assert muster("source", "resume", SOURCE).status == 0
    assert muster("source", "delete", SOURCE).document == {"source": SOURCE, "state": "deleted"}
    for method in ("PauseSource", "ResumeSource", "DeleteSource"):
        assert services.requests(method)[0].name == SOURCE
