"""The directory's process: `muster-directory serve`, `migrate` and `token`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import structlog
from muster.runtime.errors import RpcError
from muster.runtime.server import Server, announce, wait_for_end
from muster.runtime.telemetry import configure_logging
from pydantic import ValidationError

from services.directory.api.access import AccessInterceptor
from services.directory.api.registration import SERVICE_NAMES, register_all
from services.directory.api.servicer import Resources
from services.directory.api.translate import translate
from services.directory.operations.apply_worker import ApplyWorker
from services.directory.operations.housekeeping import Housekeeper, make_housekeeping_worker
from services.directory.operations.imports import Imports
from services.directory.operations.overdue_departures import make_overdue_worker
from services.directory.operations.source_secrets import HostedDrop
from services.directory.operations.tokens import create_token
from services.directory.operations.worker import RepeatingWorker
from services.directory.rules import names
from services.directory.rules.grants import SERVICE_GRANTS, Grant
from services.directory.settings import Settings
from services.directory.store.migrations import migrate
from services.directory.store.seal import Seal
from services.directory.store.session import Store

log = structlog.get_logger()

_THREADS = 40
"""Streams that stay take up to 24 of them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 1 with one line on stderr that says what is wrong."""
    parser = argparse.ArgumentParser(prog="muster-directory", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve gRPC (the default)")
    commands.add_parser("migrate", help="bring the database to this release's schema")
    token = commands.add_parser("token", help="mint a service token and print it once")
    token.add_argument("--grant", required=True, choices=[grant.value for grant in Grant if grant in SERVICE_GRANTS])
    token.add_argument("--tenant", default="", help="bind it to this tenant (tenants/…); needed for grant `tenant`")
    options = parser.parse_args(arguments)
    if options.command == "token" and options.grant == Grant.TENANT and not options.tenant:
        parser.error("--grant tenant needs --tenant")
    try:
        settings = Settings()  # type: ignore[call-arg]  # read from the environment
    except ValidationError as error:
        return _complain(_told(error))
    configure_logging("directory", level=settings.log_level)
    if options.command == "migrate":
        migrate(settings.database_url)
        return 0
    if options.command == "token":
        return _print_token(settings, Grant(options.grant), options.tenant)
    serve(settings)
    return 0


def serve(settings: Settings) -> None:
    """Serve until told to end; prints `{"listening": "host:port"}` once calls are answered."""
    if settings.migrate_on_start:
        migrate(settings.database_url)
    directory = Directory(make_resources(settings), settings.listen, keeps_house=settings.housekeeping)
    directory.start()

    def ready() -> None:
        announce(settings.listen, directory.port)
        log.info("directory.serving", address=f"{settings.listen.rpartition(':')[0]}:{directory.port}")

    wait_for_end(with_stdin=settings.exit_with_stdin, ready=ready)
    directory.stop()
    log.info("directory.ended")


def make_resources(settings: Settings) -> Resources:
    """Open what servicers and workers need."""
    return Resources(
        store=Store(settings.database_url),
        seal=Seal(settings.seal_key),
        clock=lambda: datetime.now(UTC),
        stages=settings.stages,
        pepper=settings.pepper_bytes,
        drop=HostedDrop(settings.drop_host, settings.drop_port, settings.drop_host_key),
        event_retention=timedelta(days=settings.event_retention_days),
        activity_retention=timedelta(days=settings.activity_retention_days),
    )


class Directory:
    """The server and what works beside it, on one store, which it closes at its end."""

    def __init__(self, resources: Resources, address: str, *, keeps_house: bool = False) -> None:
        imports = Imports(resources.store, resources.stages, clock=resources.clock)
        apply_worker = ApplyWorker(imports)
        self._store = resources.store
        self._watchers = resources.watchers
        housekeeper = Housekeeper(imports, resources.seal, resources.event_retention, resources.activity_retention)
        overdue = make_overdue_worker(resources.store, clock=resources.clock)
        self._workers: list[ApplyWorker | RepeatingWorker] = [apply_worker, overdue]
        if keeps_house:
            self._workers.append(make_housekeeping_worker(housekeeper))
        self._server = Server(
            lambda server: register_all(server, resources, imports, apply_worker, housekeeper),
            service_names=SERVICE_NAMES,
            address=address,
            threads=_THREADS,
            interceptors=[AccessInterceptor(resources.store, pepper=resources.pepper, clock=resources.clock)],
            translate=translate,
        )
        self.port = self._server.port

    def start(self) -> None:
        """Begin to work, then to answer."""
        for worker in self._workers:
            worker.start()
        self._server.start()

    def stop(self) -> None:
        """Stop answering, then working."""
        self._server.stop()
        self._watchers.wait_until_free()
        for worker in self._workers:
            worker.stop()
        self._store.close()


def _print_token(settings: Settings, grant: Grant, tenant: str) -> int:
    store = Store(settings.database_url)
    try:
        tenant_id = names.parse_tenant(tenant, field="--tenant") if tenant else 0
        with store.write(None) as session:
            token = create_token(session, grant, tenant_id, pepper=settings.pepper_bytes, now=datetime.now(UTC))
    except RpcError as error:
        return _complain(error.message)
    finally:
        store.close()
    sys.stdout.write(json.dumps({"token": token}) + "\n")
    return 0


def _told(error: ValidationError) -> str:
    """Name each variable that is wrong, and never its value."""
    lines = [f"DIRECTORY_{str(part['loc'][0]).upper()}: {part['msg']}" for part in error.errors(include_input=False)]
    return "; ".join(lines)


def _complain(text: str) -> int:
    sys.stderr.write(f"muster-directory: {text}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
