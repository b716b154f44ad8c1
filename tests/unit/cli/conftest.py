"""A directory, importer and notifier that answer by the contract and remember what they were asked."""

from __future__ import annotations

import io
import json
from concurrent import futures
from types import SimpleNamespace

import grpc
import pytest
from muster.directory.v1 import (
    accounts_pb2_grpc,
    administrators_pb2_grpc,
    api_keys_pb2_grpc,
    events_pb2_grpc,
    groups_pb2_grpc,
    imports_pb2_grpc,
    invitations_pb2_grpc,
    licenses_pb2_grpc,
    operations_pb2_grpc,
    scim_activity_pb2_grpc,
    sources_pb2_grpc,
    tenants_pb2_grpc,
    users_pb2_grpc,
)
from muster.importer.v1 import importer_pb2_grpc
from muster.notifier.v1 import messages_pb2_grpc
from muster.runtime import errors
from rich.console import Console

from cli import main
from cli.output import Output
from cli.session import Session

_SERVICES = {
    "TenantService": tenants_pb2_grpc,
    "AccountService": accounts_pb2_grpc,
    "GroupService": groups_pb2_grpc,
    "UserService": users_pb2_grpc,
    "LicenseService": licenses_pb2_grpc,
    "SourceService": sources_pb2_grpc,
    "ApiKeyService": api_keys_pb2_grpc,
    "ScimActivityService": scim_activity_pb2_grpc,
    "AdministratorService": administrators_pb2_grpc,
    "ImportService": imports_pb2_grpc,
    "InvitationService": invitations_pb2_grpc,
    "EventService": events_pb2_grpc,
    "OperationsService": operations_pb2_grpc,
    "ImporterService": importer_pb2_grpc,
    "MessageService": messages_pb2_grpc,
}


class ScriptedServices:
    """Answers each method with what the test says: a list of answers in order, each a message or an RpcError.

    A streaming method's answer is a list of messages.
    """

    def __init__(self):
        self.answers = {}
        self.asked = {}

    def answer(self, method, *answers):
        self.answers.setdefault(method, []).extend(answers)

    def requests(self, method):
        return self.asked.get(method, [])

    def _next(self, method, request, context):
        self.asked.setdefault(method, []).append(request)
        waiting = self.answers.get(method)
        assert waiting, f"the test does not say what {method} answers"
        answer = waiting.pop(0)
        if isinstance(answer, errors.RpcError):
            context.abort_with_status(errors.to_status(answer))
        return answer

    def servicer(self, stubs, service):
        base = getattr(stubs, f"{service}Servicer")
        methods = [name for name in vars(base) if name[0].isupper()]

        def make(method):
            if method == "ImportFile":
                return lambda _, requests, context: iter(self._next(method, list(requests), context))
            if method in ("DownloadRejectedRows", "RunSource", "TestSource", "WatchImportRun", "CheckIntegrity"):
                return lambda _, request, context: iter(self._next(method, request, context))
            return lambda _, request, context: self._next(method, request, context)

        return type(service, (base,), {method: make(method) for method in methods})()


@pytest.fixture
def services():
    return ScriptedServices()


@pytest.fixture
def address(services):
    server = grpc.server(futures.ThreadPoolExecutor(4))
    for service, stubs in _SERVICES.items():
        getattr(stubs, f"add_{service}Servicer_to_server")(services.servicer(stubs, service), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(0).wait()


@pytest.fixture
def muster(address, tmp_path):
    """Run one command line against the scripted services; gives status, document, out and err."""
    environ = {f"MUSTER_{name}": address for name in ("DIRECTORY", "IMPORTER", "NOTIFIER")} | {"MUSTER_TOKEN": "mst_x"}

    def run(*arguments, as_json=True):
        out, err = io.StringIO(), io.StringIO()
        output = Output(as_json=as_json, out=Console(file=out, width=200), err=Console(file=err, width=200))
        status = main.run(arguments, Session(data=tmp_path, output=output, environ=environ))
        document = json.loads(out.getvalue()) if as_json and out.getvalue() else None
        return SimpleNamespace(status=status, document=document, out=out.getvalue(), err=err.getvalue())

    return run
