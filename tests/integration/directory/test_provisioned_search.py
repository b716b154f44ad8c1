"""Filters, orders and pages over what a connection stored, in the database (RFC 7644 §3.4.2, RFC 9865)."""

from __future__ import annotations

import json

import pytest
from muster.directory.v1 import filters_pb2 as f
from muster.directory.v1 import provisioning_pb2 as pb

from services.directory.operations.provisioning.call import begin
from services.directory.operations.provisioning.search import Search, search
from services.directory.rules.filters import Attribute, Comparison, Operator
from services.directory.rules.names import SOURCE, parse
from tests.integration.directory.connection import (
    GROUP,
    NE,
    USER,
    all_of,
    any_of,
    attribute,
    comparison,
    connect,
    negation,
    present,
    selection,
)
from tests.integration.directory.serving import Office, refused

CO, SW, EW = f.COMPARISON_OPERATOR_CO, f.COMPARISON_OPERATOR_SW, f.COMPARISON_OPERATOR_EW
GT, GE, LT, LE = (getattr(f, f"COMPARISON_OPERATOR_{word}") for word in ("GT", "GE", "LT", "LE"))
MAIL = {"multi_valued": True}
EXACT = {"case_exact": True}
ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
PHOTOS = [{"type": "photo", "value": "https://example.org/Ann.png"}, {"type": "thumbnail", "value": "x"}]
PEOPLE = {
    "åsa@example.org": {
        "title": "Überlehrerin",
        "nickName": "Åsa 100% _x_",
        "emails": [{"value": "åsa@home.example", "type": "home"}, {"value": "åsa@example.org", "type": "work"}],
        ENTERPRISE: {"employeeNumber": "007", "manager": {"value": "usr_x"}},
    },
    "Ben@example.org": {"title": "Cook", "name": {"familyName": "Berg"}, "photos": PHOTOS},
    "carl@example.org": {"title": "cook", "active": False, "locale": "sv-SE"},
    "dora@example.org": {"emails": [{"value": "dora@home.example", "type": "home", "primary": True}]},
}


@pytest.fixture(scope="module")
def connection(directory, support):
    connection = connect(directory, Office(support, seats=20))
    for number, (user_name, document) in enumerate(PEOPLE.items()):
        connection.create(
            user_name, document=document, external_id=f"Ext-{number}", active=document.get("active", True)
        )
    crisis = connection.create_group("Crisis Team", "CRISIS")
    (ben,) = connection.find("userName", "ben@example.org")
    connection.change_group(crisis.id, add=[ben])
    connection.create_group("Zebra")
    return connection


def names(answer: pb.SearchProvisionedResponse) -> list[str]:
    return [said(found).get("userName") or said(found)["displayName"] for found in answer.resources]


def said(found: pb.Provisioned):
    return json.loads((found.user if found.HasField("user") else found.group).attributes)


def first_letters(connection, user_filter: f.Filter | None, **request) -> str:
    answer = connection.search(user_filter, **request)
    assert answer.total == len(answer.resources)
    return "".join(name[0].lower() for name in names(answer))


