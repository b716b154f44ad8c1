"""The SFTP drop: who comes in, what they see, what they may do."""

import asyncio
import hashlib

import asyncssh
import grpc
import pytest
from muster.directory.v1 import sources_pb2

from cli.errors import CommandError
from cli.up import drop, drop_logins, keepsake
from cli.up.drop_logins import DropLogins, may_come_from
from cli.up.drop_slowness import FORGOTTEN_AFTER_S, LONGEST_S, Slowness


def a_login(username="demo", password="right", networks=()):
    return sources_pb2.DropLoginRecord(
        username=username,
        password_sha256=hashlib.sha256(password.encode()).digest(),
        allowed_networks=networks,
        source="tenants/ten_1/sources/src_1",
        importer_username=f"importer:{username}",
        importer_password_sha256=hashlib.sha256(f"importer of {username}".encode()).digest(),
    )


class Book:
    """A directory's logins, and a clock, in the test's hands."""

    def __init__(self, *logins):
        self.logins = list(logins)
        self.asked = 0
        self.now = 1000.0
        self.away = False

    async def fetch(self):
        self.asked += 1
        if self.away:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
        return self.logins

    def open(self):
        return DropLogins(self.fetch, clock=lambda: self.now)


def unhurried(waits):
    """Slowness in which no time passes; its waits are noted."""

    async def sleep(seconds):
        waits.append(seconds)

    return Slowness(clock=lambda: 1000.0, sleep=sleep)


def in_drop(tmp_path, scenario, *logins, slowness=None):
    """Serve a drop and run `scenario(connect)` against it; connect gives an SFTP client's connection."""
    keepsake.host_key(tmp_path)
    settings = drop.DropSettings(
        host="127.0.0.1",
        port=0,
        directory="unused:1",
        host_key_file=tmp_path / keepsake.HOST_KEY_FILE,
        folder=tmp_path / "drop",
        token="unused",
    )

    async def tell():
        acceptor = await drop.listen(settings, Book(*(logins or [a_login()])).open(), slowness or unhurried([]))
        port = acceptor.get_port()

        def connect(username="demo", password="right", **options):
            return asyncssh.connect(
                *("127.0.0.1", port),
                **options,
                username=username,
                password=password,
                known_hosts=asyncssh.import_known_hosts(f"[127.0.0.1]:{port} {keepsake.host_key(tmp_path)}\n"),
                client_keys=None,
                agent_path=None,
                config=None,
            )

        try:
            return await scenario(connect)
        finally:
            acceptor.close()
            await acceptor.wait_closed()

    return asyncio.run(asyncio.wait_for(tell(), 30))


def test_a_customer_uploads_lists_renames_and_removes(tmp_path):
    async def scenario(connect):
        async with connect() as connection, connection.start_sftp_client() as files:
            async with files.open("/users.csv.part", "wb") as file:
                await file.write(b"UniqueID,Name,Mail\n")
            await files.rename("/users.csv.part", "/users.csv")
            assert [name for name in await files.listdir("/") if name not in (".", "..")] == ["users.csv"]
            assert (await files.stat("/users.csv")).size == 19
            assert (tmp_path / "drop" / "demo" / "users.csv").read_bytes() == b"UniqueID,Name,Mail\n"
            await files.remove("/users.csv")
            assert not await files.exists("/users.csv")

    in_drop(tmp_path, scenario)


def test_each_login_sees_its_own_folder_only(tmp_path):
    async def scenario(connect):
        async with connect("other", "too") as connection, connection.start_sftp_client() as files:
            await files.mkdir("/private")
        async with connect() as connection, connection.start_sftp_client() as files:
            assert not await files.exists("/private")
            assert not await files.exists("/../other/private")
            assert await files.realpath("../../..") == "/"
            with pytest.raises(asyncssh.SFTPPermissionDenied):
                await files.symlink("/../other", "/way-out")
            with pytest.raises(asyncssh.SFTPError):
                await files.link("/x", "/y")

    in_drop(tmp_path, scenario, a_login(), a_login("other", "too"))


