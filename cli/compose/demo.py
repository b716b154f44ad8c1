"""Make the tenant `demo` in docker-compose.yml and say where all is: `python -m cli.compose.demo`.

It reads from the environment DEMO_DIRECTORY (host:port of the directory), DEMO_PORTS (the ports published on the host,
as `directory=7001,importer=7002,…`) and DEMO_CUSTOMER (host:port of the SFTP server that stands for a customer's own).
It may run at each `docker compose up`: the tenant is made once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import grpc

from cli.compose.secrets import CUSTOMER, KEPT, SECRETS
from cli.connect import INSTALLATION_FILE
from cli.errors import CommandError, explain
from cli.up import demo_tenant, keepsake
from cli.up.installation import line_of
from cli.up.plans import Layout

DATA = Path("/data")
MAIL = "mail:/mail"
"""Where mails are, as `docker compose cp` takes it."""
_HOST_KEY_TIMEOUT_S = 30.0


def main() -> None:
    """Make the tenant and write muster.json; a line on stderr and status 1 when something is wrong."""
    try:
        make(os.environ)
    except CommandError as error:
        sys.exit(f"demo: {error}")
    except grpc.RpcError as error:
        sys.exit(f"demo: {explain(error)}")


def make(environ: Mapping[str, str]) -> None:
    """Make what is missing, and write DATA/muster.json anew."""
    kept = keepsake.load(KEPT, "")
    token = (SECRETS / "operator" / "support_token").read_text().strip()
    kept = replace(kept, tokens={**kept.tokens, "support": token}, ports=_ports(environ["DEMO_PORTS"]))
    kept = replace(kept, demo=demo_tenant.make_or_find(environ["DEMO_DIRECTORY"], kept, seats=None))
    keepsake.save(KEPT, kept)
    line = line_of(Layout(KEPT, kept, keepsake.host_key(KEPT)))
    line |= {"mail": MAIL, "customer_sftp": _customer_sftp(environ["DEMO_CUSTOMER"])}
    keepsake.write_private(DATA / INSTALLATION_FILE, json.dumps(line, indent=1))


def _ports(text: str) -> dict[str, int]:
    return {name: int(port) for name, _, port in (pair.partition("=") for pair in text.split(","))}


def _customer_sftp(address: str) -> dict[str, Any]:
    """Say how the importer reaches the customer's server, for `muster source create`."""
    host, _, port = address.rpartition(":")
    username, password = (SECRETS / CUSTOMER / "users.conf").read_text().split(":")[:2]
    return {
        "host": host,
        "port": int(port),
        "username": username,
        "password": password,
        "path": "/upload/users.csv",
        "host_key": asyncio.run(asyncio.wait_for(_host_key(host, int(port)), _HOST_KEY_TIMEOUT_S)),
    }


async def _host_key(host: str, port: int) -> str:
    key = await asyncssh.get_server_host_key(host, port, server_host_key_algs=["ssh-ed25519"], config=None)
    if key is None:
        raise CommandError(f"{host}:{port} shows no ed25519 host key")
    return " ".join(key.export_public_key().decode().split()[:2])


if __name__ == "__main__":
    main()