@pytest.mark.parametrize(
    ("user_filter", "expected"),
    [
        (comparison("userName", "ÅSA@EXAMPLE.ORG"), "å"),
        (comparison("userName", "ben@example.org", NE), "åcd"),
        (comparison("userName", "E", CO), "åbcd"),
        (comparison("userName", "ca", SW), "c"),
        (comparison("nickName", "_X_", EW), "å"),
        (comparison("nickName", "%", CO), "å"),
        (comparison("nickName", "100%_", CO), ""),
        (comparison("nickName", "", CO), "å"),
        (comparison("nickName", "", SW), "å"),
        (comparison("nickName", "", EW), "å"),
        (comparison("nickName", "a much longer text than the one that is there", EW), ""),
        (comparison("title", "COOK"), "bc"),
        (comparison("title", "cook", NE), "åd"),
        (comparison("title", "COOK", **EXACT), ""),
        (comparison("title", "Cook", **EXACT), "b"),
        (comparison("title", "d", GT), "å"),
        (comparison("title", "cook", LE), "bc"),
        (comparison("title", None), "d"),
        (comparison("title", None, NE), "åbc"),
        (comparison("title", None, GT), ""),
        (comparison("title", True), ""),
        (comparison("title", 3.0, NE), "åbcd"),
        (negation(comparison("title", "cook")), "åd"),
        (negation(comparison("title", "x", GT)), "bcd"),
        (present("title"), "åbc"),
        (present("name", type=f.ATTRIBUTE_TYPE_COMPLEX), "b"),
        (present("name/givenName"), ""),
        (present("emails", **MAIL), "åbcd"),
        (present("emails/primary", **MAIL), "bcd"),
        (comparison("active", True), "åbd"),
        (comparison("active", True, NE), "c"),
        (comparison("active", True, GT), ""),
        (comparison(f"{ENTERPRISE}/employeeNumber", "007"), "å"),
        (comparison(f"{ENTERPRISE}/manager/value", "usr_X"), "å"),
        (present(ENTERPRISE, type=f.ATTRIBUTE_TYPE_COMPLEX), "å"),
        (comparison("emails/value", "DORA@home.example", **MAIL), "d"),
        (comparison("emails/value", "dora@home.example", NE, **MAIL), "åbc"),
        (comparison("emails/type", "home", **MAIL), "åd"),
        (comparison("emails/display", None, **MAIL), "åbcd"),
        (comparison("photos/value", None, **MAIL), "åcd"),
        (comparison("photos/value", None, NE, **MAIL), "b"),
        (selection("emails", all_of(comparison("type", "work"), comparison("value", "åsa", SW))), "å"),
        (selection("emails", all_of(comparison("type", "home"), comparison("value", "@example.org", EW))), ""),
        (selection("emails", negation(comparison("type", "work"))), "åd"),
        (selection("emails", present("primary")), "bcd"),
        (
            selection(
                "photos",
                all_of(comparison("type", "PHOTO"), comparison("value", "https://example.org/Ann.png", **EXACT)),
            ),
            "b",
        ),
        (
            selection(
                "photos",
                all_of(comparison("type", "thumbnail"), comparison("value", "https://example.org/Ann.png", **EXACT)),
            ),
            "",
        ),
        (comparison("schemas", "urn:ietf:params:scim:schemas:core:2.0:User", multi_valued=True, **EXACT), "åbcd"),
        (selection("schemas", comparison("type", "x")), ""),
        (comparison("externalId", "Ext-1", **EXACT), "b"),
        (comparison("externalId", "ext-1", **EXACT), ""),
        (comparison("externalId", "Ext", SW, **EXACT), "åbcd"),
        (comparison("meta/resourceType", "User", **EXACT), "åbcd"),
        (comparison("meta/created", "2000-01-01T00:00:00Z", GT, type=f.ATTRIBUTE_TYPE_DATE_TIME), "åbcd"),
        (comparison("meta/lastModified", "2000-01-01T01:00:00+01:00", LT, type=f.ATTRIBUTE_TYPE_DATE_TIME), ""),
        (comparison("meta/created", "20", CO, type=f.ATTRIBUTE_TYPE_DATE_TIME), ""),
        (comparison("id", "usr_", SW, **EXACT), "åbcd"),
        (comparison("id", "usr_nonsense", **EXACT), ""),
        (any_of(comparison("title", "cook"), comparison("userName", "dora", SW)), "bcd"),
        (all_of(comparison("title", "cook"), comparison("active", False)), "c"),
        (f.Filter(constant=False), ""),
        (negation(f.Filter(constant=False)), "åbcd"),
        (present("groups", type=f.ATTRIBUTE_TYPE_COMPLEX, **MAIL), "b"),
    ],
)
def test_a_filter_finds(connection, user_filter, expected):
    assert first_letters(connection, user_filter) == expected


@pytest.mark.parametrize(
    "user_filter",
    [
        f.Filter(),
        f.Filter(all_of=f.FilterList()),
        f.Filter(comparison=f.Comparison(attribute=attribute("title"), text="x")),
        comparison("meta/location", "x"),
        comparison("groups/display", "Crisis", multi_valued=True),
        selection("groups", comparison("display", "x")),
        comparison("title'; DROP TABLE users; --", "x"),
        comparison("meta/created", "yesterday", GT, type=f.ATTRIBUTE_TYPE_DATE_TIME),
        all_of(*[comparison("title", "x")] * 201),
        selection("emails", selection("value", comparison("type", "x"))),
    ],
)
def test_what_cannot_be_answered_is_refused(connection, user_filter):
    with refused("INVALID_FILTER"):
        connection.search(user_filter)


def test_a_tree_of_any_depth_is_refused_and_not_followed(connection):
    deep = comparison("title", "x")
    for _ in range(90):
        deep = negation(deep)
    with refused("INVALID_FILTER"):
        connection.search(deep)


def test_groups_are_found_by_name_group_id_and_member(connection):
    (ben,) = connection.find("userName", "ben@example.org")

    def found(group_filter):
        return names(connection.search(kinds=[GROUP], group_filter=group_filter))

    assert found(None) == ["Crisis Team", "Zebra"]
    assert found(comparison("displayName", "CRISIS team")) == ["Crisis Team"]
    assert found(comparison("externalId", "CRISIS", **EXACT)) == ["Crisis Team"]
    assert found(comparison("members/value", ben, multi_valued=True, **EXACT)) == ["Crisis Team"]
    assert found(comparison("members/value", ben, NE, multi_valued=True, **EXACT)) == ["Zebra"]
    assert found(selection("members", comparison("value", ben))) == ["Crisis Team"]
    assert found(present("members", **MAIL)) == ["Crisis Team"]
    (crisis,) = connection.search(kinds=[GROUP], group_filter=comparison("displayName", "crisis team")).resources
    both = all_of(
        comparison("id", crisis.group.id, **EXACT), comparison("members/value", ben, multi_valued=True, **EXACT)
    )
    assert found(both) == ["Crisis Team"]
    assert connection.find("groups/value", crisis.group.id, multi_valued=True, **EXACT) == [ben]


