"""The notifier tells the directory how far it has come, so that no event is archived before it was dealt with."""

from __future__ import annotations

import grpc
import pytest

from tests.unit.notifier.directory_double import a_directory
from tests.unit.notifier.running import Notifier, to_files


@pytest.fixture
def directory():
    with a_directory("hr@ingleby.example") as double:
        yield double


@pytest.fixture
def notifier(directory, tmp_path):
    made = Notifier(f"sqlite:///{tmp_path}/notifier.db", directory, to_files(tmp_path / "mail"))
    yield made
    made.store.close()


def test_what_is_stored_is_acknowledged_and_nothing_before(directory, notifier):
    directory.add_run("applied")
    notifier.follow_until(lambda: directory.subscriptions.get("notifier") == 1)
    assert len(notifier.messages()) == 1
    directory.add_run("held", reason="delete_limit")
    directory.failing["GetImportRun"] = grpc.StatusCode.UNAVAILABLE
    notifier.follow_until(lambda: directory.calls.count("GetImportRun") > 2)
    assert directory.subscriptions == {"notifier": 1}
    del directory.failing["GetImportRun"]
    notifier.follow_until(lambda: directory.subscriptions["notifier"] == 2)


def test_a_subscription_that_was_deleted_is_made_again_where_the_notifier_is(directory, notifier):
    directory.add_run("applied")
    notifier.follow_until(lambda: directory.subscriptions.get("notifier") == 1)
    directory.subscriptions.clear()
    notifier.follow_until(lambda: directory.subscriptions.get("notifier") == 1)
    assert len(notifier.messages()) == 1


@pytest.mark.parametrize("status", [grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INTERNAL])
def test_mails_go_out_although_nothing_can_be_acknowledged(directory, notifier, status):
    directory.failing["AcknowledgeEvents"] = status
    directory.add_run("applied")
    notifier.follow_until(lambda: len(notifier.messages()) == 1)
    assert directory.subscriptions == {}
