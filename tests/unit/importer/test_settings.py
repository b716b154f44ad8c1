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
