"""Import runs on the command line: documents, exit statuses, approval."""

import pytest
from muster.directory.v1 import imports_pb2
from muster.importer.v1 import importer_pb2
from muster.runtime.errors import RpcError

from cli import runs

RUN = "tenants/ten_1/importRuns/run_1"
SOURCE = "tenants/ten_1/sources/src_1"
STATUS = imports_pb2.ImportRunStatus


def a_run(status, **fields):
    return imports_pb2.ImportRun(
        **{"name": RUN, "source": SOURCE, "status": STATUS.Value(f"IMPORT_RUN_STATUS_{status.upper()}")} | fields
    )


def an_end(status, **fields):
    return [
        importer_pb2.RunSourceResponse(progress=importer_pb2.Progress(rows_sent=10)),
        importer_pb2.RunSourceResponse(import_run=a_run(status, **fields)),
    ]


def no_issues(services):
    services.answer("ListImportIssues", imports_pb2.ListImportIssuesResponse())


@pytest.mark.parametrize(
    ("status", "exit_status"),
    [("applied", 0), ("unchanged", 0), ("held", 10), ("refused", 20), ("no_file", 30), ("failed", 1)],
)
def test_run_exits_as_the_run_ended(services, muster, status, exit_status):
    services.answer("RunSource", an_end(status))
    no_issues(services)
    answer = muster("run", SOURCE)
    assert answer.status == exit_status
    assert answer.document["status"] == status


def test_a_dry_run_exits_0_with_the_limit_as_reason(services, muster):
    services.answer("RunSource", an_end("planned", reason="delete_limit", plan_only=True))
    no_issues(services)
    answer = muster("run", SOURCE, "--dry-run")
    assert (answer.status, answer.document["reason"]) == (0, "delete_limit")
    assert services.requests("RunSource")[0].dry_run


def test_the_document_has_the_fixed_keys(services, muster):
    counts = imports_pb2.ImportCounts(rows=10, created=1, updated=2, unchanged=6, rejected=1)
    services.answer("RunSource", an_end("applied", counts=counts, plan=counts))
    issue = {"line": 7, "key": "EMP-0000007", "column": "Mail", "message": "Give one address.", "masked_value": "a***"}
    services.answer(
        "ListImportIssues",
        imports_pb2.ListImportIssuesResponse(
            issues=[
                imports_pb2.ImportIssue(**issue, code="mail_invalid", severity=imports_pb2.ISSUE_SEVERITY_REJECTED),
                imports_pb2.ImportIssue(**issue, code="formula_like", severity=imports_pb2.ISSUE_SEVERITY_WARNING),
            ]
        ),
    )
    document = muster("run", SOURCE).document
    assert document["run"] == RUN
    assert document["reason"] is None
    assert document["counts"] == {
        "rows": 10,
        "created": 1,
        "updated": 2,
        "taken_over": 0,
        "unchanged": 6,
        "skipped": 0,
        "rejected": 1,
        "merged": 0,
        "deferred": 0,
        "deleted": 0,
        "restored": 0,
        "rekeyed": 0,
    }
    assert document["plan"] == document["counts"]
    (rejected,), (warning,) = document["rejected"], document["warnings"]
    assert (rejected["line"], rejected["key"], rejected["reason"]) == (7, "EMP-0000007", "mail_invalid")
    assert (rejected["column"], rejected["message"]) == ("Mail", "Give one address.")
    assert warning["code"] == "formula_like"


def test_a_run_says_who_can_be_reached_after_it(services, muster):
    group = {"group": "tenants/ten_1/groups/grp_1", "display_name": "Crew", "before": 2, "after": 1}
    reach = imports_pb2.Reach(lost_phone=41, groups_below_two=3, groups=[imports_pb2.GroupReach(**group)])
    shape = imports_pb2.Shape(people=9, columns=[imports_pb2.ColumnFill(column="Title", filled=4)])
    for _ in range(2):
        run = a_run("held", reach=reach, shape=shape)
        services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=run))
        no_issues(services)
    document = muster("runs", "show", RUN).document
    assert (document["reach"]["lost_phone"], document["reach"]["groups_below_two"]) == (41, 3)
    assert document["reach"]["groups"] == [
        {"group": "tenants/ten_1/groups/grp_1", "name": "Crew", "before": 2, "after": 1}
    ]
    assert document["shape"] == {"people": 9, "columns": {"Title": 4}, "mail_domains": {}, "groups": []}
    shown = muster("runs", "show", RUN, as_json=False).out
    assert "41 people lose their only phone, 3 groups drop below 2 reachable people" in " ".join(shown.split())


