"""Turn what a connection asks for and is told into the contract's messages, and back."""

from __future__ import annotations

import re
from collections.abc import Iterable
from contextlib import suppress

from google.protobuf.message import Message
from muster.directory.v1 import provisioning_pb2 as pb

from services.directory.api.filter_messages import optional_filter, optional_sort
from services.directory.api.servicer import timestamp
from services.directory.operations.provisioning import reads, search
from services.directory.rules import names
from services.directory.rules.errors import InvalidArgument, NotFound, UnknownMembers
from services.directory.rules.etags import etag_of
from services.directory.rules.provisioned import GroupFacts, UserFacts, is_like_an_id
from services.directory.store.provisioning_tables import GROUP, USER

_UNIT = re.compile(r"[0-9A-Za-z._-]{1,64}")


def unit_of(request: Message) -> str:
    """Read which unit of work a call is part of; empty: none. Errors: InvalidArgument."""
    unit = str(getattr(request, "unit_of_work", ""))
    if unit and not _UNIT.fullmatch(unit):
        raise InvalidArgument([("unit_of_work", "must be 1 to 64 characters of A-Z, a-z, 0-9, `.`, `_` and `-`")])
    return unit


def search_of(request: pb.SearchProvisionedRequest) -> search.Search:
    """Read a search. Errors: InvalidArgument, InvalidFilter."""
    kinds = set(request.kinds)
    if not kinds or not kinds <= {USER, GROUP}:
        raise InvalidArgument([("kinds", "must name users, groups, or both")])
    fields = {USER: "user", GROUP: "group"}
    return search.Search(
        filters={kind: optional_filter(request, f"{fields[kind]}_filter") for kind in sorted(kinds)},
        sorts={kind: optional_sort(request, f"{fields[kind]}_sort") for kind in sorted(kinds)},
        offset=max(1, request.start_index) - 1,
        count=request.count if request.HasField("count") else search.MOST_RESULTS,
        token=request.page_token if request.HasField("page_token") else None,
        with_groups=request.with_groups,
    )


def user_facts(message: pb.UserFacts) -> UserFacts:
    """Read what is said of a user."""
    return UserFacts(
        user_name=message.user_name,
        external_id=message.external_id,
        active=message.active,
        display_name=message.display_name,
        email=message.email,
        title=message.title,
        phone=message.phone,
        secondary_phone=message.secondary_phone,
        attributes=message.attributes,
    )


def group_facts(message: pb.GroupFacts) -> GroupFacts:
    """Read what is said of a group."""
    return GroupFacts(external_id=message.external_id, display_name=message.display_name, attributes=message.attributes)


def member_ids(members: Iterable[str]) -> list[int]:
    """Read the ids of members. Errors: UnknownMembers, naming what is no id of a user."""
    found = {member: known_ids([member]) for member in members}
    unknown = [member for member, numbers in found.items() if not numbers]
    if unknown:
        raise UnknownMembers(unknown[:20], are_foreign=not any(map(is_like_an_id, found)))
    return [number for numbers in found.values() for number in numbers]


def known_ids(members: Iterable[str]) -> list[int]:
    """Read the ids of members who are to go; what is no id of a user is nobody's."""
    numbers = []
    for member in members:
        with suppress(NotFound):
            numbers.append(names.parse_id("usr", member))
    return numbers


def number_of(prefix: str, name: str) -> int:
    """Read an id; 0 for what is none."""
    with suppress(NotFound):
        return names.parse_id(prefix, name)
    return 0


def page_message(tenant_id: int, found: search.Found) -> pb.SearchProvisionedResponse:
    """Write a page of what was found."""
    answer = pb.SearchProvisionedResponse(
        total=found.total, next_page_token=found.next_token, previous_page_token=found.previous_token
    )
    for view in found.resources:
        if isinstance(view, reads.UserView):
            answer.resources.add(user=user_message(tenant_id, view))
        else:
            answer.resources.add(group=group_message(tenant_id, view))
    return answer


def user_message(tenant_id: int, view: reads.UserView) -> pb.ProvisionedUser:
    """Write a user."""
    return pb.ProvisionedUser(
        id=names.short_name("usr", view.id),
        attributes=view.document.encode(),
        active=view.is_active,
        groups=reference_messages("grp", view.groups),
        management=pb.UserManagement.ValueType(view.management),
        etag=etag_of(names.USER.format(tenant_id, view.id), view.revision),
        create_time=timestamp(view.create_time),
        update_time=timestamp(view.update_time),
    )


def group_message(tenant_id: int, view: reads.GroupView) -> pb.ProvisionedGroup:
    """Write a group's head."""
    return pb.ProvisionedGroup(
        id=names.short_name("grp", view.id),
        attributes=view.document.encode(),
        etag=etag_of(names.GROUP.format(tenant_id, view.id), view.revision),
        create_time=timestamp(view.create_time),
        update_time=timestamp(view.update_time),
    )


def reference_messages(prefix: str, references: Iterable[reads.Reference]) -> list[pb.ProvisionedReference]:
    """Write groups or members, by id and name."""
    return [
        pb.ProvisionedReference(id=names.short_name(prefix, each.id), display_name=each.display_name)
        for each in references
    ]
