"""Carry an error over gRPC and read it again: its reason, its code from the table in error_reason.proto, details."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from muster.directory.v1 import error_reason_pb2

DOMAIN = "muster"
MAX_FIELD_VIOLATIONS = 20  # details travel in trailing metadata, where 2,000 of them do not fit
_CODES = {code.value[0]: code for code in grpc.StatusCode}


class RpcError(Exception):
    """An error that a caller is told; `reason` is a name of ErrorReason without its prefix.

    A service derives one class per reason and gives it data: `raise LicenseLimitReached(seats_total=200, …)`.
    """

    reason: str = "INTERNAL"
    retry_after_s: float | None = None

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata = dict(metadata or {})
        self.violations = list(violations)


@dataclass(frozen=True)
class Failure:
    """What an error said, read on the client's side."""

    code: grpc.StatusCode
    reason: str
    message: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    violations: Sequence[tuple[str, str]] = ()
    retry_after_s: float | None = None


class AbortsWithStatus(Protocol):
    """The part of a servicer context that `abort_with` needs; sync contexts have it."""

    def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call."""


def code_of(reason: str) -> grpc.StatusCode:
    """Look the reason's gRPC code up in the table."""
    return _CODES[_mapping(reason).grpc_code]


def scim_status_of(reason: str) -> int:
    """Look the reason's SCIM status up in the table."""
    return _mapping(reason).scim_status


def _mapping(reason: str) -> error_reason_pb2.ErrorMapping:
    value = error_reason_pb2.ErrorReason.DESCRIPTOR.values_by_name[f"ERROR_REASON_{reason}"]
    return value.GetOptions().Extensions[error_reason_pb2.mapping]


def to_status(error: RpcError) -> grpc.Status:
    """Write the error as what ends a call."""
    return rpc_status.to_status(_status_of(error))


def to_bytes(error: RpcError) -> bytes:
    """Write the error as the answer of one of many; see `failure_in`."""
    written: bytes = _status_of(error).SerializeToString()
    return written


def _status_of(error: RpcError) -> status_pb2.Status:
    """Write the error as a status with ErrorInfo and the details its reason has."""
    details = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=error.metadata)]
    packed = [_pack(details[0])]
    if error.violations:
        packed.append(
            _pack(
                error_details_pb2.BadRequest(
                    field_violations=[
                        error_details_pb2.BadRequest.FieldViolation(field=name, description=text)
                        for name, text in error.violations[:MAX_FIELD_VIOLATIONS]
                    ]
                )
            )
        )
    if error.retry_after_s is not None:
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(int(error.retry_after_s * 1000))
        packed.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
    if _mapping(error.reason).detail == "QuotaFailure":
        violation = error_details_pb2.QuotaFailure.Violation(subject="license", description=error.message)
        packed.append(_pack(error_details_pb2.QuotaFailure(violations=[violation])))
    return status_pb2.Status(code=code_of(error.reason).value[0], message=error.message, details=packed)


def _pack(message: object) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)  # type: ignore[arg-type]
    return packed


def failure_of(error: grpc.RpcError) -> Failure:
    """Read an error on the client's side; one that is not Muster's has the code's name as its reason."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]  # every raised RpcError is a Call
    return _failure(error.code(), error.details() or "", status.details if status is not None else ())


def failure_in(written: bytes) -> Failure:
    """Read an error that `to_bytes` wrote."""
    status = status_pb2.Status.FromString(written)
    code = next(code for code in grpc.StatusCode if code.value[0] == status.code)
    return _failure(code, status.message, status.details)


def _failure(code: grpc.StatusCode, message: str, details: Iterable[any_pb2.Any]) -> Failure:
    reason, metadata, retry_after_s = code.name, {}, None
    violations: list[tuple[str, str]] = []
    for packed in details:
        if packed.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            info = error_details_pb2.ErrorInfo()
            packed.Unpack(info)
            reason, metadata = info.reason, dict(info.metadata)
        elif packed.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad = error_details_pb2.BadRequest()
            packed.Unpack(bad)
            violations = [(violation.field, violation.description) for violation in bad.field_violations]
        elif packed.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo()
            packed.Unpack(retry)
            retry_after_s = retry.retry_delay.ToMilliseconds() / 1000
    return Failure(code, reason, message, metadata, violations, retry_after_s)
