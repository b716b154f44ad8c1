"""Put the importer together and serve it until it is told to end."""

from __future__ import annotations

import sys
import threading
from datetime import UTC, datetime

import structlog
from muster.importer.v1 import importer_pb2, importer_pb2_grpc
from muster.runtime.client import open_channel
from muster.runtime.server import Server, announce, wait_for_end
from muster.runtime.telemetry import configure_logging

from services.importer.api import ImporterApi, translate
from services.importer.directory import Directory
from services.importer.errors import InterruptedRunError
from services.importer.run import Importer
from services.importer.settings import ImporterSettings, InvalidSettingsError, load_settings

log = structlog.get_logger()

_GRACE_S = 3.0
SERVICE_NAME = importer_pb2.DESCRIPTOR.services_by_name["ImporterService"].full_name


def main() -> None:
    """Serve until SIGTERM, SIGINT or, if so set, the end of stdin; runs under way end `failed: interrupted`."""
    configure_logging("importer")
    try:
        settings = load_settings()
    except InvalidSettingsError as error:
        sys.exit(f"muster-importer: {error}")
    serve(settings)


def serve(settings: ImporterSettings) -> None:
    """Serve with these settings; prints where it listens as one JSON line."""
    stopping = threading.Event()

    def wait(seconds: float) -> None:
        if stopping.wait(seconds):
            raise InterruptedRunError

    with open_channel(settings.directory, settings.token.get_secret_value()) as channel:
        directory = Directory(channel, wait=wait)
        importer = Importer(directory, settings.temp_dir, now=lambda: datetime.now(UTC), wait=wait)
        api = ImporterApi(directory, importer, temp_dir=settings.temp_dir)
        server = Server(
            lambda grpc_server: importer_pb2_grpc.add_ImporterServiceServicer_to_server(api, grpc_server),
            service_names=[SERVICE_NAME],
            address=settings.listen,
            translate=translate,
        )
        server.start()
        wait_for_end(with_stdin=settings.exit_with_stdin, ready=lambda: announce(settings.listen, server.port))
        stopping.set()
        api.join(_GRACE_S)
        server.stop(grace_s=_GRACE_S)
        log.info("importer.stopped")


if __name__ == "__main__":
    main()
