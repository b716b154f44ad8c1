"""Fetch one file by SFTP from a server whose host key is pinned, once the file is complete (R1, R2, R7)."""

from __future__ import annotations

from services.importer.sftp.endpoint import PATIENCE, Endpoint, Patience, RemoteFile
from services.importer.sftp.fetch import Fetched, Sink, Wait, delete, fetch
from services.importer.sftp.markers import Marker

__all__ = ["PATIENCE", "Endpoint", "Fetched", "Marker", "Patience", "RemoteFile", "Sink", "Wait", "delete", "fetch"]
