"""Write what the services answer as the JSON documents that scripts read; null stands for "has none"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2, timestamp_pb2
from muster.directory.v1 import (
    accounts_pb2,
    administrators_pb2,
    api_keys_pb2,
    events_pb2,
    groups_pb2,
    imports_pb2,
    invitations_pb2,
    licenses_pb2,
    scim_activity_pb2,
    sources_pb2,
    tenants_pb2,
    users_pb2,
)
from muster.notifier.v1 import messages_pb2

from cli import plan_documents

Document = dict[str, Any]
MANUAL = "manual"


def word(enum: Any, value: int) -> str:
    """Write an enum's value as its lower-case word, without the prefix that all its names share."""
    prefix = enum.Name(0).removesuffix("UNSPECIFIED")
    name: str = enum.Name(value)
    return name.removeprefix(prefix).lower()


def tenant(record: tenants_pb2.Tenant) -> Document:
    """Write one tenant."""
    return {
        "tenant": record.name,
        "name": record.display_name,
        "account": record.main_account,
        "language": record.language,
        "accept_url": record.accept_url or None,
        "deleted": moment(record.delete_time),
    }


def account(record: accounts_pb2.Account) -> Document:
    """Write one account."""
    return {
        "account": record.name,
        "name": record.display_name,
        "parent": record.parent or None,
        "main_group": record.main_group,
        "user_count": record.user_count,
    }


def group(record: groups_pb2.Group) -> Document:
    """Write one group."""
    return {
        "group": record.name,
        "name": record.display_name,
        "group_id": record.group_external_id or None,
        "account": record.account,
        "kind": word(groups_pb2.GroupKind, record.kind),
        "owner": record.owner or MANUAL,
        "member_count": record.member_count,
    }


def reserved_group_id(record: groups_pb2.ReservedGroupId) -> Document:
    """Write one Group ID that waits to be released."""
    return {
        "group_id": record.group_external_id,
        "group": record.group,
        "source": record.source or None,
        "deleted": moment(record.create_time),
    }


def member(record: groups_pb2.Membership) -> Document:
    """Write one person of a group; `sources` names everybody who put the person there, people as `manual`."""
    by_hand = [MANUAL] if record.is_by_hand else []
    return {
        "user": record.user,
        "email": record.email,
        "source": record.source or MANUAL,
        "sources": [*by_hand, *record.sources],
    }


def user(record: users_pb2.User) -> Document:
    """Write one user; groups and accounts by the names people call them."""
    return {
        "user": record.name,
        "name": record.display_name,
        "email": record.email,
        "title": record.title or None,
        "phone": record.phone or None,
        "secondary_phone": record.secondary_phone or None,
        "external_id": record.external_id or None,
        "owner": record.owner or MANUAL,
        "owner_name": record.owner_display_name or None,
        "state": word(users_pb2.UserState, record.state),
        "invitation": word(users_pb2.InvitationState, record.invitation) if record.invitation else "none",
        "password_reset_required": record.password_reset_required,
        "groups": list(record.group_display_names),
        "accounts": list(record.account_display_names),
    }


def invitation(record: invitations_pb2.Invitation) -> Document:
    """Write one invitation."""
    return {
        "invitation": record.name,
        "user": record.user,
        "email": record.email,
        "state": word(users_pb2.InvitationState, record.state),
        "expires": moment(record.expire_time),
        "sent": moment(record.sent_time),
        "run": record.import_run or None,
    }


def seats(record: licenses_pb2.License) -> Document:
    """Write one license; `seats_over` is how many users have a seat beyond the total."""
    over = max(0, record.seats_used - record.seats_total)
    return {"seats_total": record.seats_total, "seats_used": record.seats_used, "seats_over": over}


def refusal(record: licenses_pb2.Refusal) -> Document:
    """Write one user who was refused a seat and still has none."""
    return {
        "source": record.source,
        "user_name": record.user_name,
        "external_id": record.external_id or None,
        "attempts": record.attempts,
        "first": moment(record.first_time),
        "last": moment(record.last_time),
    }


def administrator(record: administrators_pb2.Administrator) -> Document:
    """Write one administrator."""
    return {
        "administrator": record.name,
        "email": record.email,
        "name": record.display_name or None,
        "role": word(administrators_pb2.AdministratorRole, record.role),
        "account": record.account or None,
        "totp": record.totp,
        "last_sign_in": moment(record.last_sign_in_time) if record.HasField("last_sign_in_time") else None,
    }


def api_key(record: api_keys_pb2.ApiKey) -> Document:
    """Write one key, of which only its id is known."""
    return {
        "key_id": record.key_id,
        "kind": word(api_keys_pb2.ApiKeyKind, record.kind).replace("_", "-"),
        "state": word(api_keys_pb2.ApiKeyState, record.state),
        "created": moment(record.create_time),
        "expires": moment(record.expire_time),
        "last_used": moment(record.last_used_time),
    }


