"""What tests may ask for by name: databases on both engines, an SFTP server, a mail sink, and the whole system."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import hypothesis
import pytest

from tests.stack.child_services import ChildServices
from tests.stack.choice import VARIABLE, Choice, Kind, NoContainersError, choose
from tests.stack.customer import Customer
from tests.stack.databases import KINDS, Databases
from tests.stack.sftp import SftpFolder, SftpServer
from tests.stack.smtp import SmtpSink
from tests.stack.stack import Stack
from tests.stack.system import Credentials, System

hypothesis.settings.register_profile("ci", deadline=None, print_blob=True)
hypothesis.settings.register_profile("long", parent=hypothesis.settings.get_profile("ci"), max_examples=2_000)
hypothesis.settings.load_profile("ci")  # --hypothesis-profile=long comes later and wins

StartSystem = Callable[..., System]
"""`start_system("sqlite", NOTIFIER_SMTP_HOST="")` gives a System to enter by `with`."""

_CHOICE = pytest.StashKey[Choice]()
_IMAGES = pytest.StashKey[Mapping[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Choose the stack once, in the process that was started; its workers are told."""
    try:
        choice = choose(os.environ, _look_for_engine)
    except NoContainersError as error:
        raise pytest.UsageError(str(error)) from error
    config.stash[_CHOICE] = choice
    os.environ[VARIABLE] = choice.kind.value


def _look_for_engine() -> str:
    from tests.stack.containers import look_for_engine  # noqa: PLC0415 - only where containers are thought of

    return look_for_engine()


def pytest_report_header(config: pytest.Config) -> str:
    """Say what stands under the tests."""
    return str(config.stash[_CHOICE])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out the tests of images and docker-compose.yml where they are not what the tests run on."""
    about_containers = Path(__file__).parent / "containers" in (collection_path, *collection_path.parents)
    return True if about_containers and config.stash[_CHOICE].kind is Kind.PROCESSES else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave for the long form what hardly depends on the database, but for the one that `mostly` names."""
    for item in items:
        marker = item.get_closest_marker("mostly")
        parameters = getattr(item, "callspec", None)
        if marker and parameters and marker.args[0] not in parameters.params.values():
            item.add_marker(pytest.mark.long)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build the images before the first test, if any is going to ask for them: no test's time limit is for that."""
    config = session.config
    wanted = any("images" in getattr(item, "fixturenames", ()) for item in session.items)
    if wanted and config.stash[_CHOICE].kind is Kind.CONTAINERS and not config.option.collectonly:
        from tests.stack.images import build_once  # noqa: PLC0415 - only where there are containers

        config.stash[_IMAGES] = build_once(_folder_of_the_run(config))


def _folder_of_the_run(config: pytest.Config) -> Path:
    """A folder that all processes of this test run have in common, and no other run."""
    own: Path = config._tmp_path_factory.getbasetemp()  # type: ignore[attr-defined]
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@pytest.fixture(scope="session")
def images(request: pytest.FixtureRequest) -> Mapping[str, str]:
    """The images' ids by name, such as `importer`; none where the stack is processes."""
    return request.config.stash.get(_IMAGES, {})


@pytest.fixture(scope="session")
def stack(request: pytest.FixtureRequest) -> Iterator[Stack]:
    """The servers of this test process: `stack.postgres()`, `stack.sftp()`."""
    with Stack(request.config.stash[_CHOICE].kind) as servers:
        yield servers


@pytest.fixture(scope="session")
def sftp_server(stack: Stack) -> SftpServer:
    """An SFTP server as a customer runs one."""
    return stack.sftp()


@pytest.fixture
def sftp_folder(sftp_server: SftpServer) -> SftpFolder:
    """An empty folder on the SFTP server."""
    return sftp_server.make_folder()


@pytest.fixture(scope="session")
def smtp_sink(request: pytest.FixtureRequest) -> Iterator[SmtpSink]:
    """A mail server that keeps what it gets; tests tell theirs apart by recipient."""
    in_containers = request.config.stash[_CHOICE].kind is Kind.CONTAINERS  # which do not reach the loopback
    with SmtpSink(listen_on="0.0.0.0" if in_containers else "127.0.0.1") as sink:
        yield sink


@pytest.fixture(scope="session")
def databases(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Databases:
    """Makes migrated databases: `databases.make("sqlite")`, `databases.make("postgresql")`."""
    from services.directory.store.migrations import migrate  # noqa: PLC0415 - most unit tests know no database

    return Databases(tmp_path_factory.mktemp("databases"), stack.postgres, migrate)


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, databases: Databases) -> Iterator[str]:
    """A fresh migrated database, on SQLite and on PostgreSQL."""
    url = databases.make(request.param)
    yield url
    databases.drop(url)


@pytest.fixture(scope="session")
def start_system(
    stack: Stack, images: Mapping[str, str], smtp_sink: SmtpSink, tmp_path_factory: pytest.TempPathFactory
) -> StartSystem:
    """Make a system on a fresh database of a kind, to be started and stopped by `with`.

    On PostgreSQL services are run as PostgreSQL is: in containers or as processes. On SQLite they are processes.
    """
    credentials = Credentials()
    databases = Databases(tmp_path_factory.mktemp("systems"), stack.postgres, credentials.prepare)

    def start(kind: str, **settings: str) -> System:
        folder = tmp_path_factory.mktemp(f"system-{kind}")
        runner = stack.run_services(folder, images) if kind == "postgresql" else ChildServices(folder)
        address = (smtp_sink.host, smtp_sink.port)
        return System(runner, folder, databases.make(kind), credentials, smtp=address, settings=settings)

    return start


@pytest.fixture(scope="session")
def shared_systems(start_system: StartSystem) -> Iterator[Callable[[str], System]]:
    """One system for each kind of database, started when first asked for; tests share it, each with its own tenant.

    A test may kill services of it: no other test runs in this process meanwhile, and the next one gets it whole.
    """
    with ExitStack() as running:
        systems: dict[str, System] = {}

        def system_on(kind: str) -> System:
            if kind not in systems:
                systems[kind] = running.enter_context(start_system(kind))
            systems[kind].revive()
            return systems[kind]

        yield system_on


@pytest.fixture(params=KINDS)
def system(request: pytest.FixtureRequest, shared_systems: Callable[[str], System]) -> System:
    """Directory, importer and notifier, on SQLite and on PostgreSQL."""
    return shared_systems(request.param)


@pytest.fixture
def customer(system: System) -> Customer:
    """A new tenant in the running system."""
    return Customer(system)
