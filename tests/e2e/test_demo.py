"""`muster demo` tells its story to the end, and leaves nothing behind."""

import os
import subprocess
import sys
from pathlib import Path

import psutil

MUSTER = Path(sys.executable).with_name("muster")


def test_the_demo_does_what_it_says(tmp_path):
    done = subprocess.run(
        [MUSTER, "demo"],
        capture_output=True,
        text=True,
        timeout=150,
        env=dict(os.environ) | {"TMPDIR": str(tmp_path), "MUSTER_DIRECTORY": "nowhere:1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert "Every step did what it says" in done.stdout
    assert "delete_limit" in done.stdout
    assert "truncated" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert not [each for each in psutil.process_iter(["environ"]) if str(tmp_path) in str(each.info["environ"])]