def source(record: sources_pb2.Source) -> Document:
    """Write one source as lists show it."""
    return {
        "source": record.name,
        "name": record.display_name,
        "kind": word(sources_pb2.SourceKind, record.kind),
        "state": word(sources_pb2.SourceState, record.state),
        "account": record.account or None,
        "last_run": record.last_run or None,
        "next_due": moment(record.next_run_time),
    }


def source_settings(record: sources_pb2.Source) -> Document:
    """Write one source with all settings of its kind."""
    is_file = record.kind == sources_pb2.SOURCE_KIND_SFTP
    own: Document = _file_settings(record) if is_file else {"guard": word(sources_pb2.Guard, record.guard)}
    if record.HasField("guard_trip_time"):
        own["paused_by_guard"] = moment(record.guard_trip_time)
    shared = {
        "region": record.region or None,
        "unknown_groups": word(sources_pb2.UnknownGroups, record.unknown_groups),
        "position": record.position,
        "report_to": list(record.report_to),
        "language": record.language or None,
    }
    return source(record) | own | shared


def _file_settings(record: sources_pb2.Source) -> Document:
    return {
        "sftp": {
            "host": record.sftp.host or None,
            "port": record.sftp.port or None,
            "username": record.sftp.username or None,
            "host_key": record.sftp.host_key or None,
            "path": record.sftp.path,
            "allowed_networks": list(record.sftp.allowed_networks),
        },
        "separator": record.group_separator,
        "auto_invite": record.automatic_invitations,
        "keep_primary_phone": record.keep_primary_phone,
        "keep_secondary_phone": record.keep_secondary_phone,
        "delete_after": record.delete_after_processing,
        "nightly": record.nightly_time,
        "time_zone": record.time_zone,
        "stable_for": record.stable_for_seconds,
        "end_marker": word(sources_pb2.EndMarker, record.end_marker),
        "skip_means": word(sources_pb2.SkipMeans, record.skip_means),
        "grace": record.grace_nights,
        "strict_encoding": record.strict_encoding,
        "max_file_bytes": record.max_file_bytes,
        "limits": {
            field.name: {half.name: figure for half, figure in limit.ListFields()}
            for field, limit in record.limits.ListFields()
        },
    }


def drop_login(record: sources_pb2.DropLogin) -> Document:
    """Write a hosted drop's login."""
    return {
        "host": record.host,
        "port": record.port,
        "username": record.username,
        "password": record.password,
        "path": record.path,
    }


def counts(record: imports_pb2.ImportCounts) -> Document:
    """Write a run's counts; all keys are always there, but for `claims_dropped`, which most tenants never have."""
    return {
        field.name: getattr(record, field.name)
        for field in record.DESCRIPTOR.fields
        if field.name != "claims_dropped" or record.claims_dropped
    }


def run(record: imports_pb2.ImportRun) -> Document:
    """Write one run without its rows; `plan` is all zero before there is a plan."""
    return {
        "run": record.name,
        "source": record.source,
        "status": word(imports_pb2.ImportRunStatus, record.status),
        "reason": record.reason or None,
        "message": record.message or None,
        "counts": counts(record.counts),
        "plan": counts(record.plan),
        "plan_hash": record.plan_hash or None,
        "deletions_left_out": record.deletions_left_out,
        "nights_without_file": record.nights_without_file,
        "seats_total": record.seats_total,
        "seats_used": record.seats_used,
        "reach": plan_documents.reach(record.reach) if record.HasField("reach") else None,
        "shape": plan_documents.shape(record.shape) if record.HasField("shape") else None,
        "file": file_facts(record.file) if record.HasField("file") else None,
        "started": moment(record.create_time),
        "ended": moment(record.end_time),
        "undoes": record.undoes or None,
        "undone_by": record.undone_by or None,
    }


def file_facts(record: imports_pb2.ImportFileFacts) -> Document:
    """Write what is known of a run's file."""
    return {
        "name": record.file_name,
        "bytes": record.size_bytes,
        "sha256": record.sha256.hex(),
        "encoding": record.encoding,
        "delimiter": record.delimiter,
        "columns": list(record.columns),
    }


def rejection(record: imports_pb2.ImportIssue) -> Document:
    """Write an issue that cost its row."""
    return {
        "line": record.line,
        "key": record.key,
        "reason": record.code,
        "column": record.column,
        "value": record.masked_value,
        "message": record.message,
    }


def warning(record: imports_pb2.ImportIssue) -> Document:
    """Write an issue whose row is used."""
    return {
        "line": record.line,
        "key": record.key,
        "code": record.code,
        "column": record.column,
        "value": record.masked_value,
        "message": record.message,
    }


