"""R2: the end marker beside a file, over real SFTP."""

from __future__ import annotations

import hashlib

import pytest

from services.importer import sftp
from services.importer.errors import NoFileError, TruncatedError
from services.importer.sftp.markers import hashes_in
from services.importer.spool import Spool
from tests.integration.sftp.customer_server import DATA, LONG_AGO, Waits, fetch, put

HASH = hashlib.sha256(DATA).hexdigest()
SHA256, DONE = sftp.Marker.SHA256, sftp.Marker.DONE


def refused(server, marker):
    """The message with which the file is refused."""
    with pytest.raises(TruncatedError) as caught:
        fetch(server, marker=marker)
    assert caught.value.code == "truncated"
    return caught.value.message


@pytest.mark.parametrize(
    "text",
    [
        f"{HASH}\n",
        HASH.upper(),
        f"{HASH}  users.csv\n",
        f"{HASH.upper()} *out/users.csv\r\n",
        f"\\{HASH}  na\\nme.csv",
        f"SHA256 (users.csv) = {HASH}",
        f"SHA2-256(users.csv)= {HASH}\n",
        f"\ufeffAlgorithm  Hash  Path\n------  ----  ----\nSHA256   {HASH.upper()}   C:\\out\\users.csv",
        f"{'0' * 64}  other.csv\n{HASH}  users.csv\n",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_r2_a_hash_is_read_as_every_tool_writes_it(text, encoding):
    assert bytes.fromhex(HASH) in hashes_in(text.encode(encoding))


@pytest.mark.parametrize("text", ["", "users.csv", HASH[:-1], f"{HASH}0", "\xff\xfe\x00"])
def test_r2_what_is_no_hash_is_none(text):
    assert hashes_in(text.encode("latin-1")) == frozenset()


def test_r2_a_file_with_its_hash_beside_it_is_fetched(server):
    put(server.file)
    put(server.folder / "users.csv.sha256", f"{HASH}  users.csv\n".encode())
    assert fetch(server, marker=SHA256)[1] == DATA


@pytest.mark.parametrize("marker", [SHA256, DONE])
def test_r2_a_file_without_its_marker_is_refused_before_it_is_copied(server, marker):
    put(server.file)
    assert f"There is no users.csv{marker.value} beside the file" in refused(server, marker)


def test_r2_another_hash_than_the_file_s_refuses_it(server):
    put(server.file, DATA[:-100])
    put(server.folder / "users.csv.sha256", HASH.encode())
    assert "users.csv.sha256 holds another SHA-256" in refused(server, SHA256)


def test_r2_a_marker_without_a_hash_refuses_the_file(server):
    put(server.file)
    put(server.folder / "users.csv.sha256", b"")
    assert "users.csv.sha256 holds no SHA-256" in refused(server, SHA256)


def test_r2_a_file_that_is_done_is_fetched_whatever_its_marker_holds(server):
    put(server.file)
    put(server.folder / "users.csv.done", b"")
    assert fetch(server, marker=DONE)[1] == DATA


def test_r2_a_marker_of_yesterday_s_upload_refuses_today_s_file(server):
    put(server.folder / "users.csv.done", b"", mtime=LONG_AGO)
    put(server.file)
    assert "users.csv.done is older than the file" in refused(server, DONE)


def test_r2_r5_a_marker_alone_is_no_file(server):
    put(server.folder / "users.csv.done", b"")
    with pytest.raises(NoFileError):
        fetch(server, marker=DONE)


def test_r2_no_marker_is_asked_for_unless_the_source_has_one(server):
    put(server.file)
    assert fetch(server)[1] == DATA
    assert [asked for asked in server.asked if asked.endswith(("sha256", "done"))] == []


@pytest.mark.parametrize("is_newer", [False, True])
def test_the_marker_is_deleted_with_its_file_unless_it_is_another_by_then(server, is_newer):
    put(server.file)
    marker = put(server.folder / "users.csv.done", b"")
    with Spool(None) as spool:
        fetched = sftp.fetch(server.endpoint(), spool, stable_for_s=60, max_bytes=10**7, wait=Waits(), marker=DONE)
    if is_newer:
        put(marker, b"more")
    assert sftp.delete(server.endpoint(), fetched)
    assert not server.file.exists()
    assert marker.exists() is is_newer
