"""Find the parts of a request that may need rewriting, whatever operation it asks for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from scim2_models import InvalidSyntaxException
from scim2_server.requests import ScimRequest
from scim2_server.routing import Operation, Target

from services.scim_gateway.bounds import Bounds, bounded_names, once_each
from services.scim_gateway.entra import note_missing_schemas, tolerate_filter, tolerate_patch, tolerate_resource
from services.scim_gateway.quirks import Note
from services.scim_gateway.service import GatewayService

_DEEPEST = 254  # orjson reads up to 1,024 levels and writes these
_WITH_RESOURCE = frozenset({Operation.create, Operation.replace})
_WITH_MESSAGE = frozenset({Operation.bulk, Operation.search_with_body})


def tolerate(service: GatewayService, request: ScimRequest, target: Target, note: Note) -> None:
    """Rewrite a request in place; what cannot be read stays, to be refused where it is read.

    Errors: SCIMException for what would take too long to read.
    """
    request.query = once_each(request.query)
    if target.operation is Operation.search:
        text = request.query.get("filter")
        if text:
            Bounds().count_filter(text)
            kind = _kind(service, target.endpoint)
            request.query = {**request.query, "filter": tolerate_filter(kind, text, note)}
        return
    if not request.body:
        return
    body = json_of(request.body)
    _ensure_flat(request.body, body)
    bounds = Bounds(is_bulk=target.operation is Operation.bulk)
    rewritten = _Rewriter(service, note, bounds).rewritten(target, body)
    if rewritten != body:
        request.body = orjson.dumps(rewritten)


def operations_of(body: bytes) -> list[Any] | None:
    """The operations of a PATCH, or None where the body has no list of them."""
    payload = json_of(body)
    if not isinstance(payload, dict):
        return None
    operations = next((value for key, value in payload.items() if key.lower() == "operations"), None)
    return operations if isinstance(operations, list) else None


def json_of(body: bytes) -> Any:
    """Read JSON; None for what is none."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None


def _ensure_flat(body: bytes, payload: Any) -> None:
    """Refuse what is nested deeper than JSON is written here. Errors: InvalidSyntaxException."""
    if body.count(b"[") + body.count(b"{") < _DEEPEST:
        return
    try:
        orjson.dumps(payload)
    except orjson.JSONEncodeError:
        raise InvalidSyntaxException(detail="The request's body is nested too deeply to be of any resource.") from None


@dataclass(frozen=True)
class _Rewriter:
    service: GatewayService
    note: Note
    bounds: Bounds

    def rewritten(self, target: Target, body: Any) -> Any:
        kind = _kind(self.service, target.endpoint)
        if target.operation in _WITH_RESOURCE and kind:
            return tolerate_resource(kind, body, self.note)
        if target.operation is Operation.patch and kind:
            return self._patch(kind, body)
        if target.operation in _WITH_MESSAGE and isinstance(body, dict):
            note_missing_schemas(body, self.note)
        if target.operation is Operation.bulk and isinstance(body, dict):
            return {key: self._bulk(value) if key.lower() == "operations" else value for key, value in body.items()}
        if target.operation is Operation.search_with_body and isinstance(body, dict):
            return {key: self._parameter(kind, key.lower(), value) for key, value in body.items()}
        return body

    def _parameter(self, kind: str, name: str, value: Any) -> Any:
        if name == "filter" and isinstance(value, str):
            self.bounds.count_filter(value)
            return tolerate_filter(kind, value, self.note)
        if (
            name in {"attributes", "excludedattributes"}
            and isinstance(value, list)
            and all(isinstance(each, str) for each in value)
        ):
            return bounded_names(value)
        return value

    def _patch(self, kind: str, body: Any) -> Any:
        if isinstance(body, dict):
            for key, value in body.items():
                if key.lower() == "operations" and isinstance(value, list):
                    self.bounds.count_operations(value)
        return tolerate_patch(kind, body, self.note)

    def _bulk(self, operations: Any) -> Any:
        if not isinstance(operations, list):
            return operations
        return [self._one_of_bulk(each) if isinstance(each, dict) else each for each in operations]

    def _one_of_bulk(self, operation: dict[str, Any]) -> dict[str, Any]:
        method, path = str(operation.get("method", "")).upper(), str(operation.get("path", ""))
        kind = _kind(self.service, path.strip("/").partition("/")[0])
        if not kind or "data" not in operation:
            return operation
        if method == "PATCH":
            return {**operation, "data": self._patch(kind, operation["data"])}
        if method in {"POST", "PUT"}:
            return {**operation, "data": tolerate_resource(kind, operation["data"], self.note)}
        return operation


def _kind(service: GatewayService, endpoint: str | None) -> str:
    found = service.get_resource_type_by_endpoint(endpoint) if endpoint else None
    return str(found.name) if found else ""
