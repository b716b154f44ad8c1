"""Ask a service whether it serves: `python -m muster.runtime.health host:port` exits 0 or 1."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from muster.runtime.client import wait_until_serving

_PATIENCE_S = 3.0


def main(arguments: Sequence[str]) -> int:
    """Ask one address, `host:port`; 0 when it serves, 1 when it does not within 3 s, 2 for wrong usage."""
    if len(arguments) != 1 or not arguments[0].rpartition(":")[0]:
        sys.stderr.write("usage: python -m muster.runtime.health host:port\n")
        return 2
    try:
        wait_until_serving(arguments[0], timeout_s=_PATIENCE_S)
    except TimeoutError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