def test_a_wrong_password_or_an_unknown_login_stays_outside(tmp_path):
    async def scenario(connect):
        for username, password in [("demo", "wrong"), ("nobody", "right"), ("demo", ""), ("../demo", "right")]:
            with pytest.raises(asyncssh.PermissionDenied):
                await connect(username, password)

    in_drop(tmp_path, scenario)


def test_a_login_from_another_network_is_turned_away_before_its_password(tmp_path):
    waits = []

    async def scenario(connect):
        for password in ("right", "wrong"):
            with pytest.raises(asyncssh.PermissionDenied, match="not allowed from your network"):
                await connect(password=password)
        async with connect("other"):
            pass

    logins = [a_login(networks=["10.1.0.0/16"]), a_login("other", networks=["::1/128", "127.0.0.0/8"])]
    in_drop(tmp_path, scenario, *logins, slowness=unhurried(waits))
    assert waits == []


def test_the_importer_fetches_what_a_customer_of_another_network_uploaded(tmp_path):
    (tmp_path / "drop" / "demo").mkdir(parents=True)
    (tmp_path / "drop" / "demo" / "users.csv").write_bytes(b"UniqueID,Name,Mail\n")

    async def scenario(connect):
        async with connect("importer:demo", "importer of demo") as connection, connection.start_sftp_client() as files:
            assert (await files.stat("/users.csv")).size == 19
        for username, password in [("importer:demo", "right"), ("importer:other", "importer of demo")]:
            with pytest.raises(asyncssh.PermissionDenied):
                await connect(username, password)

    in_drop(tmp_path, scenario, a_login(networks=["10.1.0.0/16"]), a_login("other"))


def test_wrong_passwords_are_answered_ever_later_and_end_the_connection(tmp_path):
    waits = []

    class Guessing(asyncssh.SSHClient):
        def __init__(self):
            self.guesses = 0

        def password_auth_requested(self):
            self.guesses += 1
            return f"guess {self.guesses}"

    async def scenario(connect):
        with pytest.raises(asyncssh.PermissionDenied, match="too many wrong passwords"):
            await connect(password=None, client_factory=Guessing)
        with pytest.raises(asyncssh.PermissionDenied):
            await connect(password="wrong")
        async with connect():
            pass

    in_drop(tmp_path, scenario, slowness=unhurried(waits))
    assert waits == [0.5, 1, 2, 4, LONGEST_S, LONGEST_S]


def test_slowness_is_each_address_s_own_and_is_forgotten():
    waits, now = [], [0.0]

    async def sleep(seconds):
        waits.append(seconds)

    async def scenario():
        slowness = Slowness(clock=lambda: now[0], sleep=sleep)
        for address, later in [("a", 0), ("a", 1), ("b", 1), ("a", FORGOTTEN_AFTER_S + 1)]:
            now[0] += later
            await slowness.after_wrong(address)

    asyncio.run(scenario())
    assert waits == [0.5, 1, 0.5, 0.5]


def test_what_was_refused_is_logged_without_the_password(tmp_path, capsys):
    async def scenario(connect):
        with pytest.raises(asyncssh.PermissionDenied):
            await connect(password="hunter2")

    in_drop(tmp_path, scenario)
    said = capsys.readouterr()
    assert "drop.refused" in said.out + said.err
    assert "src_1" in said.out + said.err
    assert "hunter2" not in said.out + said.err


