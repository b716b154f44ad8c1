"""Read out of a source where its file is, as whom to fetch it, and what stands beside it."""

from __future__ import annotations

from muster.directory.v1 import sources_pb2

from services.importer import sftp

_SSH_PORT = 22
_MARKERS = {sources_pb2.END_MARKER_SHA256: sftp.Marker.SHA256, sources_pb2.END_MARKER_DONE: sftp.Marker.DONE}


def endpoint_of(secret: sources_pb2.GetSourceSecretResponse) -> sftp.Endpoint:
    """Read where and as whom to fetch."""
    endpoint, credentials = secret.endpoint, secret.credentials
    return sftp.Endpoint(
        host=endpoint.host,
        port=endpoint.port or _SSH_PORT,
        username=endpoint.username,
        path=endpoint.path,
        host_key=endpoint.host_key,
        password=credentials.password,
        private_key=credentials.private_key,
    )


def marker_of(source: sources_pb2.Source) -> sftp.Marker:
    """Say which end marker is to stand beside the file (R2); one inside it is none of these."""
    return _MARKERS.get(source.end_marker, sftp.Marker.NONE)