def import_row(record: imports_pb2.ImportRow) -> Document:
    """Write one row of a planned file."""
    return {
        "line": record.line,
        "key": record.key,
        "verdict": word(imports_pb2.RowVerdict, record.verdict),
        "outcome": word(imports_pb2.RowOutcome, record.outcome),
        "issues": [
            {"severity": word(imports_pb2.IssueSeverity, each.severity)} | warning(each) for each in record.issues
        ],
        "change": change(record.change) if record.HasField("change") else None,
    }


def row_totals(record: imports_pb2.ImportRowTotals) -> Document:
    """Write how many rows of a planned file are fine."""
    return {"green": record.green, "yellow": record.yellow, "red": record.red}


def change(record: imports_pb2.ImportChange) -> Document:
    """Write what happens to one person."""
    return {
        "line": record.line or None,
        "action": word(imports_pb2.ChangeAction, record.action),
        "key": record.external_id,
        "user": record.user or None,
        "email": record.email,
        "name": record.display_name,
        "fields": [{"field": each.field, "before": each.before, "after": each.after} for each in record.fields],
        "groups_added": list(record.groups_added),
        "groups_removed": list(record.groups_removed),
        "groups_kept": list(record.groups_kept),
    }


def message(record: messages_pb2.Message) -> Document:
    """Write one message as lists show it."""
    return {
        "message": record.name,
        "kind": word(messages_pb2.MessageKind, record.kind),
        "to": record.to,
        "subject": record.subject,
        "state": word(messages_pb2.MessageState, record.state),
        "attempts": record.attempts,
        "possible_repeats": record.possible_repeats,
        "about": record.about or None,
        "last_error": record.last_error or None,
        "queued": moment(record.create_time),
        "sent": moment(record.send_time),
    }


def message_bodies(record: messages_pb2.Message) -> Document:
    """Write one message with its bodies."""
    return message(record) | {
        "message_id": record.message_id,
        "next_attempt": moment(record.next_attempt_time),
        "attachment": record.attachment_name or None,
        "text": record.text,
        "html": record.html,
    }


def preview(record: messages_pb2.Preview) -> Document:
    """Write a mail with made-up values."""
    return {
        "preview": record.name,
        "kind": word(messages_pb2.MessageKind, record.kind),
        "subject": record.subject,
        "text": record.text,
        "html": record.html,
    }


def event(record: events_pb2.Event) -> Document:
    """Write one event."""
    return {
        "event": record.name,
        "time": moment(record.time),
        "actor": record.actor,
        "kind": record.kind,
        "resource": record.resource,
        "fields": list(record.fields),
        "before": _values(record.before),
        "after": _values(record.after),
        "run": record.import_run or None,
    }


def scim_request(record: scim_activity_pb2.ScimRequest, cures: Mapping[str, str]) -> Document:
    """Write one request of an identity provider; `cures` has that of each quirk."""
    quirks = [each.name for each in record.quirks]
    cured = [record.cure, *(cures.get(quirk, "") for quirk in quirks)]
    return {
        "time": moment(record.time),
        "method": record.method,
        "path": record.path,
        "shape": record.shape or None,
        "status": record.status,
        "problem": record.problem or None,
        "detail": record.detail or None,
        "quirks": quirks,
        "cure": " ".join(filter(None, cured)) or None,
        "effect": _effect(record),
        "duration_ms": record.duration_ms,
        "key_id": record.key_id,
        "request_id": record.request_id,
    }


def _effect(record: scim_activity_pb2.ScimRequest) -> str | None:
    """Say what changed in the register; null for what only reads, or was refused."""
    told = [each.kind if each.count == 1 else f"{each.kind} {each.count}" for each in record.effects]
    is_write = record.method not in {"GET", "HEAD"} and not record.path.endswith(".search")
    unchanged = "unchanged" if is_write and record.status < 400 else None
    return ", ".join(told) or unchanged


def quirk_count(record: scim_activity_pb2.QuirkCount) -> Document:
    """Write how often a connection needed a quirk."""
    return {
        "quirk": record.quirk.name,
        "count": record.count,
        "cure": record.quirk.cure,
        "first": moment(record.first_time),
        "last": moment(record.last_time),
    }


def connection_health(record: scim_activity_pb2.GetActivitySummaryResponse) -> Document:
    """Write how a connection is doing."""
    return {
        "requests_last_hour": record.requests,
        "failures_last_hour": record.failures,
        "failing_since": moment(record.failing_since),
        "last_success": moment(record.last_success_time),
        "not_kept": record.dropped,
    }


def moment(record: timestamp_pb2.Timestamp) -> str | None:
    """Write a time as RFC 3339 in UTC; null for none."""
    return record.ToJsonString() if record.seconds or record.nanos else None


def _values(record: struct_pb2.Struct) -> Mapping[str, Any]:
    return json_format.MessageToDict(record)