def test_a_link_that_stands_in_the_folder_leads_nowhere(tmp_path):
    (tmp_path / "secret").write_text("not yours")
    own = tmp_path / "drop" / "demo"
    own.mkdir(parents=True)
    (own / "file").symlink_to(tmp_path / "secret")
    (own / "folder").symlink_to(tmp_path)

    async def scenario(connect):
        async with connect() as connection, connection.start_sftp_client() as files:
            for path in (
                "/file",
                "/folder/secret",
                "folder/../../secret",
                str(tmp_path / "secret"),
                "/folder/drop/demo/x",
            ):
                with pytest.raises((asyncssh.SFTPPermissionDenied, asyncssh.SFTPNoSuchFile)):
                    await files.open(path)
            with pytest.raises(asyncssh.SFTPError):
                await files.rename("/file", "/folder/taken")
            with pytest.raises(asyncssh.SFTPError):
                await files.open("/folder/new", "w")

    in_drop(tmp_path, scenario)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name in ("new", "taken")) == []


def test_there_is_no_shell_no_command_and_no_forwarding(tmp_path):
    async def scenario(connect):
        async with connect() as connection:
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.run("id", check=True)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_connection("127.0.0.1", 22)
            with pytest.raises(asyncssh.ChannelListenError):
                await connection.forward_remote_port("127.0.0.1", 0, "127.0.0.1", 22)
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.open_unix_connection("/tmp/socket")
            with pytest.raises(asyncssh.ChannelOpenError):
                await connection.create_process(subsystem="netconf")
            with pytest.raises(asyncssh.Error):
                await asyncssh.scp((connection, "/users.csv"), tmp_path / "got")

    in_drop(tmp_path, scenario)


def test_a_new_login_is_asked_for_at_once_and_a_known_one_after_a_while():
    book = Book()
    logins = book.open()

    async def scenario():
        assert not await logins.let_in("demo", "right", "127.0.0.1")
        book.logins = [a_login()]
        book.now += drop_logins.UNKNOWN_S + 0.1
        assert await logins.let_in("demo", "right", "127.0.0.1")
        book.now += 0.1
        assert await logins.let_in("demo", "right", "127.0.0.1")
        assert book.asked == 2
        book.logins = []
        book.now += drop_logins.FRESH_S + 0.1
        assert not await logins.let_in("demo", "right", "127.0.0.1")

    asyncio.run(scenario())


def test_while_the_directory_is_away_known_logins_are_good_for_a_while():
    book = Book(a_login())
    logins = book.open()

    async def scenario():
        assert await logins.let_in("demo", "right", "127.0.0.1")
        book.away = True
        book.now += drop_logins.FRESH_S + 1
        assert await logins.let_in("demo", "right", "127.0.0.1")
        book.now += drop_logins.STALE_S
        assert not await logins.let_in("demo", "right", "127.0.0.1")

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("address", "networks", "allowed"),
    [
        ("127.0.0.1", [], True),
        ("10.1.2.3", ["192.168.0.0/16", "10.1.0.0/16"], True),
        ("10.2.2.3", ["10.1.0.0/16"], False),
        ("2001:db8::1", ["2001:db8::/32"], True),
        ("::ffff:10.1.2.3", ["10.1.0.0/16"], True),
        ("::ffff:10.2.2.3", ["10.1.0.0/16"], False),
        ("fe80::1%eth0", ["fe80::/10"], True),
        ("10.1.2.3", ["2001:db8::/32"], False),
        ("10.1.2.3", ["nonsense"], False),
    ],
)
def test_allowed_networks(address, networks, allowed):
    assert may_come_from(address, networks) is allowed


def test_a_missing_setting_is_named():
    with pytest.raises(CommandError, match="DROP_TOKEN"):
        drop.DropSettings.read(
            {
                "DROP_LISTEN": "127.0.0.1:0",
                "DROP_DIRECTORY": "x:1",
                "DROP_HOST_KEY_FILE": "key",
                "DROP_FOLDER": "drop",
            }
        )


def test_settings_do_not_show_their_token():
    settings = drop.DropSettings.read(
        {
            "DROP_LISTEN": "127.0.0.1:0",
            "DROP_DIRECTORY": "x:1",
            "DROP_HOST_KEY_FILE": "key",
            "DROP_FOLDER": "drop",
            "DROP_TOKEN": "mst_svc_secret",
        }
    )
    assert "mst_svc_secret" not in repr(settings)
