"""Answer the few requests that make up an identity provider's day without going through scim2-server.

A user by its id, users whose userName or externalId equals something, a plain new user, and one member more or less in
a group. Each answers what the long way answers, byte for byte, in one call to the directory; whatever is written in any
other way, or has conditions or parameters, takes the long way. A test sends the same to both.
"""

from __future__ import annotations

import re
from typing import Any, Final

import orjson
from muster.directory.v1 import filters_pb2
from muster.directory.v1 import provisioning_pb2 as pb
from scim2_models import ResponseParameters
from scim2_server.conditions import Conditions
from scim2_server.requests import ScimRequest
from scim2_server.responses import ScimResponse

from services.scim_gateway import mapping
from services.scim_gateway.answers import group_json, user_json, version_of
from services.scim_gateway.errors import ForeignMembersException
from services.scim_gateway.plain_users import plain_user
from services.scim_gateway.quirks import Note
from services.scim_gateway.schemas import MAX_RESULTS
from services.scim_gateway.service import LIST_RESPONSE, MAX_BODY_BYTES, GatewayService
from services.scim_gateway.storage import DirectoryStorage

_USER: Final = re.compile(r"/Users/(usr_[0-9a-z]{4,24})")
_GROUP: Final = re.compile(r"/Groups/(grp_[0-9a-z]{4,24})")
_MEMBER: Final = re.compile(r"usr_[0-9a-z]{4,24}")
_MEMBER_PATH: Final = re.compile(r'members\[value eq "(usr_[0-9a-z]{4,24})"\]')
_FILTER: Final = re.compile(r'(userName|externalId) eq "([^"\\\x00-\x1f\x7f]{1,200})"')
_COUNT: Final = re.compile(r"[1-9][0-9]{0,2}")
_FLAGS: Final = frozenset(("aadOptscim062020", "AzureAdScimPatch2017"))
"""Parameters that some providers add, and that mean nothing here."""
_CONDITIONS: Final = ("If-Match", "If-None-Match")
_JSON: Final = re.compile(r"application/(?:scim\+)?json(?:; ?charset=utf-8)?", re.IGNORECASE)
_OPS: Final = {"add": "add", "remove": "remove", "Add": "add", "Remove": "remove"}
"""As the standard has them, and as Entra ID does."""
_PATCH_OP: Final = ["urn:ietf:params:scim:api:messages:2.0:PatchOp"]
_NO_MEMBERS: Final = {"excludedAttributes": "members"}
_FIRST: Final = ("schemas", "id", "externalId", "meta")
_ALL: Final = ResponseParameters[Any]()
_ANY: Final = Conditions()


async def short_answer(
    service: GatewayService, storage: DirectoryStorage, request: ScimRequest, note: Note
) -> ScimResponse | None:
    """Answer a request that is one of the few; None where it has to go the long way, and nothing was done.

    A member comes or goes in several ways of saying it: `note` is told the quirks of those beside the standard.

    Errors: as the long way's.
    """
    if any(request.header(name) is not None for name in _CONDITIONS):
        return None
    if request.method == "GET":
        return await _read(service, storage, request)
    parameters = request.query.keys() - _FLAGS
    if parameters or not _JSON.fullmatch(request.header("Content-Type") or ""):
        return None
    if request.method == "POST" and request.path == "/Users":
        return await _new_user(storage, request)
    found = _GROUP.fullmatch(request.path) if request.method == "PATCH" else None
    return await _changed_group(storage, request, found[1], note) if found else None


async def _read(service: GatewayService, storage: DirectoryStorage, request: ScimRequest) -> ScimResponse | None:
    query = {name: value for name, value in request.query.items() if name not in _FLAGS}
    if request.path == "/Users":
        return await _named_users(storage, request, query) if "filter" in query else None
    if found := _GROUP.fullmatch(request.path):
        return await _head(service, storage, request, found[1]) if query == _NO_MEMBERS else None
    found = None if query else _USER.fullmatch(request.path)
    return await _user(service, storage, request, found[1]) if found else None


async def _head(
    service: GatewayService, storage: DirectoryStorage, request: ScimRequest, group_id: str
) -> ScimResponse:
    """Read a group without its members."""
    head = await storage.read_head(group_id)
    body = group_json(head, (), request.base_url, _ALL)
    return service.read_response(body, body["meta"]["location"], version_of(head), _ANY)


