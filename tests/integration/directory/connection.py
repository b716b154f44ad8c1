"""An identity provider at the directory's door: a connection with its key, and short ways to say what it says."""

from __future__ import annotations

import itertools
import json
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property

import grpc
from muster.directory.v1 import filters_pb2 as f
from muster.directory.v1 import provisioning_pb2 as pb
from muster.directory.v1 import provisioning_pb2_grpc
from muster.runtime.errors import failure_of
from sqlalchemy import insert

from services.directory.rules import names
from services.directory.store import ids
from services.directory.store.provisioning_tables import ProvisionedResource
from services.directory.store.tables import License, User
from tests.integration.directory.serving import Office, ServedDirectory

EQ, NE = f.COMPARISON_OPERATOR_EQ, f.COMPARISON_OPERATOR_NE
USER, GROUP = pb.PROVISIONED_KIND_USER, pb.PROVISIONED_KIND_GROUP
_numbers = itertools.count(1)


@dataclass
class Connection:
    """One connection of a tenant."""

    directory: ServedDirectory
    office: Office
    source: str
    key: str

    @cached_property
    def stub(self):
        return provisioning_pb2_grpc.ProvisioningServiceStub(self.directory.caller_with(self.key).channel)

    def create(self, user_name: str = "", *, unit: str = "", **facts):
        request = pb.CreateProvisionedUserRequest(
            facts=user_facts(user_name, **facts), request_id=str(uuid.uuid4()), unit_of_work=unit
        )
        return self.stub.CreateProvisionedUser(request).user

    def update(self, user: str, user_name: str, *, etag: str = "", **facts):
        request = pb.UpdateProvisionedUserRequest(id=user, facts=user_facts(user_name, **facts), etag=etag)
        return self.stub.UpdateProvisionedUser(request).user

    def set_active(self, user: pb.ProvisionedUser, *, active: bool):
        said = json.loads(user.attributes)
        return self.update(user.id, said["userName"], email=mail_of(said), active=active)

    def delete(self, user: str, etag: str = ""):
        self.stub.DeleteProvisionedUser(pb.DeleteProvisionedUserRequest(id=user, etag=etag))

    def get(self, user: str):
        return self.stub.GetProvisionedUser(pb.GetProvisionedUserRequest(id=user, with_groups=True)).user

    def create_group(self, name: str = "Crisis", group_id: str = "", members=(), *, unit: str = ""):
        facts = group_facts(name, group_id)
        request = pb.CreateProvisionedGroupRequest(facts=facts, members=members, unit_of_work=unit)
        return self.stub.CreateProvisionedGroup(request).group

    def change_group(
        self, group: str, *, add=(), remove=(), replace: bool = False, facts=None, etag: str = "", unit: str = ""
    ):
        request = pb.UpdateProvisionedGroupRequest(
            id=group, add=add, remove=remove, replace=replace, facts=facts, etag=etag, unit_of_work=unit
        )
        return self.stub.UpdateProvisionedGroup(request)

    def delete_group(self, group: str, *, unit: str = ""):
        self.stub.DeleteProvisionedGroup(pb.DeleteProvisionedGroupRequest(id=group, unit_of_work=unit))

    def judge(self, unit: str):
        return self.stub.JudgeDepartures(pb.JudgeDeparturesRequest(unit_of_work=unit)).left

    def group(self, group: str):
        request = pb.GetProvisionedGroupRequest(id=group)
        return next(iter(self.stub.GetProvisionedGroup(request))).group

    def members(self, group: str) -> list[str]:
        answers = self.stub.GetProvisionedGroup(pb.GetProvisionedGroupRequest(id=group, with_members=True))
        return [member.id for answer in answers for member in answer.members]

    def search(self, user_filter: f.Filter | None = None, **request):
        kinds = request.pop("kinds", [USER])
        return self.stub.SearchProvisioned(pb.SearchProvisionedRequest(kinds=kinds, user_filter=user_filter, **request))

    def find(self, path: str, value: str, operator=EQ, **attribute) -> list[str]:
        """The ids that an `eq` (or another operator) on one attribute finds."""
        answer = self.search(comparison(path, value, operator, **attribute))
        assert answer.total == len(answer.resources)
        return [found.user.id for found in answer.resources]


