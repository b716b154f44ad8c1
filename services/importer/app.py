"""The importer's process: `muster-importer serve`, and `run --due` for what is started every so often."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import grpc
import structlog
from muster.importer.v1 import importer_pb2, importer_pb2_grpc
from muster.runtime.client import open_channel
from muster.runtime.errors import failure_of
from muster.runtime.server import Server, announce, wait_for_end
from muster.runtime.telemetry import configure_logging

from services.importer.api import ImporterApi, translate
from services.importer.directory import Directory
from services.importer.errors import InterruptedRunError
from services.importer.night import Nights
from services.importer.run import Importer
from services.importer.settings import ImporterSettings, InvalidSettingsError, load_settings

log = structlog.get_logger()

_GRACE_S = 3.0
SERVICE_NAME = importer_pb2.DESCRIPTOR.services_by_name["ImporterService"].full_name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; 0, or 1 when a night came to nothing or the directory is away."""
    parser = argparse.ArgumentParser(prog="muster-importer", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("serve", help="serve gRPC, and run by itself what is due (the default)")
    run = commands.add_parser("run", help="run what is due, print how it ended as one JSON line, and end")
    run.add_argument("--due", action="store_true", required=True, help="all sources whose night is due")
    options = parser.parse_args(arguments)
    configure_logging("importer")
    try:
        settings = load_settings()
    except InvalidSettingsError as error:
        sys.exit(f"muster-importer: {error}")
    if options.command == "run":
        return run_due(settings)
    serve(settings)
    return 0


def serve(settings: ImporterSettings) -> None:
    """Serve until SIGTERM, SIGINT or, if so set, the end of stdin; prints where it listens as one JSON line.

    Runs under way that are not yet applying end `failed: interrupted`, and nights are given back.
    """
    stopping = threading.Event()
    with _importer(settings, stopping) as (directory, importer, nights):
        api = ImporterApi(directory, importer, temp_dir=settings.temp_dir)
        server = Server(
            lambda grpc_server: importer_pb2_grpc.add_ImporterServiceServicer_to_server(api, grpc_server),
            service_names=[SERVICE_NAME],
            address=settings.listen,
            translate=translate,
        )
        server.start()
        if settings.nights:
            threading.Thread(target=nights.serve, name="nights", daemon=True).start()
        wait_for_end(with_stdin=settings.exit_with_stdin, ready=lambda: announce(settings.listen, server.port))
        nights.stop()
        api.join(_GRACE_S)
        nights.join(_GRACE_S)
        server.stop(grace_s=_GRACE_S)
        log.info("importer.stopped")


def run_due(settings: ImporterSettings) -> int:
    """Run what is due until nothing is, or until SIGTERM or SIGINT; prints one JSON line, answers the exit status."""
    stopping = threading.Event()
    with _importer(settings, stopping) as (_, _, nights):
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: nights.stop())
        try:
            tally = nights.run_due()
        except grpc.RpcError as error:
            sys.stderr.write(f"muster-importer: the directory does not answer: {failure_of(error).reason}\n")
            return 1
        nights.join(_GRACE_S)
    sys.stdout.write(json.dumps({"nights": dict(tally.ended)}) + "\n")
    return 0 if tally.is_clean else 1


@contextmanager
def _importer(settings: ImporterSettings, stopping: threading.Event) -> Iterator[tuple[Directory, Importer, Nights]]:
    """Put the importer together; what waits in it hears of `stopping`."""

    def wait(seconds: float) -> None:
        if stopping.wait(seconds):
            raise InterruptedRunError

    with open_channel(settings.directory, settings.token.get_secret_value()) as channel:
        directory = Directory(channel, wait=wait)
        importer = Importer(directory, settings.temp_dir, now=lambda: datetime.now(UTC), wait=wait)
        yield (
            directory,
            importer,
            Nights(
                directory,
                importer,
                at_a_time=settings.nights_at_a_time,
                every_s=settings.nights_every_s,
                stopping=stopping,
            ),
        )


if __name__ == "__main__":
    sys.exit(main())
