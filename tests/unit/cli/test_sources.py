"""`muster source`: settings to the contract and back."""

import dataclasses

import pytest
from muster.directory.v1 import sources_pb2

from cli import source_settings
from cli.source_settings import SourceSettings

TENANT, SOURCE = "tenants/ten_1", "tenants/ten_1/sources/src_1"


def created(services, muster, *options, login=None):
    answer = sources_pb2.CreateSourceResponse(source=sources_pb2.Source(name=SOURCE))
    if login is not None:
        answer.drop_login.CopyFrom(login)
    services.answer("CreateSource", answer)
    shown = muster("source", "create", "Personnel", "--tenant", TENANT, "--kind", "sftp", *options)
    assert shown.status == 0
    return shown.document, services.requests("CreateSource")[-1]


def test_a_hosted_drop_prints_its_login_once(services, muster):
    login = sources_pb2.DropLogin(host="127.0.0.1", port=2222, username="demo", password="pw", path="/users.csv")
    document, request = created(services, muster, "--account", "a", login=login)
    assert document == {
        "source": SOURCE,
        "sftp": {"host": "127.0.0.1", "port": 2222, "username": "demo", "password": "pw", "path": "/users.csv"},
    }
    assert (request.source.account, request.source.sftp.path) == ("a", "/users.csv")
    assert not request.HasField("credentials")


def test_every_option_reaches_the_contract(services, muster, tmp_path):
    key = tmp_path / "key"
    key.write_text("PRIVATE")
    _, request = created(
        *(services, muster),
        *("--account", "a", "--report-to", "r@x.example", "--report-to", "s@x.example", "--language", "sv"),
        *("--path", "/out/p.csv", "--host", "sftp.x.example", "--port", "2022", "--username", "u", "--password", "p"),
        *("--key-file", str(key), "--host-key", "ssh-ed25519 AAAA", "--allow-network", "10.0.0.0/8", "--region", "SE"),
        *("--separator", ";", "--unknown-groups", "create", "--auto-invite", "--keep-primary-phone"),
        *("--keep-secondary-phone", "--delete-after", "--strict-encoding", "--nightly", "03:30"),
        *("--time-zone", "Europe/Stockholm", "--stable-for", "5", "--end-marker", "sha256", "--skip-means", "freeze"),
        *("--grace", "2", "--position", "1", "--delete-limit-percent", "10", "--delete-limit-floor", "7"),
        *("--reject-limit-floor", "1"),
    )
    source = request.source
    assert (source.sftp.host, source.sftp.port, source.sftp.username) == ("sftp.x.example", 2022, "u")
    assert (source.sftp.host_key, source.sftp.path) == ("ssh-ed25519 AAAA", "/out/p.csv")
    assert (request.credentials.password, request.credentials.private_key) == ("p", "PRIVATE")
    assert list(source.report_to) == ["r@x.example", "s@x.example"]
    assert list(source.sftp.allowed_networks) == ["10.0.0.0/8"]
    assert (source.language, source.region, source.group_separator) == ("sv", "SE", ";")
    assert source.unknown_groups == sources_pb2.UNKNOWN_GROUPS_CREATE
    assert source.skip_means == sources_pb2.SKIP_MEANS_FREEZE
    assert source.end_marker == sources_pb2.END_MARKER_SHA256
    assert all(
        (
            source.automatic_invitations,
            source.keep_primary_phone,
            source.keep_secondary_phone,
            source.delete_after_processing,
            source.strict_encoding,
        )
    )
    assert (source.nightly_time, source.time_zone) == ("03:30", "Europe/Stockholm")
    assert (source.stable_for_seconds, source.grace_nights, source.position) == (5, 2, 1)
    assert (source.limits.delete.percent, source.limits.delete.floor) == (10, 7)


def test_half_a_limit_leaves_the_other_half_to_the_rule(services, muster):
    _, request = created(services, muster, "--create-limit-floor", "0")
    assert request.source.limits.create.floor == 0
    assert request.source.limits.create.HasField("floor")
    assert not request.source.limits.create.HasField("percent")
    assert not request.source.limits.HasField("delete")


def test_update_sends_what_was_said_and_keeps_the_rest(services, muster):
    present = sources_pb2.Source(name=SOURCE, region="SE", etag="e1", report_to=["old@x.example"])
    present.limits.delete.percent, present.limits.delete.floor = 30, 9
    services.answer("GetSource", sources_pb2.GetSourceResponse(source=present))
    services.answer("UpdateSource", sources_pb2.UpdateSourceResponse(source=present))
    answer = muster(
        *("source", "update", SOURCE, "--delete-limit-percent", "40", "--no-keep-primary-phone"),
        *("--report-to", "", "--name", "Staff"),
    )
    assert answer.status == 0
    (request,) = services.requests("UpdateSource")
    paths = ["report_to", "keep_primary_phone", "limits.delete.percent", "display_name"]
    assert list(request.update_mask.paths) == paths
    assert (request.source.limits.delete.percent, request.source.limits.delete.floor) == (40, 9)
    assert list(request.source.report_to) == []
    assert request.source.display_name == "Staff"
    assert request.source.etag == "e1"


