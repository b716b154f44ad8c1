"""Turn SCIM resources into what the directory keeps of them, and back (S2, S3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC
from typing import Any

import orjson
from google.protobuf.timestamp_pb2 import Timestamp
from muster.directory.v1 import provisioning_pb2 as pb
from scim2_models import Resource

from services.scim_gateway.errors import NoMemberException
from services.scim_gateway.schemas import ENTERPRISE_SCHEMA, GROUP, GROUP_SCHEMA, USER, USER_SCHEMA, model, provider

_NOT_STORED_OF_USERS = frozenset({"id", "meta", "groups", "password"})
_NOT_STORED_OF_GROUPS = frozenset({"id", "meta", "members"})
_LABELS = frozenset({"type", "primary"})

Json = dict[str, Any]


def user_facts(user: Resource[Any], *, active: bool) -> pb.UserFacts:
    """Say what a user is; `active` counts where the user does not say it."""
    return facts_of(_stored(user, _NOT_STORED_OF_USERS), active=active)


def facts_of(attributes: Json, *, active: bool) -> pb.UserFacts:
    """Say what a user is, of whom these attributes are kept."""
    user_name = attributes.get("userName", "")
    return pb.UserFacts(
        user_name=user_name,
        external_id=attributes.get("externalId", ""),
        active=attributes.get("active", active),
        display_name=_display_name(attributes) or user_name,
        email=_email(attributes) or user_name,
        title=attributes.get("title", ""),
        phone=_value_of_type(attributes, "phoneNumbers", "work"),
        secondary_phone=_value_of_type(attributes, "phoneNumbers", "mobile"),
        attributes=orjson.dumps(attributes),
    )


def group_facts(group: Resource[Any]) -> pb.GroupFacts:
    """Say what a group is, members aside."""
    attributes = _stored(group, _NOT_STORED_OF_GROUPS)
    return pb.GroupFacts(
        external_id=attributes.get("externalId", ""),
        display_name=attributes.get("displayName", ""),
        attributes=orjson.dumps(attributes),
    )


def member_ids(group: Resource[Any]) -> list[str] | None:
    """The ids of a group's members in order, each once; None when the group does not speak of members.

    Errors: NoMemberException for a member without one, since whoever is passed over would leave by a PUT.
    """
    if "members" not in group.model_fields_set:
        return None
    members = getattr(group, "members", None) or []
    if not all(member.value for member in members):
        raise NoMemberException
    return list(dict.fromkeys(member.value for member in members))


def user_of(message: pb.ProvisionedUser) -> Resource[Any]:
    """Read a user as the directory keeps it."""
    payload: Json = {
        "schemas": [USER_SCHEMA],
        **orjson.loads(message.attributes or b"{}"),
        "id": message.id,
        "meta": _meta(USER, message),
    }
    if "active" in payload:
        payload["active"] = message.active
    if message.groups:
        payload["groups"] = [
            {
                "value": group.id,
                "$ref": f"Groups/{group.id}",
                "type": "direct",
                **({"display": group.display_name} if group.display_name else {}),
            }
            for group in message.groups
        ]
    return _validated(USER, payload)


def group_of(message: pb.ProvisionedGroup, members: Iterable[pb.ProvisionedReference] | None = None) -> Resource[Any]:
    """Read a group as the directory keeps it, with members where they are given."""
    payload: Json = {
        "schemas": [GROUP_SCHEMA],
        **orjson.loads(message.attributes or b"{}"),
        "id": message.id,
        "meta": _meta(GROUP, message),
    }
    if members is not None:
        payload["members"] = [
            {
                "value": member.id,
                "$ref": f"Users/{member.id}",
                "type": "User",
                **({"display": member.display_name} if member.display_name else {}),
            }
            for member in members
        ]
    return _validated(GROUP, payload)


def locate(resource: Resource[Any], base_url: str) -> None:
    """Put URLs into a resource in place: its own, and those of its references."""
    assert resource.meta is not None
    endpoint = "Users" if resource.meta.resource_type == USER else "Groups"
    resource.meta.location = f"{base_url}/{endpoint}/{resource.id}"
    for entry in (*(getattr(resource, "members", None) or ()), *(getattr(resource, "groups", None) or ())):
        if entry.ref:
            entry.ref = f"{base_url}/{entry.ref}"


def without_empties(value: Any) -> Any:
    """Leave out nulls, empty strings, lists and objects: they all say "no value" (RFC 7643 §2.5), as Entra clears one.

    An entry whose value was cleared goes with its mere labels: `{"type": "work", "value": ""}` says nothing any more.
    """
    if isinstance(value, Mapping):
        kept = {key: without_empties(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if not _is_empty(item)}
    if isinstance(value, list):
        entries = [(entry, without_empties(entry)) for entry in value]
        return [kept for entry, kept in entries if not _is_empty(kept) and not _is_bare(entry, kept)]
    return value


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | dict) and not value)


def _is_bare(entry: Any, kept: Any) -> bool:
    return isinstance(kept, dict) and len(kept) < len(entry) and kept.keys() <= _LABELS


def _stored(resource: Resource[Any], left_out: frozenset[str]) -> Json:
    dumped = resource.model_dump(exclude={"meta", "groups", "members", "password"})
    stored = {key: value for key, value in without_empties(dumped).items() if key not in left_out}
    if ENTERPRISE_SCHEMA not in stored:
        stored["schemas"] = [each for each in stored.get("schemas", ()) if each != ENTERPRISE_SCHEMA]
    return stored


def _validated(kind: str, payload: Json) -> Resource[Any]:
    with provider():
        return model(kind).model_validate(payload)


def _meta(kind: str, message: pb.ProvisionedUser | pb.ProvisionedGroup) -> Json:
    return {
        "resourceType": kind,
        "created": _moment(message.create_time),
        "lastModified": _moment(message.update_time),
        "version": f'W/"{message.etag}"',
    }


def _moment(timestamp: Timestamp) -> str:
    return timestamp.ToDatetime(UTC).isoformat()


def _display_name(attributes: Json) -> str:
    name = attributes.get("name", {})
    made = " ".join(filter(None, (name.get("givenName"), name.get("familyName"))))
    return str(attributes.get("displayName") or name.get("formatted") or made)


def _email(attributes: Json) -> str:
    """The primary address, else the one for work, else, where userName is none, the first."""
    emails = [entry for entry in attributes.get("emails", []) if entry.get("value")]
    primary = next((entry["value"] for entry in emails if entry.get("primary") is True), "")
    chosen = primary or _value_of_type(attributes, "emails", "work")
    if not chosen and emails and "@" not in attributes.get("userName", ""):
        chosen = emails[0]["value"]
    return str(chosen)


def _value_of_type(attributes: Json, name: str, kind: str) -> str:
    values = (
        entry["value"]
        for entry in attributes.get(name, [])
        if str(entry.get("type", "")).lower() == kind and entry.get("value")
    )
    return str(next(values, ""))
