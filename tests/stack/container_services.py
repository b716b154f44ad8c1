"""Run the services from their own images, hardened as in docker-compose.yml, on a private network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from cli.up import ports
from tests.stack.service import Service

HOST = "127.0.0.1"
HOST_INSIDE = "host.docker.internal"
"""What containers call the machine that the tests run on."""
PORTS = {Service.DIRECTORY: 7001, Service.IMPORTER: 7002, Service.NOTIFIER: 7003, Service.SCIM_GATEWAY: 8080}
"""Where each image listens, as its Dockerfile says."""
_STOP_TIMEOUT_S = 20

HARDENED: Mapping[str, Any] = {
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges:true"],
}


class ContainerServices:
    """The containers of one system; `servers` says where on the network a server is that tests reach elsewhere."""

    def __init__(
        self,
        images: Mapping[str, str],
        network: Network,
        *,
        labels: Mapping[str, str],
        servers: Mapping[tuple[str, int], tuple[str, int]],
    ) -> None:
        self._images = images
        self._network = network
        self._labels = dict(labels)
        self._servers = servers
        self._name = network.name[:8]
        self._containers: dict[Service, Any] = {}
        self._ports = ports.choose(Service, {})

    def start(self, service: Service, environment: Mapping[str, str]) -> None:
        """Run a new container, or start the old one again as it was."""
        if service in self._containers:
            self._containers[service].start()
            return
        container = (
            DockerContainer(self._images[service.replace("_", "-")])
            .with_envs(**environment)
            .with_network(self._network)
            .with_network_aliases(service)
            .with_tmpfs_mount("/tmp")
            .with_kwargs(
                **HARDENED,
                labels=self._labels,
                extra_hosts={HOST_INSIDE: "host-gateway"},
                healthcheck={"test": ["NONE"]},  # we look ourselves, and sooner
            )
        )
        container.ports = {f"{PORTS[service]}/tcp": (HOST, self._ports[service])}  # type: ignore[dict-item]
        container.start()
        self._containers[service] = container.get_wrapped_container()

    def kill(self, service: Service) -> None:
        """SIGKILL the first process of a container, and so all of them."""
        self._containers[service].kill()
        self._containers[service].wait(timeout=10)

    def end(self, services: Sequence[Service]) -> None:
        """Stop and remove them."""
        containers = [self._containers.pop(service) for service in services if service in self._containers]
        with ThreadPoolExecutor(len(Service)) as threads:
            list(threads.map(_end, containers))

    def has_ended(self, service: Service) -> bool:
        """Whether a container that was started runs no more."""
        if service not in self._containers:
            return False
        self._containers[service].reload()
        return bool(self._containers[service].status != "running")

    def address(self, service: Service) -> str:
        """Where its port is published."""
        return f"{HOST}:{self._ports[service]}"

    def address_inside(self, service: Service) -> str:
        """Where it is on the network."""
        return f"{service}:{PORTS[service]}"

    def reach(self, host: str, port: int) -> tuple[str, int]:
        """Where it is on the network; what is not there is on this machine."""
        return self._servers.get((host, port), (HOST_INSIDE, port))

    def log_of(self, service: Service) -> str:
        """What a container has logged since it was made."""
        return str(self._containers[service].logs().decode())


def _end(container: Any) -> None:
    container.stop(timeout=_STOP_TIMEOUT_S)
    container.remove(force=True, v=True)
