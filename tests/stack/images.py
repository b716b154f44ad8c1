"""Build the images that docker-compose.yml names, once for a test run however many processes it has."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import docker

ROOT = Path(__file__).resolve().parents[2]
PREFIX, VERSION = "muster-tests", "tests"
SERVICES = ("directory", "importer", "notifier", "scim_gateway", "cli", "mail")
_BUILD_TIMEOUT_S = 900


def compose_environment() -> dict[str, str]:
    """Our environment, with images of the tests' own for `docker compose`."""
    return dict(os.environ) | {"MUSTER_IMAGES": PREFIX, "MUSTER_VERSION": VERSION}


def build_once(folder: Path) -> Mapping[str, str]:
    """Build what `folder` does not say is built, and give the images' ids by name of their repository."""
    built = folder / "images.json"
    with (folder / "images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            built.write_text(json.dumps(_build()))
    ids: dict[str, str] = json.loads(built.read_text())
    return ids


def _build() -> dict[str, str]:
    command = ["docker", "compose", "--project-directory", str(ROOT), "build", *SERVICES]
    done = subprocess.run(
        command, env=compose_environment(), capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    engine = docker.from_env()
    try:
        found = engine.images.list(filters={"reference": f"{PREFIX}/*:{VERSION}"})
        return {tag.removeprefix(f"{PREFIX}/").partition(":")[0]: image.id for image in found for tag in image.tags}
    finally:
        engine.close()
