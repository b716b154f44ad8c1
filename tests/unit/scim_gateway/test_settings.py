"""The gateway's settings come from the environment, and what is wrong with them is named."""

from __future__ import annotations

import pytest

from services.scim_gateway.auth import key_id_of, key_of
from services.scim_gateway.settings import InvalidSettingsError, load_settings


@pytest.fixture(autouse=True)
def _set(monkeypatch):
    monkeypatch.setenv("SCIM_GATEWAY_DIRECTORY", "127.0.0.1:7001")


def test_the_directory_is_all_it_needs():
    settings = load_settings()
    assert (settings.directory, settings.listen, settings.base_url) == ("127.0.0.1:7001", "127.0.0.1:0", "")


def test_a_missing_directory_is_named(monkeypatch):
    monkeypatch.delenv("SCIM_GATEWAY_DIRECTORY")
    with pytest.raises(InvalidSettingsError, match="SCIM_GATEWAY_DIRECTORY"):
        load_settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [("LISTEN", "8080"), ("BASE_URL", "scim.example.org"), ("LOG_LEVEL", "loud"), ("TRUSTED_PROXIES", "10.0.0.1/8")],
)
def test_a_malformed_setting_is_named_and_not_shown(monkeypatch, name, value):
    monkeypatch.setenv(f"SCIM_GATEWAY_{name}", value)
    with pytest.raises(InvalidSettingsError, match=f"SCIM_GATEWAY_{name}") as told:
        load_settings()
    assert f"'{value}'" not in str(told.value)
    assert "10.0.0.1" not in str(told.value)


def test_of_a_key_only_its_id_is_logged():
    assert key_id_of("Bearer mst_scim_8160dx97_secret") == "8160dx97"
    assert key_id_of("Bearer something-else") == ""
    assert key_id_of(None) == ""


def test_the_scheme_may_be_written_anyhow():
    assert key_of("bearer  mst_scim_a_b") == "mst_scim_a_b"
