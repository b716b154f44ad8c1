"""Turn sources into the contract's messages, and the contract's messages into settings by path."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from google.protobuf.field_mask_pb2 import FieldMask
from muster.directory.v1 import sources_pb2 as pb

from services.directory.api.servicer import timestamp
from services.directory.operations.source_secrets import Credentials
from services.directory.rules import names
from services.directory.rules.drops import importer_password, importer_username, password_sha256
from services.directory.rules.errors import InvalidArgument
from services.directory.rules.etags import etag_of
from services.directory.rules.schedule import is_last_try
from services.directory.rules.source_settings import LIMIT_NAMES, PARSERS, expand
from services.directory.store.tables import Source, SourceKind

_MOST_OF_A_WORKER: Final = 128
_LEAST_LEASE_S: Final = 5
_LONGEST_LEASE_S: Final = 3600
_USUAL_LEASE_S: Final = 60


def drop_login_record(source: Source, *, pepper: bytes) -> pb.DropLoginRecord:
    """Make what a drop is told of the two logins to a source's folder: the customer's and the importer's."""
    name = names.SOURCE.format(source.tenant_id, source.id)
    return pb.DropLoginRecord(
        username=source.sftp_username,
        password_sha256=source.drop_password_sha256 or b"",
        allowed_networks=source.allowed_networks,
        source=name,
        importer_username=importer_username(source.sftp_username),
        importer_password_sha256=password_sha256(importer_password(name, pepper=pepper)),
    )


def settings_of(message: pb.Source, paths: Iterable[str], *, tenant_id: int) -> dict[str, Any]:
    """Read the settings at these paths as they were sent. Errors: InvalidArgument, NotFound (another's account)."""
    settings = {path: _value(message, path) for path in paths}
    if settings.get("account"):
        settings["account"] = names.parse_within(
            names.ACCOUNT, settings["account"], tenant_id=tenant_id, field="source.account"
        )
    elif "account" in settings:
        settings["account"] = 0
    return settings


def paths_of(mask: FieldMask) -> list[str]:
    """Read which settings an update mask names. Errors: InvalidArgument for a path that is no setting."""
    paths = {path: expand(path) for path in mask.paths}
    wrong = [path for path, found in paths.items() if not found]
    if wrong:
        raise InvalidArgument([("update_mask", f"{path} is not a setting of a source") for path in wrong])
    named = {path for found in paths.values() for path in found}
    return [path for path in PARSERS if path in named]


def credentials_of(request: pb.CreateSourceRequest | pb.UpdateSourceRequest) -> Credentials | None:
    """Read new credentials; None when there are none."""
    if not request.HasField("credentials"):
        return None
    return Credentials(password=request.credentials.password, private_key=request.credentials.private_key)


def source_message(source: Source) -> pb.Source:
    """Write a source, without its secrets."""
    tenant_id = source.tenant_id
    name = names.SOURCE.format(tenant_id, source.id)
    return pb.Source(
        name=name,
        display_name=source.display_name,
        kind=pb.SourceKind.ValueType(source.kind),
        state=pb.SourceState.ValueType(source.state),
        account=names.format_optional(names.ACCOUNT, tenant_id, source.account_id),
        sftp=pb.SftpEndpoint(
            host=source.sftp_host,
            port=source.sftp_port,
            username=source.sftp_username,
            host_key=source.sftp_host_key,
            path=source.sftp_path,
            allowed_networks=source.allowed_networks,
        ),
        group_separator=source.group_separator,
        automatic_invitations=source.automatic_invitations,
        region=source.region,
        unknown_groups=pb.UNKNOWN_GROUPS_CREATE if source.create_unknown_groups else pb.UNKNOWN_GROUPS_IGNORE,
        keep_primary_phone=source.keep_primary_phone,
        keep_secondary_phone=source.keep_secondary_phone,
        delete_after_processing=source.delete_after_processing,
        nightly_time=source.nightly_time,
        time_zone=source.time_zone,
        stable_for_seconds=source.stable_for_seconds,
        end_marker=pb.EndMarker.ValueType(source.end_marker),
        skip_means=pb.SKIP_MEANS_FREEZE if source.skip_means_freeze else pb.SKIP_MEANS_ABSENT,
        grace_nights=source.grace_nights,
        strict_encoding=source.strict_encoding,
        limits=_limits(source),
        position=source.position,
        report_to=source.report_to,
        report_unchanged=source.report_unchanged,
        language=source.language,
        last_run=names.format_optional(names.IMPORT_RUN, tenant_id, source.last_run_id),
        etag=etag_of(name, source.revision),
        create_time=timestamp(source.create_time),
        max_file_bytes=source.max_file_bytes,
        next_run_time=timestamp(source.due_at) if source.due_at else None,
        guard=_guard(source),
        guard_trip_time=timestamp(source.guard_trip_time) if source.guard_trip_time else None,
        detach_time=timestamp(source.detach_time) if source.detach_time else None,
    )


def claim_message(source: Source) -> pb.ClaimDueSourceResponse:
    """Write a source that was just claimed."""
    assert source.claimed_until is not None
    claim = pb.SourceClaim(
        claim=source.claim_id,
        source=source_message(source),
        lease_end_time=timestamp(source.claimed_until),
        attempt=source.night_attempts,
        is_last_attempt=is_last_try(source.night_attempts),
    )
    return pb.ClaimDueSourceResponse(claim=claim)


def parse_worker(worker: str) -> str:
    """Read the name of a process. Errors: InvalidArgument."""
    if not (0 < len(worker) <= _MOST_OF_A_WORKER and worker.isprintable()):
        raise InvalidArgument([("worker", f"must be 1 to {_MOST_OF_A_WORKER} printable characters")])
    return worker


def parse_lease(seconds: int) -> timedelta:
    """Read 5 to 3600 seconds; 0 is 60. Errors: InvalidArgument."""
    if seconds and not _LEAST_LEASE_S <= seconds <= _LONGEST_LEASE_S:
        raise InvalidArgument([("lease_seconds", f"must be from {_LEAST_LEASE_S} to {_LONGEST_LEASE_S}")])
    return timedelta(seconds=seconds or _USUAL_LEASE_S)


def _guard(source: Source) -> pb.Guard.ValueType:
    if source.kind != SourceKind.SCIM:
        return pb.GUARD_UNSPECIFIED
    return pb.GUARD_ON if source.guard else pb.GUARD_OFF


def _limits(source: Source) -> pb.Limits:
    limits = pb.Limits()
    for name in LIMIT_NAMES:
        for figure, value in source.limits.get(name, {}).items():
            setattr(getattr(limits, name), figure, int(value) if figure == "floor" else value)
    return limits


def _value(message: Any, path: str) -> Any:
    """Read the value at a path; None for a figure of a limit that is not set."""
    *parents, last = path.split(".")
    for part in parents:
        message = getattr(message, part)
    if path.startswith("limits.") and not message.HasField(last):
        return None
    value = getattr(message, last)
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else value
