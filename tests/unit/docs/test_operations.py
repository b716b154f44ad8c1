"""docs/operations.md names every setting of every service with its default, and none that there is not."""

from __future__ import annotations

import os
import re

import pytest
from pydantic import SecretStr

import services.directory.settings
import services.importer.settings
import services.notifier.settings
from cli.errors import CommandError
from cli.up.drop import DropSettings
from services.directory.rules.grants import METHOD_RULES, SERVICE_GRANTS, Grant
from tests.unit.docs.pages import ROOT, codes, page, rows, section

TEXT = page("docs/operations.md")
SERVICES = {
    "Directory": services.directory.settings.Settings,
    "Importer": services.importer.settings.ImporterSettings,
    "Notifier": services.notifier.settings.Settings,
}


def written(field):
    """A default as the page writes it."""
    if field.is_required():
        return "needed"
    value = field.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if value is None or value == "":
        return None
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("service", SERVICES)
def test_every_setting_of_a_service_is_in_its_table_with_its_default(service):
    settings = SERVICES[service]
    prefix = settings.model_config["env_prefix"]
    table = {codes(variable)[0]: default for variable, default, _ in rows(section(TEXT, service))}
    assert list(table) == [f"{prefix}{name}".upper() for name in table_order(table, settings, prefix)]
    for name, field in settings.model_fields.items():
        said, default = table[f"{prefix}{name}".upper()], written(field)
        if default is None:
            assert codes(said) == [], name  # in words: empty, none, the system's
        else:
            assert said.strip("`") == default, name


def table_order(table, settings, prefix):
    """The settings' names in the page's order; both must be the same ones."""
    names = [variable.removeprefix(prefix).lower() for variable in table]
    assert sorted(names) == sorted(settings.model_fields)
    return names


def test_every_setting_of_the_drop_is_in_its_table_and_needed_where_the_page_says_so():
    table = {codes(variable)[0]: default for variable, default, _ in rows(section(TEXT, "The drop of `muster up`"))}
    source = (ROOT / "cli/up/drop.py").read_text()
    assert set(table) == set(re.findall(r'"(DROP_[A-Z_]+)"', source))
    right = {"DROP_LISTEN": "127.0.0.1:1", "DROP_DIRECTORY": "d:1", "DROP_TOKEN": "t", "DROP_FOLDER": "f"}
    right["DROP_HOST_KEY_FILE"] = "k"
    DropSettings.read(right)
    assert {name for name, default in table.items() if default == "needed"} == set(right)
    for name in right:
        with pytest.raises(CommandError, match=name):
            DropSettings.read({key: value for key, value in right.items() if key != name})


def test_every_variable_that_the_command_reads_is_in_its_table():
    found = {f"MUSTER_{name}" for name in ("DIRECTORY", "IMPORTER", "NOTIFIER", "TOKEN")}
    for path in (ROOT / "cli").rglob("*.py"):
        found |= set(re.findall(r'envvar="(MUSTER_[A-Z_]+)"', path.read_text()))
    assert {codes(variable)[0] for variable, _ in rows(section(TEXT, "The command"))} == found
    assert os.sep == "/"  # the pages write paths so


def test_the_files_of_a_data_directory_are_those_the_command_makes():
    named = " ".join(cell for cells in rows(section(TEXT, "`muster up`")) for cell in codes(cells[0]))
    sources = "\n".join(path.read_text() for path in (ROOT / "cli").rglob("*.py"))
    for name in re.sub(r"run_\*\.db", "", named).split():
        assert re.search(rf"""["']{re.escape(name.rstrip("/"))}["']""", sources), name


def test_every_grant_is_named_where_tokens_are_minted_and_where_grants_are_explained():
    grants = {grant.value for grant in Grant}
    minted = [grant.value for grant in Grant if grant in SERVICE_GRANTS]
    assert "|".join(re.findall(r"--grant ([a-z|]+) \[--tenant", TEXT)).split("|") == minted
    table = {codes(cells[0])[0]: cells[1:] for cells in rows(section(page("docs/security.md"), "Who may call what"))}
    assert set(table) == grants


def test_what_the_table_of_grants_says_is_what_the_rules_say():
    reached = {
        grant: {name.rpartition("/")[2] for name, rule in METHOD_RULES.items() if grant in rule.grants}
        for grant in Grant
    }
    provisioning = {name.rpartition("/")[2] for name in METHOD_RULES if ".ProvisioningService/" in name}
    assert reached[Grant.CONNECTION] == provisioning
    anonymous = {name.rpartition("/")[2] for name, rule in METHOD_RULES.items() if rule.anonymous}
    assert reached[Grant.SUPPORT] == {name.rpartition("/")[2] for name in METHOD_RULES} - provisioning - anonymous
    assert {"GetSourceSecret", "ListDropLogins", "CreateImportRun", "ApplyImport"} <= reached[Grant.IMPORTER]
    assert not reached[Grant.IMPORTER] & {"CreateUser", "UpdateSource", "WatchEvents", "UpdateLicense"}
    assert "WatchEvents" in reached[Grant.NOTIFIER]
    changing = {
        name
        for name in reached[Grant.NOTIFIER]
        if not name.startswith(("Get", "List", "Watch", "BatchGet", "Download"))
    }
    assert changing == {"AcknowledgeEvents", "DeleteSubscription", "MintInvitationLink", "MintPasswordResetLink"}
    assert not reached[Grant.NOTIFIER] & {"GetSourceSecret", "ListDropLogins"}
    assert {"CreateAccount", "CreateGroup", "CreateUser", "CreateSource", "ApplyImport"} <= reached[Grant.TENANT]
    assert {"CreateApiKey", "ListApiKeys", "RotateApiKey", "RevokeApiKey", "ListRefusals"} <= reached[Grant.TENANT]
    refused = {"UpdateLicense", "CreateTenant", "ListTenants", "GetSourceSecret", "ListDropLogins", "AcknowledgeEvents"}
    refused |= {"FindApiKey"}
    assert not reached[Grant.TENANT] & refused
