"""PostgreSQL 17, OpenSSH SFTP and Muster in containers, removed at the end and swept up when a run was killed."""

from __future__ import annotations

import os
import secrets
import socket
from collections.abc import Mapping
from contextlib import closing, suppress
from functools import cached_property
from pathlib import Path

import docker
import psutil
import psycopg
from docker.errors import DockerException, ImageNotFound, NotFound
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from tests.stack.choice import POSTGRES_IMAGE, SFTP_IMAGE, NoContainersError
from tests.stack.container_services import ContainerServices
from tests.stack.postgres import SETTINGS, PostgresServer
from tests.stack.sftp import SftpServer, authorized_keys, host_key_line, make_login_keys
from tests.stack.waiting import wait_until

LABEL = "muster.tests.owner"
"""On everything the tests make on the engine: which process of which machine may use it."""
_HOST = "127.0.0.1"
_CUSTOMER = "customer"


def look_for_engine() -> str:
    """Say which engine answers with both images on it (pulled, if need be), or raise `NoContainersError`."""
    try:
        engine = docker.from_env(timeout=120)
        version = engine.version()["Version"]
    except DockerException as error:
        raise NoContainersError("no container engine answers") from error
    with closing(engine):
        for image in (POSTGRES_IMAGE, SFTP_IMAGE):
            try:
                engine.images.get(image)
            except ImageNotFound:
                _pull(engine, image)
        _sweep(engine)
    return f"Docker Engine {version}"


def _pull(engine: docker.DockerClient, image: str) -> None:
    try:
        engine.images.pull(image)
    except DockerException as error:
        raise NoContainersError(f"an engine answers, but {image} is not to be had") from error


class Containers:
    """The containers of one test process."""

    def __init__(self) -> None:
        # The reaper is one image more that a machine may not have; every container here has a finalizer and a label.
        testcontainers_config.ryuk_disabled = True
        self._running: list[DockerContainer] = []
        self._inside: dict[tuple[str, int], tuple[str, int]] = {}

    @cached_property
    def _network(self) -> Network:
        """The private network of all containers."""
        return Network(docker_network_kw={"labels": labels()}).create()

    def start_postgres(self) -> PostgresServer:
        """Start PostgreSQL with its data in memory."""
        password = secrets.token_hex(16)
        container = DockerContainer(POSTGRES_IMAGE).with_env("POSTGRES_PASSWORD", password).with_exposed_ports(5432)
        container.with_command(["postgres", *(f"-c{name}={value}" for name, value in SETTINGS.items())])
        container.with_tmpfs_mount("/var/lib/postgresql/data")
        server = PostgresServer(_HOST, self._start(container, "postgres", 5432), "postgres", password)
        wait_until(lambda: _answers(server), timeout_s=60, what="PostgreSQL's container to answer")
        return server

    def start_sftp(self) -> SftpServer:
        """Start OpenSSH with one customer, in a chroot of its own."""
        password, keys = secrets.token_hex(16), make_login_keys()
        container = DockerContainer(SFTP_IMAGE).with_exposed_ports(22)
        container.with_command([f"{_CUSTOMER}:{password}:1001:100:upload"])
        port = self._start(container, "sftp", 22)
        wait_until(lambda: _speaks_ssh(port), timeout_s=60, what="the SFTP container to answer")
        _run(container, f"mkdir -p /home/{_CUSTOMER}/.ssh")
        _run(container, f"printf '{authorized_keys(keys)}' > /home/{_CUSTOMER}/.ssh/authorized_keys")
        _run(
            container, f"chown -R {_CUSTOMER} /home/{_CUSTOMER}/.ssh; chmod 600 /home/{_CUSTOMER}/.ssh/authorized_keys"
        )
        host_keys = _run(container, "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_rsa_key.pub")
        return SftpServer(
            host=_HOST,
            port=port,
            username=_CUSTOMER,
            password=password,
            login_keys=keys,
            host_keys=[host_key_line(line) for line in host_keys.splitlines()],
            writable_folder="/upload",
        )

    def stop(self) -> None:
        """Stop and remove every container, whatever became of the tests."""
        while self._running:
            with suppress(NotFound):
                self._running.pop().stop()
        if "_network" in self.__dict__:
            self._network.remove()

    def run_services(self, folder: Path, images: Mapping[str, str]) -> ContainerServices:
        """Run services from these images on the private network."""
        return ContainerServices(images, self._network, labels=labels(), servers=self._inside)

    def _start(self, container: DockerContainer, name: str, port: int) -> int:
        """Start it as `name` on the private network, and give the port it answers on at 127.0.0.1."""
        container.with_kwargs(labels=labels()).with_network(self._network).with_network_aliases(name)
        self._running.append(container)
        container.start()
        published = int(container.get_exposed_port(port))
        self._inside[_HOST, published] = (name, port)
        return published


def labels() -> dict[str, str]:
    """What says that this process owns something on the engine."""
    return {LABEL: f"{socket.gethostname()}:{os.getpid()}"}


def _sweep(engine: docker.DockerClient) -> None:
    """Remove what killed test processes of this machine left behind."""
    for container in engine.containers.list(all=True, filters={"label": LABEL}):
        if _is_orphan(container.labels[LABEL]):
            with suppress(DockerException):  # another test process may be sweeping too
                container.remove(force=True, v=True)
    for network in engine.networks.list(filters={"label": LABEL}):
        if _is_orphan(network.attrs["Labels"][LABEL]):
            with suppress(DockerException):
                network.remove()


def _is_orphan(label: str) -> bool:
    host, _, owner = label.rpartition(":")
    return host == socket.gethostname() and not psutil.pid_exists(int(owner))


def _answers(server: PostgresServer) -> bool:
    try:
        server.ping()
    except psycopg.OperationalError:
        return False
    return True


def _speaks_ssh(port: int) -> bool:
    try:
        with socket.create_connection((_HOST, port), timeout=2) as connection:
            return connection.recv(4).startswith(b"SSH-")
    except OSError:
        return False


def _run(container: DockerContainer, script: str) -> str:
    result = container.exec(["sh", "-c", script])
    assert result.exit_code == 0, result.output
    return result.output.decode()
