"""Write and read the directory's resource names; no other service takes them apart."""

from __future__ import annotations

import re
from typing import Final

from muster.runtime.names import InvalidNameError, NamePattern, decode_id, encode_id

from services.directory.rules import tokens
from services.directory.rules.errors import InvalidArgument, NotFound

TENANT: Final = NamePattern("tenants/{ten}")
ACCOUNT: Final = NamePattern("tenants/{ten}/accounts/{acc}")
GROUP: Final = NamePattern("tenants/{ten}/groups/{grp}")
USER: Final = NamePattern("tenants/{ten}/users/{usr}")
SOURCE: Final = NamePattern("tenants/{ten}/sources/{src}")
IMPORT_RUN: Final = NamePattern("tenants/{ten}/importRuns/{run}")
EVENT: Final = NamePattern("tenants/{ten}/events/{evt}")
LICENSE: Final = NamePattern("tenants/{ten}/license")
INVITATION: Final = NamePattern("tenants/{ten}/invitations/{inv}")
ADMINISTRATOR: Final = NamePattern("tenants/{ten}/administrators/{adm}")
SUPPORT_ADMINISTRATOR: Final = NamePattern("administrators/{adm}")
"""Vendor support's administrators belong to no tenant."""
_API_KEYS: Final = "/apiKeys/"
_OWNERS: Final = {
    "{ten}": "a tenant's",
    "{acc}": "an account's",
    "{grp}": "a group's",
    "{usr}": "a user's",
    "{src}": "a source's",
    "{run}": "an import run's",
    "{evt}": "an event's",
    "license": "a license's",
    "{inv}": "an invitation's",
    "{adm}": "an administrator's",
}
"""Whose name a pattern is, by its last part, as an error says it."""

PATTERN_OF_KIND: Final = {
    "acc": ACCOUNT,
    "grp": GROUP,
    "usr": USER,
    "src": SOURCE,
    "run": IMPORT_RUN,
    "evt": EVENT,
    "adm": ADMINISTRATOR,
    "inv": INVITATION,
}
"""An event's `resource_kind` and the pattern of its name; `ten` and `lic` have no id of their own."""


def format_optional(pattern: NamePattern, tenant_id: int, number: int) -> str:
    """Write a name, or "" where `number` is 0, which stands for none."""
    return pattern.format(tenant_id, number) if number else ""


def format_resource(kind: str, tenant_id: int, number: int) -> str:
    """Write the name of what an event is about."""
    if kind == "ten":
        return TENANT.format(tenant_id)
    if kind == "lic":
        return LICENSE.format(tenant_id)
    return PATTERN_OF_KIND[kind].format(tenant_id, number)


def parse_resource(name: str, *, tenant_id: int, field: str) -> tuple[str, int]:
    """Read (kind, id) of what an event is about, which must be the tenant's. Errors: InvalidArgument, NotFound."""
    for kind, pattern in {"ten": TENANT, "lic": LICENSE, **PATTERN_OF_KIND}.items():
        try:
            numbers = pattern.parse(name)
        except InvalidNameError:
            continue
        if numbers[0] != tenant_id:
            raise NotFound(resource=name)
        return kind, numbers[-1]
    raise InvalidArgument([(field, "must be the name of a resource that events tell of")])


def short_id(prefix: str, number: int) -> str:
    """Write an id without its prefix, for logins and the like: unique among all tenants."""
    return encode_id(prefix, number).partition("_")[2]


def short_name(prefix: str, number: int) -> str:
    """Write an id as `usr_…`: the last part of a resource name."""
    return encode_id(prefix, number)


def parse_id(prefix: str, text: str) -> int:
    """Read the number of an id such as `usr_…`; NotFound for what is none, since nothing can have it."""
    try:
        return decode_id(prefix, text)
    except InvalidNameError:
        raise NotFound(resource=text[:64]) from None


def parse_tenant(name: str, *, field: str) -> int:
    """Read `tenants/{ten}`; InvalidArgument names `field`."""
    return _parse(TENANT, name, field)[0]


