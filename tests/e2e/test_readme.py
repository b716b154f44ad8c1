"""Every command of README.md is run as it stands there, and prints what it says there."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import psutil
import pytest

from tests.stack.choice import choose
from tests.stack.waiting import wait_until
from tests.unit.docs.pages import ROOT, codes, fences, page, section

README = page("README.md")
BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Shown:
    """A command and the lines that stand below it; a lone `…` stands for any lines, one in a line for any text."""

    command: str
    lines: tuple[str, ...]


def shown_in(text):
    """Read the shell's blocks of a text in order; plain scripts show no output, which says nothing of it."""
    for fence in fences(text):
        if fence.language == "sh":
            yield from (Shown(line, ("…",)) for line in fence.text.splitlines())
        elif fence.language == "console":
            for part in re.split(r"^\$ ", fence.text, flags=re.MULTILINE)[1:]:
                command, *lines = part.splitlines()
                yield Shown(command, tuple(lines))


def disagreement(expected, printed):
    """Say which lines are not in the output where they should be, or nothing when all are."""
    actual = [" ".join(line.split()) for line in printed.splitlines() if line.strip()]
    text = "\n".join(" ".join(line.split()) for line in expected)
    *parts, last = [part.split("\n") if part else [] for part in re.split(r"\n?^…$\n?", text, flags=re.MULTILINE)]
    start = 0
    for number, part in enumerate(parts):
        places = range(start, len(actual) - len(part) + 1) if number else (0,)
        found = next((place for place in places if agrees(part, actual, place)), None)
        if found is None:
            return part
        start = found + len(part)
    end = len(actual) - len(last)
    is_right = end >= start and agrees(last, actual, end) and (parts or end == 0)
    return [] if is_right or (parts and last == []) else [*last, "and nothing else"]


def agrees(part, actual, at):
    return len(actual) >= at + len(part) and all(
        re.fullmatch(re.escape(line).replace("…", ".*"), actual[at + number]) for number, line in enumerate(part)
    )


@pytest.mark.parametrize(
    ("expected", "printed", "is_right"),
    [
        (["a", "b"], "a\nb\n", True),
        (["a"], "a\nb\n", False),
        (["a", "…"], "a\nb\n", True),
        (["…", "b"], "a\nb\n", True),
        (["…", "b"], "b\na\n", False),
        (["…", "b", "…", "d…"], "a\nb\nc\nde\n", True),
        (["…", "d", "…", "b", "…"], "a\nb\nc\nd\n", False),
        ([], "", True),
        ([], "a", False),
        (["…"], "anything", True),
    ],
)
def test_output_is_compared_as_a_reader_would(expected, printed, is_right):
    assert (disagreement(expected, printed) == []) is is_right


def targets():
    """What `make` alone lists."""
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return {line.split()[0] for line in listed.splitlines()}


def recipe_of(target):
    """The commands of a target."""
    return re.search(rf"^{target}:.*\n((?:\t.*\n)*)", page("Makefile"), re.MULTILINE)[1]


def test_every_make_target_that_is_named_exists():
    commands = [*codes(README), *(shown.command for shown in shown_in(README))]
    named = {code.split()[1] for code in commands if re.fullmatch(r"make [a-z-]+", code)}
    assert named >= {"demo", "test", "install"}
    assert named <= targets()


def test_make_install_leaves_the_command_where_the_readme_looks_for_it():
    (export,) = [shown.command for shown in shown_in(README) if shown.command.startswith("export ")]
    assert export == 'export PATH="$PWD/.venv/bin:$PATH"'
    assert "VENV := .venv\n" in page("Makefile")
    assert (BIN / "muster").exists()


def test_make_demo_prints_what_the_readme_shows(tmp_path):
    assert recipe_of("demo") == "\t$(BIN)/muster demo\n"
    (shown,) = [each for each in shown_in(README) if each.command == "make demo"]
    done = subprocess.run(
        [BIN / "muster", "demo"],
        capture_output=True,
        text=True,
        timeout=200,
        env=surroundings() | {"TMPDIR": str(tmp_path), "MUSTER_DIRECTORY": "nowhere:1"},
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    assert disagreement(["…", *shown.lines], done.stdout) == []
    assert "delete_limit" in done.stdout
    assert "truncated" in done.stdout
    assert list(tmp_path.iterdir()) == []  # and it leaves nothing behind
    assert not [each for each in psutil.process_iter(["environ"]) if str(tmp_path) in str(each.info["environ"])]


def test_make_test_runs_these_tests_and_prints_the_stack():
    # Not run here, since this is it: its recipe and the header that it prints are looked at instead.
    assert "-m pytest" in recipe_of("test")
    (shown,) = [each for each in shown_in(README) if each.command == "make test"]
    header = str(choose({}, lambda: "Docker Engine 29"))
    assert disagreement([line for line in shown.lines if line.startswith("stack: ")], header) == []


@pytest.mark.long
def test_the_commands_by_hand_do_what_the_readme_shows(tmp_path):
    commands = [
        shown
        for shown in shown_in(section(README, "By hand"))
        if not shown.command.startswith(("make install", "export "))  # done already, or these tests would not run
    ]
    assert commands.pop(0).command == "muster up"
    with muster_up(tmp_path):
        for shown in commands:
            if shown.command.startswith("muster run "):
                upload(tmp_path)  # "with any SFTP client and the login that `muster up` printed"
            if shown.command.startswith("muster messages "):  # a report takes a moment
                wait_until(
                    lambda shown=shown: disagreement(shown.lines, printed_by(shown.command, tmp_path)) == [],
                    what=f"the output of {shown.command}",
                )
            else:
                assert disagreement(shown.lines, printed_by(shown.command, tmp_path)) == [], shown.command


@contextmanager
def muster_up(folder):
    """Start `muster up` as in the first terminal, and end it as Ctrl-C does."""
    with (folder / "up.txt").open("w") as said:
        process = subprocess.Popen(["muster", "up"], cwd=folder, stdout=said, stderr=said, env=surroundings())
    try:
        wait_until(lambda: is_up(process, folder / "up.txt"), timeout_s=60, what="`muster up` to say where all is")
        yield
    finally:
        process.terminate()
        process.wait(20)


def is_up(process, said):
    """Say whether it has told what to run; it must not have ended."""
    assert process.poll() is None, said.read_text()
    return "muster run tenants/" in said.read_text()


def printed_by(command, folder):
    """Run a command as in the second terminal."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, timeout=90, env=surroundings(), check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def upload(folder):
    """Put users.csv where the drop wants it."""
    sftp = json.loads((folder / "data" / "muster.json").read_text())["sftp"]

    async def put():
        async with (
            asyncssh.connect(
                *(sftp["host"], sftp["port"]),
                username=sftp["username"],
                password=sftp["password"],
                known_hosts=None,
                client_keys=None,
                agent_path=None,
                config=None,
            ) as connection,
            connection.start_sftp_client() as files,
        ):
            await files.put(str(folder / "users.csv"), sftp["path"])

    assert sftp["path"] == "/users.csv"
    asyncio.run(put())


def surroundings():
    """The reader's environment after the README's `export`, whatever installation this one knows."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MUSTER_")}
    return kept | {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
