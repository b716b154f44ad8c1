"""Turn runs, changes and issues into the contract's messages, and back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from muster.directory.v1 import imports_pb2

from services.directory.api.servicer import timestamp
from services.directory.operations import import_reads
from services.directory.rules.etags import etag_of
from services.directory.rules.names import GROUP, IMPORT_RUN, SOURCE, USER, format_optional
from services.directory.store.tables import ImportIssue, ImportRun, RunStatus


def newest_timestamp(end: imports_pb2.ImportEnd) -> datetime | None:
    """Read the newest TimeStamp of a stream's end; None when no row has a readable one."""
    return end.newest_timestamp.ToDatetime(tzinfo=UTC) if end.HasField("newest_timestamp") else None


def file_of(facts: imports_pb2.ImportFileFacts) -> dict[str, Any]:
    """Keep what the importer says of the file."""
    return {
        "file_name": facts.file_name,
        "size_bytes": facts.size_bytes,
        "sha256": facts.sha256.hex(),
        "encoding": facts.encoding,
        "delimiter": facts.delimiter,
        "columns": list(facts.columns),
        "reading": facts.reading.hex(),
        "header": [cell.replace("\0", "") for cell in facts.header],
        "column_places": list(facts.column_places),
        "byte_order_mark": facts.byte_order_mark,
        "line_end": facts.line_end,
        "all_quoted": facts.all_quoted,
        "separator_line": facts.separator_line,
    }


def issue_of(tenant_id: int, run_id: int, number: int, issue: imports_pb2.ImportIssue) -> ImportIssue:
    """Read an issue of a file that is refused."""
    return ImportIssue(tenant_id=tenant_id, run_id=run_id, number=number, **issue_values(issue))


def issue_values(issue: imports_pb2.ImportIssue) -> dict[str, Any]:
    """Read what an issue says, as the table has it."""
    return {
        "line": issue.line,
        "row_key": issue.key.replace("\0", ""),
        "severity": issue.severity,
        "code": issue.code.replace("\0", ""),
        "column_name": issue.column.replace("\0", ""),
        "masked_value": issue.masked_value.replace("\0", ""),
        "message": issue.message.replace("\0", ""),
    }


def issue_to_proto(issue: ImportIssue) -> imports_pb2.ImportIssue:
    """Write an issue."""
    return imports_pb2.ImportIssue(
        line=issue.line,
        key=issue.row_key,
        severity=imports_pb2.IssueSeverity.ValueType(issue.severity),
        code=issue.code,
        column=issue.column_name,
        masked_value=issue.masked_value,
        message=issue.message,
    )


def change_to_proto(tenant_id: int, change: import_reads.Change) -> imports_pb2.ImportChange:
    """Write one person's change."""
    return imports_pb2.ImportChange(
        line=change.line,
        action=imports_pb2.ChangeAction.ValueType(change.action),
        external_id=change.external_id,
        user=format_optional(USER, tenant_id, change.user_id),
        email=change.email,
        display_name=change.display_name,
        fields=[
            imports_pb2.FieldChange(field=name, before=before, after=after) for name, before, after in change.fields
        ],
        groups_added=change.places.added,
        groups_removed=change.places.removed,
        groups_kept=change.places.kept,
    )


def to_proto(run: ImportRun, *, applied_rows: int = 0) -> imports_pb2.ImportRun:
    """Write a run as the contract has it."""
    done = run.status in {RunStatus.APPLIED, RunStatus.UNDONE}
    counts = run.counts
    written = counts["created"] + counts["updated"] + counts["deleted"] if done else applied_rows
    name = IMPORT_RUN.format(run.tenant_id, run.id)
    return imports_pb2.ImportRun(
        name=name,
        source=SOURCE.format(run.tenant_id, run.source_id),
        status=imports_pb2.ImportRunStatus.ValueType(run.status),
        reason=run.reason,
        message=run.message,
        counts=imports_pb2.ImportCounts(**counts),
        plan=imports_pb2.ImportCounts(**run.plan) if run.plan is not None else None,
        plan_hash=run.plan_hash,
        plan_only=run.plan_only,
        file=_facts_of(run.file) if run.file else None,
        newest_timestamp=timestamp(run.newest_timestamp) if run.newest_timestamp else None,
        create_time=timestamp(run.create_time),
        end_time=timestamp(run.end_time) if run.end_time else None,
        applied_rows=written,
        nights_without_file=run.nights_without_file,
        deletions_left_out=run.deletions_left_out,
        seats_total=run.seats_total,
        seats_used=run.seats_used,
        undoes=format_optional(IMPORT_RUN, run.tenant_id, run.undoes_run_id),
        undone_by=format_optional(IMPORT_RUN, run.tenant_id, run.undone_by_run_id),
        reach=_reach(run.tenant_id, run.reach) if run.reach else None,
        shape=_shape(run.tenant_id, run.shape) if run.shape else None,
        etag=etag_of(name, run.revision),
    )


def _facts_of(file: dict[str, Any]) -> imports_pb2.ImportFileFacts:
    digests = {key: bytes.fromhex(file.get(key, "")) for key in ("sha256", "reading")}
    return imports_pb2.ImportFileFacts(**{**file, **digests})


def _reach(tenant_id: int, kept: Mapping[str, Any]) -> imports_pb2.Reach:
    return imports_pb2.Reach(
        lost_phone=kept["lost_phone"],
        gained_phone=kept["gained_phone"],
        came_without_phone=kept["came_without_phone"],
        groups_below_two=kept["groups_below"],
        groups=[imports_pb2.GroupReach(**_group(tenant_id, group)) for group in kept["groups"]],
    )


def _shape(tenant_id: int, kept: Mapping[str, Any]) -> imports_pb2.Shape:
    return imports_pb2.Shape(
        people=kept["people"],
        columns=[imports_pb2.ColumnFill(column=column, filled=filled) for column, filled in kept["columns"].items()],
        mail_domains=[
            imports_pb2.MailDomain(domain=domain, people=people) for domain, people in kept["domains"].items()
        ],
        groups=[imports_pb2.GroupSize(**_group(tenant_id, group)) for group in kept["groups"]],
    )


def _group(tenant_id: int, kept: Mapping[str, Any]) -> dict[str, Any]:
    facts = {key: kept[key] for key in ("display_name", "before", "after")}
    return {"group": GROUP.format(tenant_id, kept["group_id"]), **facts}
