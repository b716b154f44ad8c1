"""The SCIM protocol as scim2-server knows it, with the few steps that Muster takes differently."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import Any, Union

import structlog
from muster.directory.v1 import provisioning_pb2 as pb
from muster.runtime.telemetry import fault_of
from pydantic import ValidationError
from scim2_models import (
    BulkOperation,
    BulkRequest,
    BulkResponse,
    Context,
    Error,
    ListResponse,
    NotFoundException,
    NotImplementedException,
    PatchOp,
    Resource,
    ResourceType,
    ResponseParameters,
    SCIMException,
    SearchRequest,
)
from scim2_server.bulk import BulkPlan
from scim2_server.conditions import Conditions
from scim2_server.errors import MethodNotAllowedException
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse
from scim2_server.routing import Target, match
from scim2_server.service import ScimService

from services.scim_gateway import mapping
from services.scim_gateway.answers import group_json, user_json
from services.scim_gateway.auth import MissingKeyException, SlowedKeyException
from services.scim_gateway.cursors import DirectoryCursors
from services.scim_gateway.errors import TryLaterException, too_large
from services.scim_gateway.references import ReferencesInPaths
from services.scim_gateway.schemas import provider
from services.scim_gateway.wording import in_words_of_scim, worded

log = structlog.get_logger()

MAX_BODY_BYTES = 1024 * 1024
MAX_GROUP_BODY_BYTES = 16 * 1024 * 1024
_NOBODY = (
    "This key belongs to a connection and not to a person, so /Me is nobody. Ask for people at /Users, by id or by a "
    "filter on userName."
)
# "" is the root; a bulk request and a search have addresses of their own.
_PLACES = frozenset(
    ("", "users", "groups", "bulk", "me", ".search", "schemas", "resourcetypes", "serviceproviderconfig")
)
LIST_RESPONSE = "urn:ietf:params:scim:api:messages:2.0:ListResponse"


@functools.lru_cache(maxsize=256)
def _matched(method: str, path: str) -> Target:
    """Match once what is asked several times while a request is served."""
    return match(method, path)


class GatewayService(ScimService):
    """Reads requests and writes answers; knows nothing of the directory."""

    def __init__(self) -> None:
        super().__init__(provider())
        self._held = self._models_of_messages()

    def _models_of_messages(self) -> list[Any]:
        """Make the models of messages about users and groups, to be held.

        pydantic forgets such a model with the next collection of garbage when nobody holds it; to make it anew, within
        a request, takes as long as several requests.
        """
        models: list[Any] = self.get_models()
        everything: Any = Union[tuple(models)]  # noqa: UP007 - known at run time only
        about_one: tuple[Any, ...] = (ResponseParameters, PatchOp, SearchRequest)
        about_all: tuple[Any, ...] = (SearchRequest, BulkRequest, BulkResponse, ListResponse)
        return [kind[each] for kind in about_one for each in models] + [kind[everything] for kind in about_all]

    @staticmethod
    def _build_cursors(secret: str | bytes | None) -> Any:  # noqa: ARG004 - scim2-server's signature
        """Let the directory's page tokens be the cursors: it checks them, so there is no secret here."""
        return DirectoryCursors()

    @staticmethod
    def match(request: ScimRequest) -> Target:
        """Tell what a request asks for. What is served nowhere is not found, whatever the method."""
        try:
            return _matched(request.method.upper(), request.path)
        except MethodNotAllowedException:
            place = request.path.strip("/").partition("/")[0]
            if place.lower() not in _PLACES:
                raise NotFoundException(detail=f"No SCIM endpoint at {request.path!r}") from None
            raise

    def me_target(self, request: ScimRequest) -> tuple[ResourceType, str]:  # noqa: ARG002 - whoever asks
        """Refuse /Me: a key is a connection's, and a connection is nobody (RFC 7644 §3.11 allows 501)."""
        raise NotImplementedException(detail=_NOBODY)

    def me_creation_type(self, request: ScimRequest) -> ResourceType:  # noqa: ARG002 - whoever asks
        """Refuse POST on /Me: nobody registers through a connection."""
        raise NotImplementedException(detail=_NOBODY)

    def max_body_size(self, request: ScimRequest) -> int | None:
        """Read at most 1 MiB, and 16 MiB where members travel."""
        size = super().max_body_size(request)
        if size is not None:
            return size
        return MAX_GROUP_BODY_BYTES if request.path.strip("/").lower().startswith("groups") else MAX_BODY_BYTES

    def ensure_body_size(self, request: ScimRequest) -> None:
        """Refuse a body of which more came than is read; Bulk refuses its own."""
        limit = super().max_body_size(request)
        largest = self.max_body_size(request)
        if limit is None and largest is not None and len(request.body) > largest:
            raise too_large(largest)

    def publish(self, base_url: str, resource: Resource[Any]) -> Resource[Any]:
        """Put URLs into a resource in place: it was read for this answer alone."""
        mapping.locate(resource, base_url)
        return resource

    def creation_response(
        self, base_url: str, created: Resource[Any], response_parameters: ResponseParameters[Any] | None = None
    ) -> ScimResponse:
        """Answer 201 with the resource, or the part of it that is asked for (RFC 7644 §3.9)."""
        resource = self.publish(base_url, created)
        assert resource.meta is not None
        location = resource.meta.location or ""
        response = self.resource_response(
            resource, Context.RESOURCE_CREATION_RESPONSE, response_parameters, status=HTTPStatus.CREATED
        )
        response.headers["Location"] = location
        return response

    def read_bulk(self, body: bytes, content_type: str | None) -> BulkPlan:
        """Read a bulk request, and plan it."""
        plan = super().read_bulk(body, content_type)
        return ReferencesInPaths(plan.operations, plan.fail_on_errors)

    @staticmethod
    def bulk_validation_failure(
        operation: BulkOperation[Resource[Any]], outcome: dict[str, Any]
    ) -> dict[str, Any] | None:
        """Give the outcome of an operation that could not be read, in words like those of a single request."""
        if isinstance(operation.response, Error):
            operation.response.detail = worded(operation.response.detail or "", operation.response.scim_type)
        return ScimService.bulk_validation_failure(operation, outcome)

    def about_page(
        self,
        resource_types: list[ResourceType],
        page: pb.SearchProvisionedResponse,
        search_request: SearchRequest[Any],
    ) -> dict[str, Any]:
        """Write all of a page but what is on it."""
        body: dict[str, Any] = {"schemas": [LIST_RESPONSE], "totalResults": page.total}
        if search_request.cursor is None:
            body["startIndex"] = search_request.start_index or 1
        elif search_request.count != 0:
            tokens = (("nextCursor", page.next_page_token), ("previousCursor", page.previous_page_token))
            for name, token in tokens:
                cursor = self._seal(resource_types, search_request, token or None)
                if cursor is not None:
                    body[name] = cursor
        return {**body, "itemsPerPage": len(page.resources)}

    def found_response(
        self,
        base_url: str,
        resource_types: list[ResourceType],
        page: pb.SearchProvisionedResponse,
        search_request: SearchRequest[Any],
    ) -> ScimResponse:
        """Write a page, groups without members. `Resources` is there also when it is empty: Entra's test wants it."""
        body = self.about_page(resource_types, page, search_request)
        body["Resources"] = [
            user_json(each.user, base_url, search_request)
            if each.HasField("user")
            else group_json(each.group, (), base_url, search_request)
            for each in page.resources
        ]
        return ScimResponse(HTTPStatus.OK, body)

    def read_response(self, body: Any, location: str, version: str, conditions: Conditions) -> ScimResponse:
        """Answer a read: 304 where the client has this version."""
        if not conditions.check(version, "GET"):
            return ScimResponse(HTTPStatus.NOT_MODIFIED, None, {"ETag": version})
        return ScimResponse(HTTPStatus.OK, body, {"Content-Location": location, "ETag": version})

    def patch_response(
        self, base_url: str, resource: Resource[Any], response_parameters: ResponseParameters[Any]
    ) -> ScimResponse:
        """Answer 200 with the resource, which every client understands."""
        return self.resource_response(
            self.publish(base_url, resource), Context.RESOURCE_REPLACEMENT_RESPONSE, response_parameters
        )

    @staticmethod
    def changed_response(resource: Resource[Any]) -> ScimResponse:
        """Answer 204: the group has changed, and who else is in it was not read (RFC 7644 §3.5.2 allows it)."""
        assert resource.meta is not None
        headers = {"ETag": resource.meta.version} if resource.meta.version else {}
        return ScimResponse(HTTPStatus.NO_CONTENT, None, headers)

    @staticmethod
    def error_of(exception: Exception) -> Error:
        """Describe an error; a fault of ours is logged here and shows nothing of the inside."""
        if isinstance(exception, MethodNotAllowedException):
            return method_error(exception)
        if isinstance(exception, SCIMException):
            error = exception.to_error()
            if isinstance(exception.__cause__, ValidationError) and str(exception.__cause__) == error.detail:
                error.detail = in_words_of_scim(exception.__cause__)
            error.detail = worded(error.detail or "", error.scim_type)
            return error
        log.error("scim.fault", **fault_of(exception))
        request_id = structlog.contextvars.get_contextvars().get("request_id", "")
        detail = f"A fault of ours; nothing is wrong with the request. Tell support this request id: {request_id}"
        return Error(status=500, detail=detail)

    def www_authenticate(self, exception: SCIMException) -> str | None:
        """Write the challenge of a 401, with the reason where a token was shown (RFC 6750 §3)."""
        challenge = 'Bearer realm="SCIM"'
        if isinstance(exception, MissingKeyException):
            return challenge
        return f'{challenge}, error="invalid_token", error_description="The token is not known, revoked or expired"'

    def error_response(self, exception: Exception) -> ScimResponse:
        """Write an error, with what its status asks for in headers."""
        response = super().error_response(exception)
        if isinstance(exception, TryLaterException | SlowedKeyException):
            response.headers["Retry-After"] = exception.retry_after
        return response


def method_error(exception: MethodNotAllowedException) -> Error:
    """Answer 400 for a method that a path of users and groups does not have, and 405 where all may only read.

    Identity providers count a 405 as a defect of the connector and not of the request; the header Allow is there.
    """
    allowed = ", ".join(exception.allowed)
    status = 405 if exception.allowed == ["GET"] else 400
    detail = f"This address does not take this method; it takes {allowed}. Check the base URL."
    return Error(status=status, detail=detail)