def test_approve_applies_the_plan_that_was_held_and_waits(services, muster):
    services.answer("RunSource", an_end("held", plan_hash="h1", reason="delete_limit"))
    services.answer("ApplyImport", imports_pb2.ApplyImportResponse(import_run=a_run("applying")))
    services.answer(
        "WatchImportRun",
        [
            imports_pb2.WatchImportRunResponse(import_run=a_run("applying", applied_rows=5)),
            imports_pb2.WatchImportRunResponse(import_run=a_run("applied")),
        ],
    )
    no_issues(services)
    answer = muster("run", SOURCE, "--approve")
    assert (answer.status, answer.document["status"]) == (0, "applied")
    (request,) = services.requests("ApplyImport")
    assert (request.plan_hash, request.deletions) == ("h1", imports_pb2.DELETIONS_APPLY)


def test_approve_does_not_override_a_refusal(services, muster):
    services.answer("RunSource", an_end("refused", reason="truncated"))
    no_issues(services)
    assert muster("run", SOURCE, "--approve").status == 20
    assert services.requests("ApplyImport") == []


def test_runs_approve_leaves_deletions_out_and_exits_10_when_held_again(services, muster):
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=a_run("held", plan_hash="h1")))
    services.answer("ApplyImport", imports_pb2.ApplyImportResponse(import_run=a_run("applying")))
    services.answer("WatchImportRun", [imports_pb2.WatchImportRunResponse(import_run=a_run("held", plan_hash="h2"))])
    no_issues(services)
    assert muster("runs", "approve", RUN, "--without-deletions").status == 10
    assert services.requests("ApplyImport")[0].deletions == imports_pb2.DELETIONS_LEAVE_OUT


def test_following_survives_a_directory_that_restarts(services, muster):
    class AwayError(RpcError):
        reason = "STORE_UNAVAILABLE"

    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=a_run("held", plan_hash="h1")))
    services.answer("ApplyImport", imports_pb2.ApplyImportResponse(import_run=a_run("applying")))
    services.answer(
        "WatchImportRun",
        AwayError("the directory restarts"),
        [imports_pb2.WatchImportRunResponse(import_run=a_run("applied"))],
    )
    no_issues(services)
    assert muster("runs", "approve", RUN).status == 0


def test_runs_show_adds_changes_when_asked(services, muster):
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=a_run("held")))
    no_issues(services)
    change = imports_pb2.ImportChange(
        line=4,
        action=imports_pb2.CHANGE_ACTION_TAKE_OVER,
        external_id="EMP-0000004",
        user="u",
        fields=[imports_pb2.FieldChange(field="title", before="", after="Cook")],
        groups_added=["Staff"],
        groups_kept=["Crew"],
    )
    services.answer("ListImportChanges", imports_pb2.ListImportChangesResponse(changes=[change]))
    (shown,) = muster("runs", "show", RUN, "--changes").document["changes"]
    assert (shown["action"], shown["line"], shown["groups_added"]) == ("take_over", 4, ["Staff"])
    assert (shown["groups_removed"], shown["groups_kept"]) == ([], ["Crew"])
    assert shown["fields"] == [{"field": "title", "before": "", "after": "Cook"}]


def test_import_sends_the_file_in_pieces_after_the_start(services, muster, tmp_path):
    file = tmp_path / "people.csv"
    file.write_bytes(b"x" * 600_000)
    services.answer("ImportFile", [importer_pb2.ImportFileResponse(import_run=a_run("applied"))])
    no_issues(services)
    assert muster("import", str(file), "--source", SOURCE).status == 0
    start, *chunks = services.requests("ImportFile")[0]
    assert (start.start.source, start.start.file_name) == (SOURCE, "people.csv")
    assert b"".join(chunk.chunk for chunk in chunks) == b"x" * 600_000
    assert max(len(chunk.chunk) for chunk in chunks) <= 1024 * 1024


def test_import_of_a_file_that_is_not_there_names_it(muster, tmp_path, capsys):
    assert muster("import", str(tmp_path / "none.csv"), "--source", SOURCE).status == 1
    assert "none.csv" in capsys.readouterr().err


def test_a_held_run_tells_people_how_to_decide(services, muster):
    services.answer("RunSource", an_end("held", plan_hash="h", reason="delete_limit"))
    no_issues(services)
    answer = muster("run", SOURCE, as_json=False)
    assert f"muster runs approve {RUN} --without-deletions" in answer.out
    assert "delete_limit" in answer.out


def test_a_plan_about_to_be_applied_is_not_at_rest():
    assert not runs.at_rest(a_run("planned"))
    assert runs.at_rest(a_run("planned", plan_only=True))
    assert runs.at_rest(a_run("held"))


