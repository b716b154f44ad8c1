"""Settings come from the environment, and an error names the variable and not its value."""

from __future__ import annotations

import pytest

from services.importer.settings import InvalidSettingsError, load_settings


def test_a_missing_setting_is_named(monkeypatch):
    for name in ("IMPORTER_DIRECTORY", "IMPORTER_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InvalidSettingsError, match=r"IMPORTER_DIRECTORY: .*IMPORTER_TOKEN: "):
        load_settings()


def test_a_malformed_setting_is_named_without_its_value(monkeypatch):
    monkeypatch.setenv("IMPORTER_DIRECTORY", "127.0.0.1:1")
    monkeypatch.setenv("IMPORTER_TOKEN", "mst_svc_secret")
    monkeypatch.setenv("IMPORTER_EXIT_WITH_STDIN", "perhaps")
    with pytest.raises(InvalidSettingsError, match="IMPORTER_EXIT_WITH_STDIN") as error:
        load_settings()
    assert "perhaps" not in str(error.value)
    monkeypatch.setenv("IMPORTER_EXIT_WITH_STDIN", "true")
    settings = load_settings()
    assert settings.exit_with_stdin
    assert "mst_svc_secret" not in repr(settings)


def test_a_setting_may_be_a_file_and_a_variable_comes_before_it(monkeypatch, tmp_path):
    monkeypatch.setenv("IMPORTER_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("IMPORTER_DIRECTORY", "127.0.0.1:1")
    monkeypatch.delenv("IMPORTER_TOKEN", raising=False)
    (tmp_path / "importer_token").write_text("mst_svc_in_a_file\n")
    (tmp_path / "importer_directory").write_text("elsewhere:1\n")

    settings = load_settings()

    assert settings.token.get_secret_value() == "mst_svc_in_a_file"
    assert settings.directory == "127.0.0.1:1"


def test_a_folder_of_secrets_that_is_not_there_is_named_by_its_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("IMPORTER_SECRETS_DIR", str(tmp_path / "absent"))
    with pytest.raises(InvalidSettingsError, match="IMPORTER_SECRETS_DIR: "):
        load_settings()
