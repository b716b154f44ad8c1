"""Settings come from the environment, and an error names the variable and never its value."""

from __future__ import annotations

import pytest

from services.notifier.settings import SettingsError, load_settings

ENOUGH = {
    "NOTIFIER_DIRECTORY": "127.0.0.1:1",
    "NOTIFIER_TOKEN": "mst_svc_secret",
    "NOTIFIER_DATABASE_URL": "sqlite:////tmp/x.db",
    "NOTIFIER_MAIL_DIR": "/tmp/mail",
}


@pytest.fixture
def environment(monkeypatch):
    for name, value in ENOUGH.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_the_environment_is_enough(environment):
    environment.setenv("NOTIFIER_SMTP_HOST", "")
    settings = load_settings()
    assert settings.smtp_host == ""
    assert settings.listen == "127.0.0.1:0"
    assert "mst_svc_secret" not in repr(settings)


def test_the_usual_port_follows_the_way_the_connection_is_kept_private(environment):
    ports = {}
    for tls in ("none", "starttls", "tls"):
        environment.setenv("NOTIFIER_SMTP_TLS", tls)
        ports[tls] = load_settings().smtp_port_or_usual
    assert ports == {"none": 25, "starttls": 587, "tls": 465}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("NOTIFIER_TOKEN", None),
        ("NOTIFIER_DATABASE_URL", None),
        ("NOTIFIER_MAIL_DIR", None),
        ("NOTIFIER_DATABASE_URL", "mysql://u:mst_svc_secret@h/d"),
        ("NOTIFIER_DATABASE_URL", "nonsense"),
        ("NOTIFIER_SMTP_TLS", "perhaps"),
        ("NOTIFIER_SENDER", "nobody"),
        ("NOTIFIER_SENDER", "a@example.org\nBcc: b@example.org"),
        ("NOTIFIER_ADMIN_URL", "javascript:alert(1)"),
        ("NOTIFIER_SMTP_USERNAME", "someone"),
        ("NOTIFIER_SECRETS_DIR", "/nowhere/secrets"),
    ],
)
def test_what_is_missing_or_wrong_is_named(environment, name, value):
    if value is None:
        environment.delenv(name)
    else:
        environment.setenv(name, value)
    with pytest.raises(SettingsError, match=name) as caught:
        load_settings()
    assert "mst_svc_secret" not in str(caught.value)


def test_a_setting_may_be_a_file_and_a_variable_comes_before_it(environment, tmp_path):
    environment.setenv("NOTIFIER_SECRETS_DIR", str(tmp_path))
    environment.delenv("NOTIFIER_TOKEN")
    (tmp_path / "notifier_token").write_text("mst_svc_in_a_file\n")
    (tmp_path / "notifier_directory").write_text("elsewhere:1\n")

    settings = load_settings()

    assert settings.token.get_secret_value() == "mst_svc_in_a_file"
    assert settings.directory == ENOUGH["NOTIFIER_DIRECTORY"]
