"""ImportService's methods on single rows: rejected ones kept and given back, and a planned file shown row by row."""

# ruff: noqa: N802 - methods have the contract's names

from __future__ import annotations

from collections.abc import Iterator

import grpc
from muster.directory.v1 import imports_pb2 as pb
from muster.directory.v1 import imports_pb2_grpc

from services.directory.api import access, pages
from services.directory.api.import_messages import change_to_proto, issue_values
from services.directory.api.servicer import Resources, Servicer
from services.directory.operations import import_rows, rejected_rows
from services.directory.operations.import_rows import ImportedRow
from services.directory.operations.imports import Imports
from services.directory.rules.names import IMPORT_RUN, parse


class ImportRowServicer(Servicer, imports_pb2_grpc.ImportServiceServicer):
    """What of ImportService is about rows; ImportServicer adds the rest."""

    def __init__(self, resources: Resources, imports: Imports) -> None:
        super().__init__(resources)
        self._imports = imports

    def AddImportIssues(
        self, request: pb.AddImportIssuesRequest, context: grpc.ServicerContext
    ) -> pb.AddImportIssuesResponse:
        """Keep issues of a file that cannot be used."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        issues = [issue_values(issue) for issue in request.issues]
        rejected_rows.add_issues(self._imports, tenant_id, run_id, request.first_number, issues)
        return pb.AddImportIssuesResponse()

    def KeepRejectedRows(
        self, request: pb.KeepRejectedRowsRequest, context: grpc.ServicerContext
    ) -> pb.KeepRejectedRowsResponse:
        """Keep rejected rows, sealed."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        rejected_rows.keep_rows(
            self._imports, self.seal, tenant_id, run_id, request.rejected_rows, is_last=request.is_last
        )
        return pb.KeepRejectedRowsResponse()

    def DownloadRejectedRows(
        self, request: pb.DownloadRejectedRowsRequest, context: grpc.ServicerContext
    ) -> Iterator[pb.DownloadRejectedRowsResponse]:
        """Stream the CSV of rejected rows."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        for chunk in rejected_rows.download(self._imports, self.seal, tenant_id, run_id, is_wanted=context.is_active):
            yield pb.DownloadRejectedRowsResponse(chunk=chunk)

    def ListImportRows(
        self, request: pb.ListImportRowsRequest, context: grpc.ServicerContext
    ) -> pb.ListImportRowsResponse:
        """Page through a planned file's rows."""
        tenant_id, run_id = parse(IMPORT_RUN, request.import_run, field="import_run")
        access.require(context, tenant_id)
        page = pages.page_of(request, start=(0,))
        rows, totals = import_rows.list_rows(
            self._imports, tenant_id, run_id, verdict=request.verdict, after_line=page.after[0], limit=page.limit
        )
        shown, token = page.cut(rows, lambda row: (row.line,))
        return pb.ListImportRowsResponse(
            rows=[_to_proto(tenant_id, row) for row in shown],
            next_page_token=token,
            totals=pb.ImportRowTotals(**vars(totals)) if totals is not None else None,
        )


def _to_proto(tenant_id: int, row: ImportedRow) -> pb.ImportRow:
    return pb.ImportRow(
        line=row.line,
        key=row.key,
        verdict=pb.RowVerdict.ValueType(row.verdict),
        outcome=pb.RowOutcome.ValueType(row.outcome),
        issues=[
            pb.ImportIssue(
                line=finding.line,
                key=finding.row_key,
                severity=pb.IssueSeverity.ValueType(finding.severity),
                code=finding.code,
                column=finding.column_name,
                masked_value=finding.masked_value,
                message=finding.message,
            )
            for finding in row.findings
        ],
        change=change_to_proto(tenant_id, row.change) if row.change is not None else None,
    )
