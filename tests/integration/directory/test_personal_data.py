"""A person's data can be handed out, and erased: out of the register, its history, its runs and what they left."""

from __future__ import annotations

import json
import uuid

import pytest
from muster.directory.v1 import users_pb2 as pb
from sqlalchemy import text
from sqlmodel import SQLModel

from services.directory.operations.erasure import erase_people
from services.directory.operations.imports import Imports
from services.directory.operations.leaving import leave
from services.directory.operations.refusals import Refused, remember_refusals
from services.directory.rules import names
from services.directory.rules.errors import TenantBusy
from services.directory.rules.leaving import WayOut
from services.directory.store import schema
from services.directory.store.seal import Seal
from services.directory.store.tables import RunStatus
from tests.integration.directory.connection import connect
from tests.integration.directory.nights import SOMEBODY, Night
from tests.integration.directory.serving import SEAL_KEY, Office, counted_statements, refused

pytestmark = pytest.mark.mostly("postgresql")

PERSONAL = {
    "email": "astrid.holm@example.org",
    "display_name": "Astrid Holm",
    "title": "Head of Crisis",
    "phone": "+46701740605",
    "secondary_phone": "+46701740606",
}
OLD_MAIL, USER_NAME, KEY = "astrid.old@example.org", "AHolm@idp.example.org", "KEY-OF-ASTRID"
NEEDLES = [*PERSONAL.values(), "astrid", "holm", KEY]


def export(support, user):
    answer = support.users.ExportUser(pb.ExportUserRequest(name=user))
    return json.loads(answer.document)


def erase(support, user, request_id=""):
    return support.users.EraseUser(pb.EraseUserRequest(name=user, request_id=request_id)).user


def everything_kept(store, tenant_id):
    """Every row of the tenant as text, sealed answers opened."""
    assert schema.NAMES  # imports every table
    kept = []
    with store.read(tenant_id) as session:
        for table in SQLModel.metadata.sorted_tables:
            if table.name not in schema.NAMES - {"service_tokens"} or "tenant_id" not in table.c:
                continue
            rows = session.connection().execute(table.select().where(table.c.tenant_id == tenant_id)).mappings()
            kept += [(table.name, {**row}) for row in rows]
    for table, row in kept:
        if table == "request_replays":
            belongs_to = f"request_replays/{tenant_id}/{row['request_id']}"
            row["answer"] = Seal(SEAL_KEY).open(row["answer"], belongs_to=belongs_to)
    return kept


def where_found(store, tenant_id, needles=NEEDLES):
    return sorted(
        {
            table
            for table, row in everything_kept(store, tenant_id)
            for needle in needles
            if needle.lower() in str(row).lower()
        }
    )


@pytest.fixture
def story(store, directory, support):
    """A tenant with Astrid, of whom a connection, an administrator and a refusal have said much; and with Bo."""
    office = Office(support)
    connection = connect(directory, office)
    facts = {**PERSONAL, "external_id": KEY, "document": {"nickName": "Astrid the Great"}}
    astrid = connection.create(USER_NAME, **{**facts, "email": OLD_MAIL})
    connection.update(astrid.id, USER_NAME, **facts)
    bo = connection.create("bo@example.org", display_name="Bo Ek")
    connection.create_group("Crisis", "CRISIS", members=[astrid.id, bo.id])
    with store.write(office.tenant_id) as session:
        _, source_id = names.parse(names.SOURCE, connection.source, field="source")
        remember_refusals(session, office.tenant_id, source_id, [Refused(USER_NAME, KEY)], now=directory.clock())
    return office, connection, f"{office.name}/users/{astrid.id}", f"{office.name}/users/{bo.id}"


def test_an_export_holds_what_is_kept_and_no_secret(support, story):
    _, _, astrid, _ = story
    document = export(support, astrid)
    register = document["register"]
    assert {**PERSONAL, "display_name": register["name"]} == {
        **{name: register.get(name, PERSONAL["display_name"]) for name in PERSONAL}
    }
    assert (register["state"], register["owner"]) == ("active", "Identity provider")
    assert [(group["group"], group["group_id"], group["by"]) for group in document["groups"]] == [
        ("Crisis", "CRISIS", "Identity provider")
    ]
    assert len(document["accounts"]) == 1
    assert document["connections"][0]["attributes"]["nickName"] == "Astrid the Great"
    assert document["password"] == {"is_set": False, "set": None}
    assert [event["kind"] for event in document["events"]][:3] == ["user.created", "membership.added", "user.updated"]
    assert document["events"][0]["after"]["email"] == OLD_MAIL
    assert document["refused_seats"][0]["user_name"] == USER_NAME
    assert "hash" not in json.dumps(document)
    assert "bo@example.org" not in json.dumps(document)


