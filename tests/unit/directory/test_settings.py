"""Settings: a wrong one is named by its variable, and its value is not shown."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from services.directory.app import main
from services.directory.settings import Settings

RIGHT = {
    "DIRECTORY_DATABASE_URL": "sqlite:////srv/muster/directory.db",
    "DIRECTORY_PEPPER": "a pepper of the tests only",
    "DIRECTORY_SEAL_KEY": base64.b64encode(bytes(32)).decode(),
}


@pytest.fixture
def environment(monkeypatch):
    for name, value in RIGHT.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DIRECTORY_DATABASE_URL", "mysql://someone:secret@x/y"),
        ("DIRECTORY_PEPPER", "short-secret"),
        ("DIRECTORY_SEAL_KEY", "bm90LTMyLWJ5dGVz"),
        ("DIRECTORY_SEAL_KEY", "not base64!"),
    ],
)
def test_a_wrong_setting_is_named_by_its_variable_and_its_value_is_not_shown(environment, capsys, name, value):
    environment.setenv(name, value)
    assert main(["migrate"]) == 1
    complaint = capsys.readouterr().err
    assert complaint.count("\n") == 1
    assert name in complaint
    assert value not in complaint


def read_settings() -> Settings:
    return Settings()  # type: ignore[call-arg]  # read from the environment


@pytest.mark.parametrize("name", RIGHT)
def test_a_missing_setting_is_named(environment, capsys, name):
    environment.delenv(name)
    assert main(["migrate"]) == 1
    assert f"{name}: Field required" in capsys.readouterr().err


def test_settings_show_no_secret_when_printed(environment):
    settings = read_settings()
    shown = repr(settings)
    assert RIGHT["DIRECTORY_PEPPER"] not in shown
    assert "seal_key" not in shown
    assert settings.pepper_bytes == RIGHT["DIRECTORY_PEPPER"].encode()
    assert settings.seal_key == bytes(32)


def test_a_setting_may_be_a_file_and_a_variable_comes_before_it(environment, tmp_path):
    environment.setenv("DIRECTORY_SECRETS_DIR", str(tmp_path))
    (tmp_path / "directory_pepper").write_text("a pepper that is in a file\n")
    (tmp_path / "directory_drop_host").write_text("drop.example\n")

    assert read_settings().pepper_bytes == RIGHT["DIRECTORY_PEPPER"].encode()
    environment.delenv("DIRECTORY_PEPPER")
    assert read_settings().pepper_bytes == b"a pepper that is in a file"
    assert read_settings().drop_host == "drop.example"


def test_a_folder_of_secrets_that_is_not_there_is_named_by_its_variable(environment, capsys, tmp_path):
    environment.setenv("DIRECTORY_SECRETS_DIR", str(tmp_path / "absent"))
    assert main(["migrate"]) == 1
    assert capsys.readouterr().err.startswith("muster-directory: DIRECTORY_SECRETS_DIR: ")


def test_stages_lie_beside_the_embedded_database_unless_told_otherwise(environment):
    assert read_settings().stages == Path("/srv/muster")
    environment.setenv("DIRECTORY_STAGE_DIR", "/srv/stages")
    assert read_settings().stages == Path("/srv/stages")


@pytest.mark.usefixtures("environment")
def test_a_tenants_token_needs_its_tenant():
    with pytest.raises(SystemExit) as ended:
        main(["token", "--grant", "tenant"])
    assert ended.value.code == 2
