"""Where to and as whom."""

import json

import pytest

from cli.connect import Addresses
from cli.errors import CommandError, NoInstallationError


def test_the_environment_comes_before_what_up_left(tmp_path):
    (tmp_path / "muster.json").write_text(json.dumps({"directory": "here:1", "token": "kept"}))
    addresses = Addresses({"MUSTER_DIRECTORY": "there:2"}, tmp_path)
    assert (addresses["directory"], addresses["token"]) == ("there:2", "kept")


def test_an_address_that_is_nowhere_names_its_variable(tmp_path):
    with pytest.raises(NoInstallationError, match="MUSTER_IMPORTER"):
        _ = Addresses({}, tmp_path)["importer"]


def test_a_damaged_file_is_said_with_the_cure(tmp_path):
    (tmp_path / "muster.json").write_text("{")
    with pytest.raises(CommandError, match="up` again"):
        _ = Addresses({}, tmp_path)["directory"]