async def _user(service: GatewayService, storage: DirectoryStorage, request: ScimRequest, user_id: str) -> ScimResponse:
    user = await storage.read_user(user_id, with_groups=True)
    body = user_json(user, request.base_url, _ALL)
    return service.read_response(body, body["meta"]["location"], version_of(user), _ANY)


async def _named_users(storage: DirectoryStorage, request: ScimRequest, query: dict[str, str]) -> ScimResponse | None:
    """Find users by one `eq`, on the first page."""
    asked, count = _FILTER.fullmatch(query.pop("filter")), query.pop("count", "")
    if asked is None or query.pop("startIndex", "1") != "1" or query or (count and not _COUNT.fullmatch(count)):
        return None
    named = pb.SearchProvisionedRequest(
        kinds=[pb.PROVISIONED_KIND_USER],
        user_filter=_equals(asked[1], asked[2]),
        start_index=1,
        count=min(int(count or MAX_RESULTS), MAX_RESULTS),
        with_groups=True,
    )
    page = await storage.find_named(named)
    body = {
        "schemas": [LIST_RESPONSE],
        "totalResults": page.total,
        "startIndex": 1,
        "itemsPerPage": len(page.resources),
        "Resources": [user_json(each.user, request.base_url, _ALL) for each in page.resources],
    }
    return ScimResponse(200, body)  # type: ignore[arg-type]  # a number does as well


def _equals(name: str, value: str) -> filters_pb2.Filter:
    attribute = filters_pb2.Attribute(
        path=[name], case_exact=name == "externalId", type=filters_pb2.ATTRIBUTE_TYPE_STRING
    )
    comparison = filters_pb2.Comparison(attribute=attribute, operator=filters_pb2.COMPARISON_OPERATOR_EQ, text=value)
    return filters_pb2.Filter(comparison=comparison)


async def _new_user(storage: DirectoryStorage, request: ScimRequest) -> ScimResponse | None:
    said = plain_user(_object_of(request.body))
    if said is None:
        return None
    user = await storage.create_user(mapping.facts_of(said, active=True))
    body = user_json(user, request.base_url, _ALL)
    first = {name: body.pop(name) for name in _FIRST if name in body}  # in the order in which models write them
    location = first["meta"]["location"]
    headers = {"Content-Location": location, "ETag": version_of(user), "Location": location}
    return ScimResponse(201, first | body, headers)  # type: ignore[arg-type]


async def _changed_group(
    storage: DirectoryStorage, request: ScimRequest, group_id: str, note: Note
) -> ScimResponse | None:
    """Put one person into a group or take one out."""
    change = _change_of(_object_of(request.body), note)
    if change is None:
        return None
    op, member = change
    wanted = pb.UpdateProvisionedGroupRequest(id=group_id)
    (wanted.add if op == "add" else wanted.remove).append(member)
    try:
        group = await storage.change_group(wanted)
    except ForeignMembersException:
        return None
    return ScimResponse(204, None, {"ETag": version_of(group)})  # type: ignore[arg-type]


def _change_of(said: dict[str, Any] | None, note: Note) -> tuple[str, str] | None:
    """Read whether one person comes or goes, and who, in the words of Entra ID, Okta, OneLogin and JumpCloud."""
    if said is None or said.keys() != {"schemas", "Operations"} or said["schemas"] != _PATCH_OP:
        return None
    operations = said["Operations"]
    if not isinstance(operations, list) or len(operations) != 1 or not isinstance(operations[0], dict):
        return None
    match operations[0]:
        case {"op": str(word), "path": "members", "value": [dict(entry)], **rest} if not rest and word in _OPS:
            op, member = _OPS[word], _one_member(entry)
            by_value = op == "remove"
        case {"op": str(word), "path": str(path), **rest} if not rest and _OPS.get(word) == "remove":
            found = _MEMBER_PATH.fullmatch(path)
            op, member, by_value = "remove", found[1] if found else "", False
        case _:
            return None
    if not member:
        return None
    if word != op:
        note("op_case")
    if by_value:
        note("remove_by_value")
    return op, member


def _one_member(entry: dict[str, Any]) -> str:
    """Read an entry that names a member by its id and says no more that counts; empty if it is another."""
    member = entry.get("value")
    is_plain = entry.keys() <= {"value", "$ref"} and entry.get("$ref") is None
    return member if is_plain and isinstance(member, str) and _MEMBER.fullmatch(member) else ""


def _object_of(body: bytes) -> dict[str, Any] | None:
    if len(body) > MAX_BODY_BYTES:
        return None
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None
