"""Which name of the model stands for which resource of the directory."""

from __future__ import annotations

from services.directory.rules import names


class Names:
    """Model names and resource names, both ways, of one kind."""

    def __init__(self) -> None:
        self._resources: dict[str, str] = {}
        self._by_id: dict[int, str] = {}

    def put(self, name: str, resource: str) -> None:
        """Note a new pair."""
        self._resources[name] = resource
        self._by_id[id_of(resource)] = name

    def resource(self, name: str) -> str:
        """The directory's name."""
        return self._resources[name]

    def short(self, name: str) -> str:
        """The last part of it, as connections use it."""
        return self._resources[name].rpartition("/")[2]

    def of_id(self, number: int) -> str:
        """The model's name for a row's id; one that nobody noted shows as the id."""
        return self._by_id.get(number, f"#{number}")

    def __contains__(self, name: str) -> bool:
        return name in self._resources


def id_of(resource: str) -> int:
    """The number in a resource's name."""
    last = resource.rpartition("/")[2]
    return names.parse_id(last.partition("_")[0], last)
