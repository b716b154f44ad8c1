"""How identity providers write what they want, and the same in plain SCIM; comments name the quirk."""

from __future__ import annotations

import enum
from typing import Any

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
USER = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP = "urn:ietf:params:scim:schemas:core:2.0:Group"
PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
SEARCH = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
_ENTRA_GROUP = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group"

Json = dict[str, Any]
Said = tuple[list[Json], list[Json]]
"""Operations as the provider writes them, and the plain ones that they mean."""


class Dialect(enum.Enum):
    """Who speaks."""

    PLAIN = "plain"
    ENTRA = "entra"
    ENTRA_WITH_FLAG = "entra with aadOptscim062020"
    OKTA = "okta"
    ONELOGIN = "onelogin"
    JUMPCLOUD = "jumpcloud"
    MIDPOINT = "midpoint"


def patch(operations: list[Json]) -> Json:
    """A PATCH of these operations."""
    return {"schemas": [PATCH], "Operations": operations}


def setting(dialect: Dialect, values: Json) -> Said:
    """Set attributes, by path."""
    plain = [{"op": "replace", "path": path, "value": value} for path, value in values.items()]
    if dialect is Dialect.ENTRA:  # op_case, boolean_as_text
        said = [{"op": "Replace", "path": path, "value": _as_text(value)} for path, value in values.items()]
    elif dialect is Dialect.ENTRA_WITH_FLAG:  # dotted_keys
        selecting = {path: value for path, value in values.items() if "[" in path}
        rest = {path: value for path, value in values.items() if path not in selecting}
        said = [{"op": "replace", "path": path, "value": value} for path, value in selecting.items()]
        said += [{"op": "replace", "value": rest}] if rest else []
    elif dialect is Dialect.OKTA and not any("[" in path for path in values):
        said = [{"op": "replace", "value": values}]
    elif dialect is Dialect.JUMPCLOUD:
        said = [{"op": "add", "path": path, "value": value} for path, value in values.items()]
    elif dialect is Dialect.ONELOGIN:  # attribute_case
        said = [{"op": "replace", "path": _capitals(path), "value": value} for path, value in values.items()]
    else:
        said = plain
    return said, plain


def clearing(dialect: Dialect, path: str, *, is_there: bool) -> Said:
    """Clear an attribute: Entra replaces it by an empty text, and then by null (empty_object)."""
    entry = path.removesuffix(".value") if "[" in path else path
    plain = [{"op": "remove", "path": entry}] if is_there else []
    if dialect is Dialect.ENTRA:
        return [{"op": "Replace", "path": path, "value": ""}], plain
    if dialect is Dialect.ENTRA_WITH_FLAG:
        return [{"op": "replace", "path": path, "value": None}], plain
    return plain, plain


def managing(dialect: Dialect, manager: str) -> Said:
    """Set or clear the manager (manager_as_id, unqualified_enterprise)."""
    path = f"{ENTERPRISE}:manager"
    plain: list[Json]
    if not manager:
        plain = [{"op": "remove", "path": path}]
        return ([{"op": "Replace", "path": "manager", "value": ""}] if dialect is Dialect.ENTRA else plain), plain
    if dialect is Dialect.ENTRA:
        value: Json = {"$ref": f"../Users/{manager}", "value": manager}
        plain = [{"op": "replace", "path": path, "value": value}]
        return [{"op": "Add", "path": "manager", "value": [value]}], plain
    plain = [{"op": "replace", "path": path, "value": {"value": manager}}]
    if dialect is Dialect.ENTRA_WITH_FLAG:
        return [{"op": "replace", "path": path, "value": manager}], plain
    return plain, plain


def adding(dialect: Dialect, members: list[str]) -> Said:
    """Put members into a group."""
    values = [{"value": each} for each in members]
    plain = [{"op": "add", "path": "members", "value": values}]
    if dialect is Dialect.ENTRA:
        return [{"op": "Add", "path": "members", "value": [{"$ref": None, **each} for each in values]}], plain
    if dialect is Dialect.ONELOGIN:
        return [{"op": "add", "value": {"members": values}}], plain
    if dialect is Dialect.MIDPOINT and len(values) == 1:
        return [{"op": "add", "path": "members", "value": values[0]}], plain
    return plain, plain


def removing(dialect: Dialect, members: list[str], present: set[str]) -> Said:
    """Take members out of a group; who is not in it is no fault."""
    plain = [{"op": "remove", "path": f'members[value eq "{each}"]'} for each in members if each in present]
    if dialect in {Dialect.ENTRA, Dialect.JUMPCLOUD}:
        op = "Remove" if dialect is Dialect.ENTRA else "remove"
        return [{"op": op, "path": "members", "value": [{"$ref": None, "value": each} for each in members]}], plain
    if dialect is Dialect.MIDPOINT:
        either = " or ".join(f'value eq "{each}"' for each in members)
        return [{"op": "remove", "path": f"members[{either}]"}], plain
    return [{"op": "remove", "path": f'members[value eq "{each}"]'} for each in members], plain


def user_body(dialect: Dialect, attributes: Json) -> tuple[Json, Json]:
    """The body of a POST or PUT of a user, as said and in plain SCIM."""
    plain = {"schemas": [USER, *([ENTERPRISE] if ENTERPRISE in attributes else [])], **attributes}
    if dialect is Dialect.ENTRA:  # the older shape: nulls, and an enterprise attribute among the core ones
        extension = plain.get(ENTERPRISE, {})
        said = {key: value for key, value in plain.items() if key != ENTERPRISE}
        said |= {"addresses": None, **extension, "meta": {"resourceType": "User"}, "roles": []}
        if "active" in said:
            said["active"] = _as_text(said["active"])
        return said, plain
    if dialect is Dialect.OKTA:
        return {**plain, "password": "t1meMa$heen", "groups": []}, plain
    return plain, plain


def group_body(dialect: Dialect, attributes: Json) -> tuple[Json, Json]:
    """The body of a POST or PUT of a group, as said and in plain SCIM."""
    plain = {"schemas": [GROUP], **attributes}
    if dialect in {Dialect.ENTRA, Dialect.ENTRA_WITH_FLAG}:  # foreign_schema
        return {**plain, "schemas": [GROUP, _ENTRA_GROUP], "meta": {"resourceType": "Group"}}, plain
    return plain, plain


def _as_text(value: Any) -> Any:
    return str(value) if isinstance(value, bool) else value


def _capitals(path: str) -> str:
    return path if ":" in path or "[" in path else path[0].upper() + path[1:]


def holds(resource: Json, path: str) -> bool:
    """Tell whether a resource has a value at a path."""
    if "[" in path:
        name, _, rest = path.partition("[")
        kind = rest.split('"')[1]
        return any(each.get("type") == kind for each in resource.get(name, ()))
    holder, _, name = path.rpartition(":") if ":" in path else path.rpartition(".")
    return name in (resource.get(holder, {}) if holder else resource)
