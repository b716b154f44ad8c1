"""The secrets of docker-compose.yml: made once, and each in a folder of the service that it is for."""

from __future__ import annotations

import stat

import pytest

from cli.compose.secrets import lay_out
from cli.up import keepsake

FOLDERS = ("postgres", "directory", "notifier", "drop", "customer")


@pytest.fixture
def folders(tmp_path):
    for name in ("kept", *FOLDERS):
        (tmp_path / name).mkdir()
    return tmp_path


def laid_out(folders):
    lay_out(folders / "kept", folders)
    return {str(path.relative_to(folders)): path.read_text() for path in folders.rglob("*") if path.is_file()}


def test_what_was_made_once_stays(folders):
    assert laid_out(folders) == laid_out(folders)


def test_the_services_are_told_what_is_kept_and_share_the_databases_password(folders):
    secrets = laid_out(folders)
    kept = keepsake.load(folders / "kept", "")
    assert secrets["directory/directory_pepper"] == kept.pepper
    assert secrets["directory/directory_seal_key"] == kept.seal_key
    assert secrets["directory/directory_drop_host_key"] == keepsake.host_key(folders / "kept")
    assert secrets["directory/directory_database_url"] == secrets["notifier/notifier_database_url"]
    assert f":{secrets['postgres/password']}@" in secrets["notifier/notifier_database_url"]


def test_only_what_others_images_read_is_open_to_other_users(folders):
    laid_out(folders)
    is_open = {path.name for path in folders.rglob("*") if path.is_file() and stat.S_IMODE(path.stat().st_mode) & 0o077}
    assert is_open == {"password", "users.conf"}