def test_update_with_nothing_to_change_is_wrong_usage(services, muster):
    services.answer("GetSource", sources_pb2.GetSourceResponse(source=sources_pb2.Source(name=SOURCE)))
    assert muster("source", "update", SOURCE).status == 2
    assert services.requests("UpdateSource") == []


def test_every_setting_has_a_place_in_the_contract():
    named = set(source_settings._PATHS) | {"password", "key_file"}
    assert {field.name for field in dataclasses.fields(SourceSettings)} == named


@pytest.mark.parametrize("option", [["--kind", "panel"], ["--kind", "scim", "--shadow"]])
def test_options_of_what_is_not_built_are_absent(muster, option):
    assert muster("source", "create", "x", "--tenant", TENANT, *option).status == 2


def test_a_scim_source_is_made_without_a_file_and_its_next_step_is_a_key(services, muster):
    made = sources_pb2.Source(name=SOURCE, kind=sources_pb2.SOURCE_KIND_SCIM)
    services.answer("CreateSource", sources_pb2.CreateSourceResponse(source=made))
    shown = muster(
        "source", "create", "Entra", "--tenant", TENANT, "--kind", "scim", "--account", "a", "--region", "SE",
        "--guard", "off",
    )  # fmt: skip
    assert shown.document == {"source": SOURCE}
    assert f"muster scim-key create --source {SOURCE}" in shown.err
    (request,) = services.requests("CreateSource")
    expected = sources_pb2.Source(
        display_name="Entra",
        kind=sources_pb2.SOURCE_KIND_SCIM,
        account="a",
        region="SE",
        guard=sources_pb2.GUARD_OFF,
    )
    assert request.source == expected


def test_a_hosted_drop_says_where_to_upload(services, muster):
    record = sources_pb2.Source(
        name=SOURCE,
        kind=sources_pb2.SOURCE_KIND_SFTP,
        state=sources_pb2.SOURCE_STATE_TRIAL,
        sftp=sources_pb2.SftpEndpoint(username="lake-1", path="/users.csv"),
        unknown_groups=sources_pb2.UNKNOWN_GROUPS_IGNORE,
        end_marker=sources_pb2.END_MARKER_NONE,
        skip_means=sources_pb2.SKIP_MEANS_ABSENT,
    )
    login = sources_pb2.DropLogin(host="drop.example.org", port=2222, username="lake-1", path="/users.csv")
    services.answer("GetSource", sources_pb2.GetSourceResponse(source=record, drop_login=login))
    shown = muster("source", "show", SOURCE).document["sftp"]
    assert (shown["hosted"], shown["host"], shown["port"]) == (True, "drop.example.org", 2222)
    assert (shown["username"], shown["path"], shown["host_key"]) == ("lake-1", "/users.csv", None)


def test_a_scim_source_is_shown_without_what_only_files_have(services, muster):
    record = sources_pb2.Source(
        name=SOURCE,
        display_name="Entra",
        kind=sources_pb2.SOURCE_KIND_SCIM,
        state=sources_pb2.SOURCE_STATE_ENABLED,
        account="a",
        unknown_groups=sources_pb2.UNKNOWN_GROUPS_CREATE,
        guard=sources_pb2.GUARD_ON,
        position=2,
        sftp=sources_pb2.SftpEndpoint(port=22),
        nightly_time="02:00",
    )
    services.answer("GetSource", sources_pb2.GetSourceResponse(source=record))
    assert muster("source", "show", SOURCE).document == {
        "source": SOURCE,
        "name": "Entra",
        "kind": "scim",
        "state": "enabled",
        "account": "a",
        "last_run": None,
        "next_due": None,
        "region": None,
        "guard": "on",
        "unknown_groups": "create",
        "position": 2,
        "report_to": [],
        "language": None,
    }


def test_a_disabled_connection_says_what_becomes_of_its_calls(services, muster):
    record = sources_pb2.Source(name=SOURCE, kind=sources_pb2.SOURCE_KIND_SCIM, state=sources_pb2.SOURCE_STATE_DISABLED)
    services.answer("DisableSource", sources_pb2.DisableSourceResponse(source=record))
    shown = muster("source", "disable", SOURCE)
    assert shown.document["state"] == "disabled"
    assert f"muster source enable {SOURCE}" in shown.err
