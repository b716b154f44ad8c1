"""Sources: every setting checked, secrets sealed, a path that stays, places that shift."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from muster.directory.v1 import imports_pb2
from muster.directory.v1 import sources_pb2 as pb

from services.directory.rules import names
from services.directory.rules.grants import Grant
from services.directory.store.tables import Source
from tests.integration.directory.serving import DROP, Caller, Office, ServedDirectory, fields_of, refused

pytestmark = pytest.mark.mostly("postgresql")

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJlTlVAjbJUWqWfdzrmDzFGfqVvYHKvPpiTkSDDIJzfh"


@pytest.fixture(scope="module")
def importer(directory: ServedDirectory) -> Caller:
    return directory.caller(Grant.IMPORTER)


def create(office: Office, *, credentials=None, **settings) -> pb.CreateSourceResponse:
    source = pb.Source(**{"display_name": "Payroll", **settings})
    return office.support.sources.CreateSource(
        pb.CreateSourceRequest(tenant=office.name, source=source, credentials=credentials)
    )


def own_server(office: Office, **sftp) -> pb.Source:
    endpoint = pb.SftpEndpoint(**{"host": "sftp.example.org", "username": "muster", "host_key": HOST_KEY, **sftp})
    return create(office, sftp=endpoint, credentials=pb.SftpCredentials(password="secret-1")).source


def update(office: Office, source: pb.Source, *paths, credentials=None, **values) -> pb.Source:
    changed = pb.Source(name=source.name, **values)
    request = pb.UpdateSourceRequest(source=changed, update_mask=FieldMask(paths=paths), credentials=credentials)
    return office.support.sources.UpdateSource(request).source


def get(office: Office, source: pb.Source) -> pb.Source:
    return office.support.sources.GetSource(pb.GetSourceRequest(name=source.name)).source


def secret_of(caller: Caller, source: pb.Source) -> pb.GetSourceSecretResponse:
    return caller.sources.GetSourceSecret(pb.GetSourceSecretRequest(name=source.name))


def test_a_new_source_is_in_trial_with_the_defaults(office: Office):
    source = create(office).source
    expected = {
        "kind": "SOURCE_KIND_SFTP",
        "state": "SOURCE_STATE_TRIAL",
        "groupSeparator": ",",
        "unknownGroups": "UNKNOWN_GROUPS_IGNORE",
        "nightlyTime": "02:00",
        "timeZone": "UTC",
        "stableForSeconds": 60,
        "endMarker": "END_MARKER_NONE",
        "skipMeans": "SKIP_MEANS_ABSENT",
        "position": 1,
        "maxFileBytes": str(512 * 1024 * 1024),
    }
    shown = MessageToDict(source)
    assert {name: shown.get(name) for name in expected} == expected
    assert shown["limits"] == {}
    assert source.sftp.path == "/users.csv"
    assert get(office, source) == source


def test_every_setting_given_is_kept(office: Office):
    school = office.account("School")
    given = pb.Source(
        display_name="Payroll",
        account=school.name,
        sftp=pb.SftpEndpoint(path="/out/people.csv", allowed_networks=["192.0.2.0/24", "2001:db8::/32"]),
        group_separator="|",
        automatic_invitations=True,
        region="se",
        unknown_groups=pb.UNKNOWN_GROUPS_CREATE,
        keep_primary_phone=True,
        keep_secondary_phone=True,
        delete_after_processing=True,
        nightly_time="23:30",
        time_zone="Europe/Stockholm",
        stable_for_seconds=1,
        end_marker=pb.END_MARKER_EOF,
        skip_means=pb.SKIP_MEANS_FREEZE,
        grace_nights=3,
        strict_encoding=True,
        limits=pb.Limits(delete=pb.Limit(percent=5.5, floor=0), reject=pb.Limit(floor=7)),
        report_to=["It@Example.org", "it@example.org"],
        language="sv",
        max_file_bytes=1_000_000,
    )
    request = pb.CreateSourceRequest(tenant=office.name, source=given)
    kept = office.support.sources.CreateSource(request).source
    expected = MessageToDict(given) | {"region": "SE", "reportTo": ["it@example.org"]}
    shown = MessageToDict(kept)
    assert {name: shown[name] for name in expected if name != "sftp"} == {
        name: value for name, value in expected.items() if name != "sftp"
    }
    assert (kept.sftp.path, list(kept.sftp.allowed_networks)) == (given.sftp.path, list(given.sftp.allowed_networks))


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"display_name": ""}, "source.display_name"),
        ({"account": "tenants/x"}, "source.account"),
        ({"kind": 7}, "source.kind"),
        ({"sftp": {"path": "users.csv"}}, "source.sftp.path"),
        ({"sftp": {"path": "/../users.csv"}}, "source.sftp.path"),
        ({"sftp": {"path": "/in/"}}, "source.sftp.path"),
        ({"sftp": {"allowed_networks": ["192.0.2.1/24"]}}, "source.sftp.allowed_networks"),
        ({"sftp": {"host": "a b"}}, "source.sftp.host"),
        ({"sftp": {"host": "h", "username": "u", "port": 65536}}, "source.sftp.port"),
        ({"sftp": {"host": "h"}}, "source.sftp.username"),
        ({"sftp": {"host": "h", "username": "u", "host_key": "ssh-rsa AAAA"}}, "source.sftp.host_key"),
        ({"sftp": {"host_key": HOST_KEY.replace("ssh-ed25519", "ssh-rsa")}}, "source.sftp.host_key"),
        ({"group_separator": '"'}, "source.group_separator"),
        ({"region": "ZZ"}, "source.region"),
        ({"unknown_groups": 9}, "source.unknown_groups"),
        ({"nightly_time": "24:00"}, "source.nightly_time"),
        ({"time_zone": "Mars/Olympus"}, "source.time_zone"),
        ({"stable_for_seconds": -1}, "source.stable_for_seconds"),
        ({"end_marker": 7}, "source.end_marker"),
        ({"grace_nights": -1}, "source.grace_nights"),
        ({"limits": {"delete": {"percent": -1}}}, "source.limits.delete.percent"),
        ({"limits": {"create": {"percent": float("nan")}}}, "source.limits.create.percent"),
        ({"position": -1}, "source.position"),
        ({"report_to": ["nobody"]}, "source.report_to"),
        ({"language": "de"}, "source.language"),
        ({"max_file_bytes": 512 * 1024 * 1024 + 1}, "source.max_file_bytes"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(office: Office, settings, wrong):
    with refused("INVALID_ARGUMENT") as told:
        create(office, **settings)
    assert wrong in fields_of(told)


def test_a_hosted_drop_gets_a_login_that_is_shown_once(office: Office, importer: Caller, store):
    answer = create(office)
    login = answer.drop_login
    assert (login.host, login.port, login.path) == (DROP.host, DROP.port, "/users.csv")
    assert login.username.startswith("office-")
    assert len(login.password) == 32
    shown = office.support.sources.GetSource(pb.GetSourceRequest(name=answer.source.name))
    assert login.password not in str(shown)
    assert shown.drop_login == pb.DropLogin(host=login.host, port=login.port, username=login.username, path=login.path)
    secret = secret_of(importer, answer.source)
    assert (secret.endpoint.host, secret.endpoint.host_key) == (DROP.host, DROP.host_key)
    page = importer.sources.ListDropLogins(pb.ListDropLoginsRequest(page_size=1000))
    (record,) = [record for record in page.logins if record.source == answer.source.name]
    assert record.username == login.username
    assert record.password_sha256 == hashlib.sha256(login.password.encode()).digest()
    with store.read(office.tenant_id) as session:
        row = session.get(Source, names.parse(names.SOURCE, answer.source.name, field="name"))
        assert row.sealed_credentials is None


def test_the_importer_comes_into_a_drop_by_a_login_of_its_own(office: Office, importer: Caller):
    answers = [create(office), create(office)]
    secrets = [secret_of(importer, answer.source) for answer in answers]
    records = {
        record.source: record
        for record in importer.sources.ListDropLogins(pb.ListDropLoginsRequest(page_size=1000)).logins
    }
    for answer, secret in zip(answers, secrets, strict=True):
        record = records[answer.source.name]
        assert secret.endpoint.username == record.importer_username != answer.drop_login.username
        its_password = secret.credentials.password.encode()
        assert record.importer_password_sha256 == hashlib.sha256(its_password).digest() != record.password_sha256
    assert secrets[0].credentials != secrets[1].credentials


def test_two_drops_never_share_a_login(office: Office):
    assert create(office).drop_login.username != create(office).drop_login.username


def test_sealed_credentials_open_only_in_their_own_row(office: Office, importer: Caller, store):
    mine, other = own_server(office), own_server(office)
    assert secret_of(importer, mine).credentials.password == "secret-1"
    with store.write(office.tenant_id) as session:
        rows = [session.get(Source, names.parse(names.SOURCE, s.name, field="name")) for s in (mine, other)]
        rows[1].sealed_credentials = rows[0].sealed_credentials
    with refused("INTERNAL"):
        secret_of(importer, other)


def test_a_host_key_is_kept_without_its_comment(office: Office):
    assert own_server(office, host_key=f" {HOST_KEY}  root@sftp ").sftp.host_key == HOST_KEY


def test_credentials_without_a_host_are_refused(office: Office):
    with refused("INVALID_ARGUMENT") as told:
        create(office, credentials=pb.SftpCredentials(password="x"))
    assert fields_of(told) == ["credentials"]


def test_an_update_changes_what_its_mask_names_and_nothing_else(office: Office):
    source = own_server(office, path="/a.csv")
    paths = ["region", "limits.delete.percent", "sftp.port"]
    values = {"region": "NO", "limits": pb.Limits(delete=pb.Limit(percent=9, floor=9)), "group_separator": ";"}
    changed = update(office, source, *paths, sftp=pb.SftpEndpoint(port=2022), **values)
    assert (changed.region, changed.sftp.port, changed.sftp.path) == ("NO", 2022, "/a.csv")
    assert changed.group_separator == ","
    assert changed.limits == pb.Limits(delete=pb.Limit(percent=9))
    assert changed.etag != source.etag
    back = update(office, source, "limits.delete", "region")
    assert (back.limits, back.region) == (pb.Limits(), "")


def test_an_update_is_one_event_with_the_fields_that_changed(office: Office):
    source = create(office).source
    update(office, source, "region", "time_zone", region="SE", time_zone="UTC")
    (changed,) = office.events("source.updated")
    assert changed.resource == source.name
    assert MessageToDict(changed.after) == {"region": "SE"}
    assert MessageToDict(changed.before) == {"region": ""}


def test_a_mask_that_names_no_setting_is_refused(office: Office):
    source = create(office).source
    for paths in ([], ["state"], ["kind"], ["sftp.colour"], ["limits.colour"]):
        with refused("INVALID_ARGUMENT") as told:
            update(office, source, *paths)
        assert set(fields_of(told)) == {"update_mask"}


def test_the_path_is_fixed_once_the_source_has_left_trial(office: Office):
    source = create(office).source
    assert update(office, source, "sftp.path", sftp=pb.SftpEndpoint(path="/b.csv")).sftp.path == "/b.csv"
    office.support.sources.EnableSource(pb.EnableSourceRequest(name=source.name))
    with refused("SOURCE_STATE") as told:
        update(office, source, "sftp.path", sftp=pb.SftpEndpoint(path="/c.csv"))
    assert told["failure"].metadata == {"state": "enabled"}
    assert update(office, source, "sftp.path", sftp=pb.SftpEndpoint(path="/b.csv")).sftp.path == "/b.csv"


def test_a_stale_etag_refuses_an_update(office: Office):
    source = create(office).source
    update(office, source, "region", region="SE", etag=source.etag)
    with refused("STALE_ETAG"):
        update(office, source, "region", region="NO", etag=source.etag)


def test_new_credentials_replace_the_old_and_are_no_value_of_an_event(office: Office, importer: Caller):
    source = own_server(office)
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    update(office, source, credentials=pb.SftpCredentials(private_key=key))
    secret = secret_of(importer, source)
    assert (secret.credentials.password, secret.credentials.private_key) == ("", key)
    (changed,) = office.events("source.updated")
    assert MessageToDict(changed.after) == {"credentials": "new"}


def test_a_key_that_cannot_be_used_is_refused_at_once(office: Office):
    source = own_server(office)
    with refused("INVALID_ARGUMENT") as told:
        update(office, source, credentials=pb.SftpCredentials(private_key="-----BEGIN KEY-----"))
    assert fields_of(told) == ["credentials.private_key"]


def test_a_new_host_does_not_get_the_old_hosts_credentials(office: Office):
    source = own_server(office)
    moved = pb.SftpEndpoint(host="elsewhere.example.org")
    with refused("INVALID_ARGUMENT") as told:
        update(office, source, "sftp.host", sftp=moved)
    assert fields_of(told) == ["credentials"]
    credentials = pb.SftpCredentials(password="secret-2")
    assert update(office, source, "sftp.host", sftp=moved, credentials=credentials).sftp.host == moved.host


def test_a_hosted_drop_does_not_become_another_server(office: Office):
    source = create(office).source
    with refused("INVALID_ARGUMENT") as told:
        update(office, source, "sftp.host", "sftp.username", sftp=pb.SftpEndpoint(host="h", username="u"))
    assert "source.sftp.host" in fields_of(told)


def test_the_go_ahead_enables_and_disabling_stops_each_once(office: Office):
    source = create(office).source
    service = office.support.sources
    for _ in range(2):
        enabled = service.EnableSource(pb.EnableSourceRequest(name=source.name)).source
        assert enabled.state == pb.SOURCE_STATE_ENABLED
    for _ in range(2):
        disabled = service.DisableSource(pb.DisableSourceRequest(name=source.name)).source
        assert disabled.state == pb.SOURCE_STATE_DISABLED
    assert service.EnableSource(pb.EnableSourceRequest(name=source.name)).source.state == pb.SOURCE_STATE_ENABLED
    told = [(event.kind, event.before["state"]) for event in office.events("source.*")[1:]]
    assert told == [("source.enabled", "trial"), ("source.disabled", "enabled"), ("source.enabled", "disabled")]


def order(office: Office):
    listed = office.support.sources.ListSources(pb.ListSourcesRequest(tenant=office.name)).sources
    assert [source.position for source in listed] == list(range(1, len(listed) + 1))
    return [source.display_name for source in listed]


def test_a_source_with_a_position_moves_the_others_down(office: Office):
    first = create(office, display_name="A").source
    create(office, display_name="B")
    create(office, display_name="C", position=1)
    assert order(office) == ["C", "A", "B"]
    create(office, display_name="D", position=99)
    update(office, first, "position", position=4)
    assert order(office) == ["C", "B", "D", "A"]
    update(office, first, "position", position=2)
    assert order(office) == ["C", "A", "B", "D"]
    assert get(office, first).etag != first.etag


def test_the_importers_grant_is_needed_for_secrets(office: Office, directory: ServedDirectory):
    source = create(office).source
    with refused("PERMISSION_DENIED"):
        secret_of(directory.caller(Grant.TENANT, office.name), source)


def create_scim(office: Office, **settings) -> pb.CreateSourceResponse:
    return create(office, **{"kind": pb.SOURCE_KIND_SCIM, "account": office.main_account, **settings})


def test_a_scim_source_is_enabled_at_once_and_creates_unknown_groups(office: Office):
    made = create_scim(office)
    source = made.source
    assert (source.kind, source.state) == (pb.SOURCE_KIND_SCIM, pb.SOURCE_STATE_ENABLED)
    assert source.unknown_groups == pb.UNKNOWN_GROUPS_CREATE
    assert (source.account, source.sftp.path, source.sftp.username) == (office.main_account, "", "")
    assert not made.HasField("drop_login")
    assert get(office, source) == source


def test_a_scim_source_keeps_the_settings_it_has(office: Office):
    given: Any = {
        "region": "SE",
        "unknown_groups": pb.UNKNOWN_GROUPS_IGNORE,
        "report_to": ["it@example.org"],
        "language": "sv",
    }
    shown = MessageToDict(create_scim(office, **given).source)
    expected = MessageToDict(pb.Source(**given))
    assert {name: shown[name] for name in expected} == expected


def test_the_event_of_a_new_source_says_its_kind(office: Office):
    create_scim(office)
    create(office)
    scim, file = [MessageToDict(event.after) for event in office.events("source.created")]
    assert (scim["kind"], file["kind"]) == ("scim", "sftp")
    assert not [path for path in scim if path.startswith(("sftp.", "limits.", "nightly"))]
    assert file["sftp.path"] == "/users.csv"


@pytest.mark.parametrize(
    ("settings", "wrong"),
    [
        ({"account": ""}, "source.account"),
        ({"sftp": {"host": "h", "username": "u"}}, "source.sftp.host"),
        ({"sftp": {"path": "/users.csv"}}, "source.sftp.path"),
        ({"nightly_time": "03:00"}, "source.nightly_time"),
        ({"automatic_invitations": True}, "source.automatic_invitations"),
        ({"limits": {"delete": {"floor": 0}}}, "source.limits.delete.floor"),
    ],
)
def test_a_scim_source_needs_an_account_and_refuses_what_only_files_have(office: Office, settings, wrong):
    with refused("INVALID_ARGUMENT") as told:
        create_scim(office, **settings)
    assert wrong in fields_of(told)


def test_a_scim_source_takes_no_credentials(office: Office):
    with refused("INVALID_ARGUMENT") as told:
        create_scim(office, credentials=pb.SftpCredentials(password="x"))
    assert fields_of(told) == ["credentials"]


def test_a_scim_source_is_changed_where_it_has_settings(office: Office):
    source = create_scim(office).source
    school = office.account("School").name
    changed = update(
        office,
        source,
        "display_name",
        "account",
        "unknown_groups",
        "position",
        display_name="Entra",
        account=school,
        unknown_groups=pb.UNKNOWN_GROUPS_IGNORE,
    )
    assert (changed.display_name, changed.account) == ("Entra", school)
    assert changed.unknown_groups == pb.UNKNOWN_GROUPS_IGNORE
    assert update(office, source, "unknown_groups").unknown_groups == pb.UNKNOWN_GROUPS_CREATE
    for path, values, wrong in (
        ("account", {}, "source.account"),
        ("grace_nights", {"grace_nights": 2}, "source.grace_nights"),
        ("sftp.host", {"sftp": pb.SftpEndpoint(host="h")}, "source.sftp.host"),
    ):
        with refused("INVALID_ARGUMENT") as told:
            update(office, source, path, **values)
        assert fields_of(told) == [wrong]


def test_a_scim_source_has_no_file_to_fetch_or_to_import(office: Office, importer: Caller):
    source = create_scim(office).source
    with refused("SOURCE_STATE"):
        secret_of(importer, source)
    with refused("SOURCE_STATE"):
        importer.imports.CreateImportRun(imports_pb2.CreateImportRunRequest(source=source.name))
    logins = importer.sources.ListDropLogins(pb.ListDropLoginsRequest(page_size=1000)).logins
    assert source.name not in [login.source for login in logins]


def test_a_scim_source_is_disabled_and_enabled_again(office: Office):
    source = create_scim(office).source
    disabled = office.support.sources.DisableSource(pb.DisableSourceRequest(name=source.name)).source
    assert disabled.state == pb.SOURCE_STATE_DISABLED
    enabled = office.support.sources.EnableSource(pb.EnableSourceRequest(name=source.name)).source
    assert enabled.state == pb.SOURCE_STATE_ENABLED
