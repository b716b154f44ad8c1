"""Call any method of the contract by its descriptor, with requests filled by the names of their fields."""

from __future__ import annotations

import importlib
import itertools
import pkgutil
import re
from dataclasses import dataclass

import grpc
from google.protobuf.message_factory import GetMessageClass
from muster.directory import v1
from muster.runtime.errors import Failure, failure_of

from services.directory.rules.grants import METHOD_RULES

KINDS = (
    "tenant",
    "account",
    "group",
    "user",
    "source",
    "import_run",
    "license",
    "api_key",
    "invitation",
    "administrator",
)
ALIASES = {
    "add": "user",
    "last_run": "import_run",
    "members": "user",
    "owner": "source",
    "parent": "account",
    "remove": "user",
    "resource": "user",
}
"""Fields whose names do not say of what kind their values are."""

PLAIN = {
    "display_name": "Somebody",
    "user_name": "somebody{}@example.org",
    "email": "somebody{}@example.org",
}
NO_NAMES = {"kind", "kinds"}

DEEPEST = 2
"""Messages in messages that are filled; filters hold themselves."""

_numbers = itertools.count(1)


@dataclass
class Outcome:
    """What came of a call: how it failed, or the bytes of its answer (of a stream: of its first message)."""

    failure: Failure | None = None
    answer: bytes = b""

    @property
    def code(self):
        return self.failure.code if self.failure else grpc.StatusCode.OK


def services():
    """Every service of the contract, registered or not."""
    modules = [module.name for module in pkgutil.iter_modules(v1.__path__) if module.name.endswith("_pb2")]
    files = [importlib.import_module(f"{v1.__name__}.{name}").DESCRIPTOR for name in modules]
    return [service for file in files for service in file.services_by_name.values()]


def all_methods():
    return [method for service in services() for method in service.methods]


def path_of(method):
    return f"/{method.containing_service.full_name}/{method.name}"


def rule_of(method):
    return METHOD_RULES[path_of(method)]


def call(caller, method, request):
    """Call a method by its descriptor."""
    shapes = {
        (False, False): caller.channel.unary_unary,
        (False, True): caller.channel.unary_stream,
        (True, False): caller.channel.stream_unary,
        (True, True): caller.channel.stream_stream,
    }
    stub = shapes[method.client_streaming, method.server_streaming](
        path_of(method),
        request_serializer=type(request).SerializeToString,
        response_deserializer=GetMessageClass(method.output_type).FromString,
    )
    argument = iter([request]) if method.client_streaming else request
    try:
        answer = stub(argument, timeout=10)
        if method.server_streaming:
            stream, answer = answer, next(iter(answer), None)
            stream.cancel()
    except grpc.RpcError as error:
        return Outcome(failure_of(error))
    return Outcome(answer=answer.SerializeToString() if answer is not None else b"")


def filled(method, names):
    """Make a request all of whose fields name what `names` has of their kinds."""
    request = a_request(method)
    for path in name_paths(method):
        _put(request, path, method, names)
    return request


def beside_own(method, own, others):
    """Yield requests that name one thing of another tenant each, in a tenant's own; with the path that does."""
    tenant_path = rule_of(method).tenant_field
    for path in name_paths(method):
        if path == tenant_path:
            continue
        request = a_request(method)
        if tenant_path:
            _put(request, tenant_path, method, own)
        _put(request, path, method, others)
        if "update_mask" in request.DESCRIPTOR.fields_by_name and "." in path:
            request.update_mask.paths.append(path.partition(".")[2])
        yield path, request


def a_request(method):
    """Make a request with plain values where they are usually needed."""
    request = GetMessageClass(method.input_type)()
    for path, (holder, name) in _strings(request):
        if name in PLAIN and path != rule_of(method).tenant_field:
            setattr(holder, name, PLAIN[name].format(next(_numbers)))
    return request


def name_paths(method):
    """The paths of the fields of a method's request that name something."""
    request = GetMessageClass(method.input_type)()
    return [path for path, (holder, name) in _strings(request) if _kind(path, method, holder, name)]


def _strings(message, place=()):
    """Yield every field of text: its path, the message that has it, and its name."""
    for each in message.DESCRIPTOR.fields:
        path = (*place, each.name)
        if each.type == each.TYPE_STRING:
            yield ".".join(path), (message, each.name)
        elif _is_entered(each) and len(path) < DEEPEST:
            yield from _strings(getattr(message, each.name), path)


def _is_entered(each):
    return (
        each.type == each.TYPE_MESSAGE and not each.is_repeated and each.message_type.file.package.startswith("muster.")
    )


def _put(request, path, method, names):
    holder = request
    *parents, last = path.split(".")
    for parent in parents:
        holder = getattr(holder, parent)
    value = names[_kind(path, method, holder, last)]
    if rule_of(method).by_key:
        value = value.rpartition("/")[2]
    if holder.DESCRIPTOR.fields_by_name[last].is_repeated:
        getattr(holder, last).append(value)
    else:
        setattr(holder, last, value)


def _kind(path, method, holder, name):
    """Say of what kind a field's value is; `name` is that of the message, or of what the method is about."""
    if name in NO_NAMES or name.endswith(("_id", "_ids", "_name", "_names")):
        return None
    if name in {"name", "names", "id"}:
        return _kind_in(holder.DESCRIPTOR.name if "." in path else method.name)
    if name in ALIASES:
        return ALIASES[name]
    return next((kind for kind in KINDS if re.fullmatch(rf"(\w+_)?{kind}s?", name)), None)


def _kind_in(camel):
    words = re.sub(r"(?<!^)([A-Z])", r"_\1", camel).lower()
    return next((kind for kind in sorted(KINDS, key=len, reverse=True) if kind in words), None)