def test_an_order_puts_who_has_no_value_last_and_first_when_it_descends(connection):
    def ordered(path, *, descending=False, **characteristics):
        sort = pb.SortOrder(attribute=attribute(path, **characteristics), descending=descending)
        return "".join(name[0].lower() for name in names(connection.search(user_sort=sort)))

    assert ordered("title") == "bcåd"
    assert ordered("title", descending=True) == "dåbc"
    assert ordered("userName", descending=True) == "ådcb"
    assert ordered("emails/value", **MAIL) == "bcdå"
    assert ordered("active", type=f.ATTRIBUTE_TYPE_BOOLEAN) == "cåbd"
    assert ordered("meta/created", type=f.ATTRIBUTE_TYPE_DATE_TIME) == "åbcd"
    for path in ("groups", "meta/location"):
        with refused("INVALID_FILTER"):
            ordered(path)


def test_pages_by_place_are_stable_and_count_all(connection):
    pages = [connection.search(start_index=start, count=2) for start in (1, 3, 5)]
    assert [names(page)[0][0] if page.resources else "" for page in pages] == ["å", "c", ""]
    assert {page.total for page in pages} == {4}
    assert connection.search(start_index=-3, count=1).resources[0] == pages[0].resources[0]
    nothing = connection.search(count=0)
    assert (nothing.total, list(nothing.resources)) == (4, [])


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("path", ["", "title", "userName", "nickName"])
def test_cursors_walk_there_and_back_through_both_kinds(connection, path, descending):
    request = {"kinds": [USER, GROUP], "count": 2}
    if path:
        sort = pb.SortOrder(attribute=attribute(path), descending=descending)
        request |= {
            "user_sort": sort,
            "group_sort": pb.SortOrder(attribute=attribute("displayName"), descending=descending),
        }
    forward = [connection.search(page_token="", **request)]
    while forward[-1].next_page_token:
        forward.append(connection.search(page_token=forward[-1].next_page_token, **request))
    assert [len(page.resources) for page in forward] == [2, 2, 2]
    whole = connection.search(**{**request, "count": 100})
    assert [name for page in forward for name in names(page)] == names(whole)
    backward = [forward[-1]]
    while backward[-1].previous_page_token:
        backward.append(connection.search(page_token=backward[-1].previous_page_token, **request))
    assert [names(page) for page in reversed(backward)] == [names(page) for page in forward]


def test_a_cursor_is_good_for_its_own_search_only(connection):
    token = connection.search(page_token="", count=2).next_page_token
    for wrong in ({"user_filter": present("title")}, {"kinds": [USER, GROUP]}):
        with refused("INVALID_PAGE_TOKEN"):
            connection.search(page_token=token, count=2, **wrong)
    for nonsense in ("x", "e30", token[:-4], "WyJ4IiwgdHJ1ZV0"):
        with refused("INVALID_PAGE_TOKEN"):
            connection.search(page_token=nonsense, count=2)


def test_a_search_names_kinds(connection):
    with refused("INVALID_ARGUMENT"):
        connection.search(kinds=[])


def test_a_user_name_of_the_connections_own_finds_nobody_else(directory, support):
    office = Office(support)
    connection = connect(directory, office)
    manual = office.user("eve@example.org")
    own = connection.create("eve.own@example.org", email="other@example.org")
    office.user("eve.own@example.org")
    assert connection.find("userName", "eve.own@example.org") == [own.id]
    assert connection.find("userName", "eve@example.org") == [manual.name.rpartition("/")[2]]


NAMED = {
    "userName": ("BEN@Example.org", " ben@example.org", "A\u030asa@example.org", "hand@example.org", "nobody", "x\0y"),
    "externalId": ("Ext-1", "ext-1", " Ext-1", "x\0y", ""),
}


def test_who_is_asked_for_by_name_is_found_as_by_any_search(connection):
    connection.office.user("hand@example.org")
    tenant_id, source_id = parse(SOURCE, connection.source, field="source")
    with connection.directory.store.read(tenant_id) as session:
        call = begin(session, tenant_id, source_id, now=connection.directory.clock())
        for path, values in NAMED.items():
            for value in values:
                asked = Comparison(Attribute((path,), is_case_exact=path == "externalId"), Operator.EQ, value)
                pages = (
                    [{}] if value != values[0] else [{"count": 0}, {"offset": 1}, {"with_groups": True}, {"token": ""}]
                )
                for page in pages:
                    wanted = Search(filters={USER: asked}, sorts={}, **page)
                    assert search(call, wanted) == search(call, wanted, by_name=False), (path, value, page)