def test_after_erasure_nothing_kept_names_the_person_and_the_audit_line_stays(store, support, story):
    office, connection, astrid, bo = story
    assert {"users", "events", "provisioned_resources", "license_refusals", "request_replays"} <= set(
        where_found(store, office.tenant_id)
    )
    before = [(event.kind, event.time, event.fields) for event in office.events() if event.resource == astrid]

    erased = erase(support, astrid)

    assert where_found(store, office.tenant_id) == []
    assert (erased.name, erased.state, erased.email, erased.display_name) == (astrid, pb.USER_STATE_DELETED, "", "")
    told = [(event.kind, event.time, event.fields) for event in office.events() if event.resource == astrid]
    assert told[: len(before)] == before  # who, what and when; the fields that changed, without values
    assert [kind for kind, _, _ in told[len(before) :]] == ["user.deleted", "user.erased"]
    assert office.seats().seats_used == 1
    other = support.users.GetUser(pb.GetUserRequest(name=bo)).user
    assert (other.display_name, other.group_display_names) == ("Bo Ek", ["Crisis"])
    assert "Bo Ek" in str(office.events("user.created"))
    assert connection.find("userName", "bo@example.org") == [bo.rpartition("/")[2]]
    assert export(support, astrid)["register"]["email"] == ""
    count = len(office.events())
    assert erase(support, astrid) == erased
    assert len(office.events()) == count


def test_an_erased_person_is_unknown_to_the_provider_and_comes_back_as_somebody_else(support, story):
    office, connection, astrid, _ = story
    connection.delete(astrid.rpartition("/")[2])
    erase(support, astrid)
    with refused("NOT_FOUND"):
        connection.get(astrid.rpartition("/")[2])
    again = connection.create(USER_NAME, external_id=KEY, email=PERSONAL["email"])
    assert f"{office.name}/users/{again.id}" != astrid
    with refused("USER_STATE"):
        support.users.UndeleteUser(pb.UndeleteUserRequest(name=astrid))


def test_erasing_answers_the_same_request_once(support, story):
    office, _, astrid, _ = story
    request_id = str(uuid.uuid4())
    assert erase(support, astrid, request_id) == erase(support, astrid, request_id)
    assert len(office.events("user.erased")) == 1


def test_erasure_reaches_runs_and_a_held_plan_with_the_person_expires(store, directory, support):
    night = Night(store, directory.stages, directory.clock)
    tenant_id, people = night.tenant_id, [f"person{number}" for number in range(8)]
    night.apply(night.plan("anna", *people))
    night.apply(night.plan("anna", *people, rejected=["anna"]))  # an issue with her key
    shown = night.plan("bert", *people, dry_run=True)
    held = night.plan("anna")
    assert (night.read(shown).status, night.read(held).status) == (RunStatus.PLANNED, RunStatus.HELD)
    users = support.users.ListUsers(pb.ListUsersRequest(tenant=names.TENANT.format(tenant_id))).users
    anna = next(user.name for user in users if user.email == "anna@example.org")
    needles = ["anna", "EMPLOYEE-anna"]
    with store.write(tenant_id) as session:  # as the importer names a row: by its key
        sql = "UPDATE import_issues SET row_key = 'EMPLOYEE-anna', masked_value = 'an…a' WHERE tenant_id = :t"
        assert session.connection().execute(text(sql), {"t": tenant_id}).rowcount == 1
    assert {"claims", "events", "import_issues", "users"} <= set(where_found(store, tenant_id, needles))
    assert [issue["key"] for issue in export(support, anna)["import_issues"]] == ["EMPLOYEE-anna"]

    erase(support, anna)

    assert where_found(store, tenant_id, needles) == []
    assert night.read(held).status == RunStatus.EXPIRED
    assert not night.staged(held)
    assert night.staged(shown) == (night.read(shown).status == RunStatus.PLANNED)
    again = night.apply(night.plan("anna", *people))  # the file still has her: she is somebody new
    assert (again.status, again.counts["created"], again.counts["deleted"]) == (RunStatus.APPLIED, 1, 0)


def test_erasure_waits_for_a_run_under_way(store, directory, support):
    night = Night(store, directory.stages, directory.clock)
    night.apply(night.plan("anna"))
    run_id = night.open()
    (anna,) = support.users.ListUsers(pb.ListUsersRequest(tenant=names.TENANT.format(night.tenant_id))).users
    seal, now = Seal(SEAL_KEY), directory.clock()
    with pytest.raises(TenantBusy), store.write(night.tenant_id) as session:
        erase_people(session, night.imports, seal, night.tenant_id, _ids([anna.name]), actor=SOMEBODY, now=now)
    assert support.users.GetUser(pb.GetUserRequest(name=anna.name)).user.state == pb.USER_STATE_ACTIVE
    night.apply(night.plan_again(run_id, "anna"))
    erase(support, anna.name)


def test_erasing_many_takes_as_many_statements_as_erasing_one(store, directory, support):
    counts = []
    imports = Imports(store, directory.stages, clock=directory.clock)
    for size in (1, 9):
        office = Office(support, seats=100)
        ids = _ids(office.user().name for _ in range(size))
        now = directory.clock()
        with counted_statements(store, thread="MainThread") as statements, store.write(office.tenant_id) as session:
            leave(session, office.tenant_id, ids, WayOut.BY_HAND, actor=SOMEBODY, now=now)
            erase_people(session, imports, Seal(SEAL_KEY), office.tenant_id, ids, actor=SOMEBODY, now=now)
        counts.append(len(statements))
        assert len(office.events("user.erased")) == size
    assert counts[0] == counts[1]


def _ids(users):
    return [names.parse(names.USER, user, field="user")[1] for user in users]
