"""Each image holds one service and what that needs, runs as nobody special, and writes only where it is told to."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence

import pytest

from tests.stack.images import ROOT

SERVICES = ("directory", "importer", "notifier", "scim-gateway")
OWN_MODULES = {
    "directory": "services.directory",
    "importer": "services.importer",
    "notifier": "services.notifier",
    "scim-gateway": "services.scim_gateway",
    "cli": "cli",
    "mail-sink": "aiosmtpd",
}
BUILD_AND_TEST_TOOLS = {"grpcio-tools", "hatchling", "hypothesis", "mypy", "pip", "pytest", "ruff", "uv"}
LOCKED = dict(re.findall(r"^([a-z0-9-]+)==([^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
UID = "10001"

LOOK_INSIDE = """
import importlib.metadata, importlib.util, json, os, sys

def has(module):
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False

packages = {each.name.lower().replace("_", "-"): each.version for each in importlib.metadata.distributions()}
answer = {"modules": [m for m in sys.argv[1:] if has(m)], "packages": packages, "uid": str(os.getuid())}
print(json.dumps(answer))
"""


def run(image: str, *arguments: str, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    command = ["docker", "run", "--rm", "--read-only", "--cap-drop=ALL", "--network=none", *options, image, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="session")
def look_inside(images):
    """What an image has, asked once for each."""
    seen = {}

    def look(name):
        if name not in seen:
            asked = run(images[name], "-c", LOOK_INSIDE, *OWN_MODULES.values(), options=["--entrypoint=python"])
            assert asked.returncode == 0, asked.stderr
            seen[name] = json.loads(asked.stdout)
        return seen[name]

    return look


@pytest.mark.parametrize("name", OWN_MODULES)
def test_an_image_can_import_its_own_service_and_no_other(look_inside, name):
    assert look_inside(name)["modules"] == [OWN_MODULES[name]]


@pytest.mark.parametrize("name", OWN_MODULES)
def test_an_image_has_what_the_lock_says_and_nothing_to_build_or_test_with(look_inside, name):
    packages = look_inside(name)["packages"]
    from_elsewhere = {package: version for package, version in packages.items() if not package.startswith("muster-")}
    assert from_elsewhere == {package: LOCKED[package] for package in from_elsewhere}
    assert not BUILD_AND_TEST_TOOLS & set(packages)


def test_the_importers_image_knows_no_database_and_the_directorys_no_sftp(look_inside):
    assert not {"sqlmodel", "sqlalchemy", "psycopg"} & set(look_inside("importer")["packages"])
    assert not {"paramiko", "asyncssh"} & set(look_inside("directory")["packages"])


@pytest.mark.parametrize("name", OWN_MODULES)
def test_an_image_runs_as_the_same_user_who_is_not_root(look_inside, name):
    assert look_inside(name)["uid"] == UID


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_starts_on_a_read_only_disk_and_says_which_settings_are_missing(images, name):
    ended = run(images[name])
    assert ended.returncode in {1, 2}
    prefix = name.upper().replace("-", "_")
    assert re.match(rf"muster-{name}: {prefix}_[A-Z_]+: Field required", ended.stderr)
    assert "Traceback" not in ended.stderr


def test_the_directory_keeps_an_embedded_database_in_a_volume_on_a_read_only_disk(images):
    settings = {
        "DIRECTORY_DATABASE_URL": "sqlite:////data/directory.db",
        "DIRECTORY_PEPPER": "a pepper of the tests only",
        "DIRECTORY_SEAL_KEY": "A" * 43 + "=",
    }
    options = [f"--env={name}={value}" for name, value in settings.items()]
    migrated = run(images["directory"], "migrate", options=[*options, "--volume=/data"])
    assert (migrated.returncode, migrated.stderr) == (0, "")


@pytest.mark.parametrize("name", OWN_MODULES)
def test_an_image_says_what_it_is_and_how_it_is_ended_and_looked_after(images, name):
    shown = subprocess.run(["docker", "image", "inspect", images[name]], capture_output=True, check=True).stdout
    (image,) = json.loads(shown)
    config = image["Config"]
    assert config["User"] == f"{UID}:{UID}"
    assert config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"][0] != "/bin/sh"  # exec form: signals reach the service itself
    title = config["Labels"]["org.opencontainers.image.title"]
    assert title == ("muster" if name == "cli" else f"muster-{name}")
    assert ("Healthcheck" in config) is (name != "cli")