def parse_license(name: str, *, field: str) -> int:
    """Read the tenant of `tenants/{ten}/license`."""
    return _parse(LICENSE, name, field)[0]


def parse(pattern: NamePattern, name: str, *, field: str) -> tuple[int, int]:
    """Read (tenant, id) of a name; InvalidArgument names `field`."""
    tenant_id, number = _parse(pattern, name, field)
    return tenant_id, number


def parse_within(pattern: NamePattern, name: str, *, tenant_id: int, field: str) -> int:
    """Read the id of a name that must be the tenant's; NotFound when it is another tenant's."""
    owner_id, number = parse(pattern, name, field=field)
    if owner_id != tenant_id:
        raise NotFound(resource=name)
    return number


def format_api_key(tenant_id: int, source_id: int, key_id: str) -> str:
    """Write `tenants/{ten}/sources/{src}/apiKeys/{key_id}`."""
    return f"{SOURCE.format(tenant_id, source_id)}{_API_KEYS}{key_id}"


def parse_api_key(name: str, *, field: str) -> tuple[int, int, str]:
    """Read (tenant, source, key id) of a key's name; InvalidArgument names `field`, and does not repeat its value."""
    source, _, key_id = name.partition(_API_KEYS)
    if not tokens.is_id(key_id):
        raise InvalidArgument([(field, f"must be a key's name such as {_example(SOURCE)}{_API_KEYS}0123456789ab")])
    tenant_id, source_id = parse(SOURCE, source, field=field)
    return tenant_id, source_id, key_id


def client_id_of(source_id: int) -> str:
    """Write the client_id of a connection, for all of its clients' secrets: its short id (S13)."""
    return short_id("src", source_id)


def format_administrator(tenant_id: int, number: int) -> str:
    """Write an administrator's name; tenant 0 is vendor support's."""
    return ADMINISTRATOR.format(tenant_id, number) if tenant_id else SUPPORT_ADMINISTRATOR.format(number)


def parse_administrator(name: str, *, field: str) -> tuple[int, int]:
    """Read (tenant, id) of an administrator's name; tenant 0 is vendor support's."""
    if name.startswith("administrators/"):
        return 0, _parse(SUPPORT_ADMINISTRATOR, name, field)[0]
    return parse(ADMINISTRATOR, name, field=field)


def parse_tended(name: str, *, field: str) -> tuple[int, str, int]:
    """Read (tenant, prefix, id) of an account, a group, a user or an invitation: what is tended day by day."""
    collection = name.split("/")[2:3]
    for prefix in ("acc", "grp", "usr", "inv"):
        pattern = PATTERN_OF_KIND[prefix]
        if pattern.pattern.split("/")[2:3] == collection:
            tenant_id, number = parse(pattern, name, field=field)
            return tenant_id, prefix, number
    raise InvalidArgument([(field, "must name an account, a group, a user or an invitation")])


def tenant_of(name: str, *, field: str) -> int:
    """Read the tenant of any name, whatever it names; InvalidArgument names `field`."""
    return _parse(TENANT, "/".join(name.split("/")[:2]), field)[0]


def _parse(pattern: NamePattern, name: str, field: str) -> tuple[int, ...]:
    try:
        return pattern.parse(name)
    except InvalidNameError:
        why = ": this one is mistyped, its check characters do not fit" if _is_shaped(pattern, name) else ""
        owner = _OWNERS[pattern.pattern.rpartition("/")[2]]
        raise InvalidArgument([(field, f"must be {owner} name such as {_example(pattern)}{why}")]) from None


def _example(pattern: NamePattern) -> str:
    """Write a name of this kind as people see one."""
    return pattern.format(*[1] * pattern.pattern.count("{"))


def _is_shaped(pattern: NamePattern, name: str) -> bool:
    """Say whether a text looks like a name of this kind, whatever its ids."""
    shape = re.sub(r"\{(\w+)\}", r"\1_[0-9a-z~]{6,14}", pattern.pattern)
    return re.fullmatch(shape, name) is not None