def settle_in(connection: Connection, people: int) -> list[str]:
    """Give the connection so many active users at once, and a seat for each; answers their ids."""
    tenant_id, source_id = names.parse(names.SOURCE, connection.source, field="source")
    with connection.directory.store.write(tenant_id) as session:
        database = session.connection()
        numbers = ids.reserve_ids(database, "user", people)
        now = connection.directory.clock()
        shared = {"tenant_id": tenant_id, "create_time": now, "update_time": now}
        user_rows = [
            {
                **shared,
                "id": number,
                "owner_source_id": source_id,
                "email": f"{number}@example.org",
                "display_name": "A",
            }
            for number in numbers
        ]
        database.execute(insert(User), user_rows)
        kept = {"tenant_id": tenant_id, "source_id": source_id, "kind": USER, "is_active": True, "document": "{}"}
        said = [
            {**kept, "resource_id": number, "name_key": f"{number}@example.org", "folded": {}} for number in numbers
        ]
        database.execute(insert(ProvisionedResource), said)
        license_ = session.get_one(License, tenant_id)
        license_.seats_total, license_.seats_used = people + 10, license_.seats_used + people
    return [names.short_name("usr", number) for number in numbers]


def connect(directory: ServedDirectory, office: Office, **settings) -> Connection:
    """A new connection of the tenant on its main account."""
    source = office.scim_source(**settings)
    return Connection(directory, office, source.name, office.api_key(source.name).secret)


def outcomes_at_once(*calls: Callable[[], object]) -> list[str]:
    """Make all calls at the same moment; gives OK or the reason of each, in the order of the calls."""
    gate = threading.Barrier(len(calls))

    def outcome(call: Callable[[], object]) -> str:
        gate.wait()
        try:
            call()
        except grpc.RpcError as error:
            return failure_of(error).reason
        return "OK"

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(outcome, calls))


def user_facts(user_name: str = "", **facts):
    """Facts as a gateway would send them: a document beside the mapped attributes."""
    user_name = user_name or f"person{next(_numbers)}@example.org"
    email = facts.pop("email", user_name)
    document = facts.pop("document", {})
    said = {
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": user_name,
        "active": facts.get("active", True),
        "emails": [{"value": email, "type": "work", "primary": True}],
        **document,
    }
    for field, name in (("external_id", "externalId"), ("display_name", "displayName"), ("title", "title")):
        if facts.get(field):
            said[name] = facts[field]
    facts = {"active": True, "display_name": "Ann Example", **facts}
    return pb.UserFacts(user_name=user_name, email=email, attributes=json.dumps(said).encode(), **facts)


def group_facts(name: str, group_id: str = ""):
    said = {"displayName": name, "externalId": group_id}
    return pb.GroupFacts(external_id=group_id, display_name=name, attributes=json.dumps(said).encode())


def mail_of(said):
    return said["emails"][0]["value"]


def attribute(path: str, **characteristics) -> f.Attribute:
    return f.Attribute(
        path=path.split("/"),
        type=characteristics.pop("type", f.ATTRIBUTE_TYPE_STRING),
        **characteristics,
    )


def comparison(path: str, value, operator=EQ, **characteristics) -> f.Filter:
    kind = "boolean" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "text"
    if kind == "boolean":
        characteristics["type"] = f.ATTRIBUTE_TYPE_BOOLEAN
    given = {} if value is None else {kind: value}
    return f.Filter(comparison=f.Comparison(attribute=attribute(path, **characteristics), operator=operator, **given))


def present(path: str, **characteristics) -> f.Filter:
    return f.Filter(present=attribute(path, **characteristics))


def all_of(*filters: f.Filter) -> f.Filter:
    return f.Filter(all_of=f.FilterList(filters=filters))


def any_of(*filters: f.Filter) -> f.Filter:
    return f.Filter(any_of=f.FilterList(filters=filters))


def selection(path: str, inner: f.Filter) -> f.Filter:
    return f.Filter(selection=f.ValueSelection(attribute=attribute(path, multi_valued=True), filter=inner))


def negation(inner: f.Filter) -> f.Filter:
    node = f.Filter()
    getattr(node, "not").CopyFrom(inner)
    return node
