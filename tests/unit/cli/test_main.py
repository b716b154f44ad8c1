"""How the command line begins and ends."""

import csv
from datetime import UTC, datetime, timedelta

import pytest
from muster.runtime.errors import RpcError

from cli import main


def test_wrong_usage_is_one_line_and_status_2(capsys):
    assert main.run(["user", "list"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert "--tenant" in said.err


@pytest.mark.parametrize("arguments", [[], ["source"]])
def test_a_command_that_is_not_said_gets_the_help_as_it_is(capsys, arguments):
    assert main.run(arguments) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "Commands:\n" in said.err


def test_an_unknown_option_is_wrong_usage(capsys):
    assert main.run(["--colour", "user", "list"]) == 2
    assert "--colour" in capsys.readouterr().err


def test_without_an_installation_the_error_says_how_to_get_one(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("MUSTER_DIRECTORY", raising=False)
    assert main.run(["--data", str(tmp_path), "tenant", "list"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"muster --data {tmp_path} up" in said


def test_nobody_listening_is_said_with_the_cure(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MUSTER_DIRECTORY", "127.0.0.1:1")
    monkeypatch.setenv("MUSTER_TOKEN", "mst_svc_x")
    assert main.run(["--data", str(tmp_path), "tenant", "list"]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "UNAVAILABLE" in said
    assert "muster up" in said


def test_the_sample_needs_no_installation(tmp_path, capsys):
    assert main.run(["--data", str(tmp_path), "source", "sample"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("UniqueID,Name,Mail,Title,TelephoneNumber,SecondaryTelephoneNumber,TimeStamp,Groups,Skip\n")
    assert said.count("\n") == 4
    (moment,) = {row["TimeStamp"] for row in csv.DictReader(said.splitlines())}
    age = datetime.now(UTC) - datetime.fromisoformat(moment)
    assert timedelta() <= age < timedelta(minutes=5)  # R6: it is not warned `stale_export` about itself


def test_a_wrong_choice_is_said_without_the_parser_s_words(capsys):
    assert main.run(["source", "update", "tenants/ten_1/sources/src_1", "--language", "no"]) == 2
    said = capsys.readouterr().err
    assert "'no' is not one of" in said
    assert "Value error" not in said


def test_an_error_says_a_field_once(services, muster, capsys):
    class InvalidNameError(RpcError):
        reason = "INVALID_ARGUMENT"

    services.answer("ListTenants", InvalidNameError("email: must be one", violations=[("email", "must be one")]))
    assert muster("tenant", "list").status == 1
    assert capsys.readouterr().err == "muster: email: must be one (INVALID_ARGUMENT)\n"


def test_an_error_adds_the_fields_that_its_message_leaves_out(services, muster, capsys):
    class InvalidNameError(RpcError):
        reason = "INVALID_ARGUMENT"

    services.answer("ListTenants", InvalidNameError("wrong", violations=[("email", "must be one")]))
    assert muster("tenant", "list").status == 1
    assert "wrong: email: must be one" in capsys.readouterr().err
