"""What the gateway serves: resource types, schemas and capabilities, as the discovery documents that it publishes."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

from scim2_models import Resource, ResourceType, Schema, ScimPolicy, ScimProvider, ServiceProviderConfig
from scim2_server.utils import load_default_resource_types, load_json_resource

USER_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA = "urn:ietf:params:scim:schemas:core:2.0:Group"
ENTERPRISE_SCHEMA = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
USER, GROUP = "User", "Group"
MAX_RESULTS = 1000
BULK_MAX_OPERATIONS = 100
BULK_MAX_BYTES = 1024 * 1024

# Lenient where identity providers need it, each a finding about one of them: attributes that no schema has, values in a
# remove, and value paths that match no entry yet.
_POLICY = ScimPolicy(
    unknown=ScimPolicy.Unknown.ignore,
    remove_value_as_filter=ScimPolicy.RemoveValue.apply,
    unmatched_path_filter=ScimPolicy.UnmatchedPathFilter.create,
)

_CONFIG: dict[str, Any] = {
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
    "patch": {"supported": True},
    "bulk": {"supported": True, "maxOperations": BULK_MAX_OPERATIONS, "maxPayloadSize": BULK_MAX_BYTES},
    "filter": {"supported": True, "maxResults": MAX_RESULTS},
    "changePassword": {"supported": False},
    "sort": {"supported": True},
    "etag": {"supported": True},
    "pagination": {
        "cursor": True,
        "index": True,
        "defaultPaginationMethod": "index",
        "defaultPageSize": MAX_RESULTS,
        "maxPageSize": MAX_RESULTS,
    },
    "authenticationSchemes": [
        {
            "type": "oauthbearertoken",
            "name": "API key",
            "description": "A key of the connection, sent as a bearer token",
            "specUri": "https://www.rfc-editor.org/info/rfc6750",
            "primary": True,
        },
        {
            "type": "oauth2",
            "name": "OAuth 2.0 client credentials",
            "description": "An access token, given for a client's secret at /oauth2/token",
            "specUri": "https://www.rfc-editor.org/info/rfc6749",
            "primary": False,
        },
    ],
}


@cache
def provider() -> ScimProvider:
    """Describe the service.

    Models are made from the published schemas and not taken from scim2-models' own User, which wants a deliverable
    address in `emails.value` and so refuses `admin@localhost` and the filter of Entra's connection test.
    """
    schemas = [Schema.model_validate(_adjusted(document)) for document in load_json_resource("default-schemas.json")]
    return ScimProvider.from_discovery(
        schemas,
        load_default_resource_types().values(),
        config=ServiceProviderConfig.model_validate(_CONFIG),
        policy=_POLICY,
    )


def resource_type(name: str) -> ResourceType:
    """Look a resource type up by its name: USER or GROUP."""
    return next(each for each in provider().resource_types if each.name == name)


@cache
def model(name: str) -> type[Resource[Any]]:
    """The model of a resource type, extensions included."""
    found = provider().model_for(resource_type(name))
    assert found is not None
    assert issubclass(found, Resource)
    return found


def _adjusted(document: dict[str, Any]) -> dict[str, Any]:
    """Say what is done otherwise here than in RFC 7643.

    Members' names are the register's, whatever a provider calls people, and shown to who asks for them. Links of a user
    are any text: a person must not be missing because a link to their picture is none.
    """
    adjusted = copy.deepcopy(document)
    if document["id"] == GROUP_SCHEMA:
        _attribute(adjusted, "members", "display").update(mutability="readOnly", returned="request")
    if document["id"] == USER_SCHEMA:
        for path in (("profileUrl",), ("photos", "value")):
            link = _attribute(adjusted, *path)
            link["type"] = "string"
            link.pop("referenceTypes", None)
    return adjusted


def _attribute(document: dict[str, Any], name: str, sub_name: str = "") -> dict[str, Any]:
    """Find an attribute, or a part of one, in a schema."""
    found: dict[str, Any] = next(each for each in document["attributes"] if each["name"] == name)
    return _attribute({"attributes": found["subAttributes"]}, sub_name) if sub_name else found
