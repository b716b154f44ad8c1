"""Keep any number of records of an answer: a few in memory, more in a temporary file that nobody else can open."""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from tempfile import SpooledTemporaryFile
from typing import Any

_IN_MEMORY_BYTES = 4 * 1024 * 1024


class Listing:
    """Records to be gone through any number of times."""

    def __init__(self, records: Iterable[Mapping[str, Any]] = ()) -> None:
        self._lines = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES, mode="w+", encoding="utf-8")  # noqa: SIM115
        weakref.finalize(self, self._lines.close)
        self._count = 0
        for record in records:
            self.append(record)

    def append(self, record: Mapping[str, Any]) -> None:
        """Add a record behind the others."""
        self._lines.write(json.dumps(record) + "\n")
        self._count += 1

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return map(json.loads, self.as_json())

    def first(self, count: int) -> list[dict[str, Any]]:
        """Read the first records."""
        return list(islice(self, count))

    def as_json(self) -> Iterator[str]:
        """Read each record as a line of JSON, which nothing may be added to meanwhile."""
        self._lines.seek(0)
        return (line.rstrip("\n") for line in self._lines)