def test_people_are_told_that_deletions_were_left_out(services, muster):
    counts = {"rows": 5, "unchanged": 5}
    left_out = a_run(
        "applied", deletions_left_out=True, counts=counts, plan=imports_pb2.ImportCounts(**counts, deleted=4)
    )
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=left_out))
    no_issues(services)
    said = muster("runs", "show", RUN, as_json=False).out
    assert "nobody was deleted" in said
    assert "4" in said


@pytest.mark.parametrize(("option", "left_out"), [(["--without-deletions"], False), ([], True)])
def test_approving_fails_when_someone_else_decided_otherwise_about_the_deletions(
    services, muster, capsys, option, left_out
):
    plan = imports_pb2.ImportCounts(deleted=4)
    decided = a_run("applied", plan_hash="h1", plan=plan, deletions_left_out=left_out)
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=decided))
    services.answer("ApplyImport", imports_pb2.ApplyImportResponse(import_run=decided))
    no_issues(services)
    assert muster("runs", "approve", RUN, *option).status == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "already" in said


def test_approving_again_with_the_same_decision_is_no_error(services, muster):
    plan = imports_pb2.ImportCounts(deleted=4)
    decided = a_run("applied", plan_hash="h1", plan=plan, deletions_left_out=True)
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=decided))
    services.answer("ApplyImport", imports_pb2.ApplyImportResponse(import_run=decided))
    no_issues(services)
    assert muster("runs", "approve", RUN, "--without-deletions").status == 0


def test_approving_a_dry_run_says_how_to_apply_instead(services, muster, capsys):
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=a_run("planned", plan_only=True)))
    assert muster("runs", "approve", RUN).status == 1
    said = capsys.readouterr().err
    assert "source enable" in said
    assert "--dry-run" in said


UNDO = "tenants/ten_1/importRuns/run_2"


def an_undo(status):
    plan = imports_pb2.ImportCounts(rows=2, updated=2, restored=1, deleted=3)
    return a_run(status, name=UNDO, undoes=RUN, plan=plan, plan_hash="h2")


def changed_since(services):
    issue = imports_pb2.ImportIssue(key="EMP-0000003", code="changed_since", severity=2, message="Changed.")
    services.answer("ListImportIssues", imports_pb2.ListImportIssuesResponse(issues=[issue]))


def test_undo_prints_the_run_that_it_undid_with_what_was_put_back(services, muster):
    services.answer("PlanUndo", imports_pb2.PlanUndoResponse(import_run=an_undo("planned")))
    services.answer("ApplyImport", imports_pb2.ApplyImportResponse(import_run=an_undo("applying")))
    services.answer("WatchImportRun", [imports_pb2.WatchImportRunResponse(import_run=an_undo("applied"))])
    undone = a_run("undone", undone_by=UNDO, counts=imports_pb2.ImportCounts(rows=9, created=3))
    services.answer("GetImportRun", imports_pb2.GetImportRunResponse(import_run=undone))
    changed_since(services)
    answer = muster("runs", "undo", RUN)
    assert (answer.status, answer.document["run"], answer.document["status"]) == (0, RUN, "undone")
    assert (answer.document["plan"]["deleted"], answer.document["counts"]["created"]) == (3, 3)
    assert [each["key"] for each in answer.document["warnings"]] == ["EMP-0000003"]
    assert services.requests("ApplyImport")[0].plan_hash == "h2"
    assert services.requests("ListImportIssues")[0].import_run == UNDO


def test_a_dry_run_of_an_undo_shows_its_plan_and_does_nothing(services, muster):
    services.answer("PlanUndo", imports_pb2.PlanUndoResponse(import_run=an_undo("planned")))
    change = imports_pb2.ImportChange(external_id="EMP-0000001", action=imports_pb2.CHANGE_ACTION_RESTORE)
    services.answer("ListImportChanges", imports_pb2.ListImportChangesResponse(changes=[change]))
    no_issues(services)
    answer = muster("runs", "undo", RUN, "--dry-run")
    assert (answer.status, answer.document["status"], answer.document["undoes"]) == (0, "planned", RUN)
    assert [each["action"] for each in answer.document["changes"]] == ["restore"]
    assert services.requests("ApplyImport") == []


def test_an_undo_that_is_refused_exits_1(services, muster):
    services.answer("PlanUndo", imports_pb2.PlanUndoResponse(import_run=an_undo("planned")))
    services.answer("ApplyImport", imports_pb2.ApplyImportResponse(import_run=an_undo("refused")))
    services.answer("ListImportChanges", imports_pb2.ListImportChangesResponse())
    no_issues(services)
    answer = muster("runs", "undo", RUN)
    assert (answer.status, answer.document["run"], answer.document["status"]) == (1, UNDO, "refused")
