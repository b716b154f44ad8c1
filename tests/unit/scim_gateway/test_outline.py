"""What is kept of a request has ids, operators and names of attributes, and no value, whatever was sent (S13)."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.directory.rules.activity import Asked, check
from services.scim_gateway.notes import Notes
from services.scim_gateway.outline import body_outline, filter_outline, method_outline, path_outline
from services.scim_gateway.problems import PROBLEMS
from services.scim_gateway.quirks import QUIRKS

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
SECRETS = ("anna.svensson", "svensson", "anna@", "example.org", "070-174", "46701740605", "Head of Crisis", "hunter2")
MAIL, NAME, PHONE = "anna.svensson@example.org", "Svensson", "46701740605"
SAID = st.sampled_from(
    [
        MAIL,
        NAME,
        PHONE,
        f"+{PHONE}",
        "070-1740605",
        f'"{MAIL}"',
        f"{MAIL}'",
        "hunter2",
        "Head of Crisis",
        f"users/{MAIL}",
    ]
)
TEXTS = st.one_of(SAID, st.text(max_size=30), st.builds("{}{}{}".format, st.sampled_from('"[.:(\\ '), SAID, SAID))
KEYS = st.one_of(
    TEXTS, st.sampled_from(["userName", "emails", "op", "path", "value", "Operations", "filter", "method"])
)
VALUES = st.recursive(
    st.one_of(TEXTS, st.none(), st.booleans(), st.just(int(PHONE))),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=4)),
    max_leaves=12,
)


@pytest.mark.parametrize(
    ("path", "query", "outline"),
    [
        ("/Users", {"filter": f'userName eq "{MAIL}"', "startIndex": "1"}, "/Users?filter=userName eq ?&startIndex=1"),
        ("/users/usr_00000k", {}, "/Users/usr_00000k"),
        (f"/Users/{MAIL}", {"aadOptscim062020": ""}, "/Users/?" + "?aadOptscim062020"),
        ("/Groups", {"excludedAttributes": "members", "count": PHONE}, "/Groups?excludedAttributes=members&count=?"),
        (f"/{MAIL}/x", {MAIL: MAIL}, "/?/??" + "?"),
        (
            "/Groups",
            {"filter": 'id eq "grp_00000k" and members eq "usr_00000k"'},
            "/Groups?filter=id eq grp_00000k and members eq usr_00000k",
        ),
    ],
)
def test_a_path_keeps_ids_and_names_and_no_values(path, query, outline):
    assert path_outline(path, query) == outline


@pytest.mark.parametrize(
    ("text", "outline"),
    [
        (f'emails[type eq "work"].value eq "{MAIL}"', "emails[type eq ?].value eq ?"),
        (f'not (userName sw "{NAME}") or active eq true', "not (userName sw ?) or active eq true"),
        (f'{ENTERPRISE}:department eq "{NAME}"', "enterprise:department eq ?"),
        (f"{NAME} eq {PHONE} and {MAIL} pr", "? eq ? and ? pr"),
        (f'userName eq "{NAME}', "userName eq ?"),
        ('members[value eq "usr_00000k"]', "members[value eq usr_00000k]"),
        ("NAME.GIVENNAME co 5", "name.givenName co ?"),
    ],
)
def test_a_filter_keeps_attributes_and_operators(text, outline):
    assert filter_outline(text) == outline


def patch(*operations):
    return {"schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": list(operations)}


@pytest.mark.parametrize(
    ("body", "outline"),
    [
        (
            {"schemas": [], "userName": MAIL, "emails": [{"value": MAIL}], ENTERPRISE: {"department": NAME, NAME: 1}},
            "userName, emails x1, enterprise {department, ?}",
        ),
        ({"userName": MAIL, NAME: MAIL, PHONE: 1}, "userName, ? x2"),
        (patch({"op": "Replace", "path": "active", "value": "False"}), "replace active"),
        (
            patch(
                {"op": "add", "path": "members", "value": [{"value": "usr_00000k"}] * 3},
                {"op": "replace", "value": {"displayName": NAME, "name.givenName": NAME}},
                {"op": MAIL, "path": MAIL},
            ),
            "add members x3; replace {displayName, name.givenName}; ? ?",
        ),
        (patch(*[{"op": "remove", "path": "title"}] * 12), "; ".join(["remove title"] * 10) + " and 2 more"),
        (
            {"Operations": [{"method": "POST", "path": "/Users"}] * 3 + [{"method": "delete", "path": f"/{MAIL}"}]},
            "POST Users x3, DELETE ? x1",
        ),
        ({"filter": f'title eq "{NAME}"', "count": 5}, "filter title eq ?"),
        ([MAIL], "no object"),
    ],
)
def test_a_body_is_kept_as_what_it_speaks_of(body, outline):
    assert body_outline(json.dumps(body).encode()) == outline


def test_a_body_that_cannot_be_read_is_not_repeated():
    assert body_outline(b"") == ""
    assert body_outline(f'{{"userName": "{MAIL}"'.encode()) == "no JSON"
    assert body_outline(b'"' + b"a" * 300_000 + b'"') == "a body of 292 KiB"


@given(
    method=TEXTS,
    path=st.lists(TEXTS, max_size=4).map("/".join),
    query=st.dictionaries(
        st.one_of(TEXTS, st.sampled_from(["filter", "sortBy", "attributes", "count"])), TEXTS, max_size=4
    ),
    body=st.one_of(VALUES.map(lambda value: json.dumps(value).encode()), st.binary(max_size=60)),
)
@example(method="GET", path=f"/Users/usr_{MAIL}", query={"filter": f'"{MAIL}" eq {MAIL}'}, body=b'{"a":1}')
@example(method="PATCH", path="/", query={}, body=json.dumps(patch({"op": "add", "path": f'emails["{MAIL}'})).encode())
def test_nothing_of_a_person_is_in_the_outline_of_any_request_and_the_directory_takes_each(method, path, query, body):
    method, path, shape = method_outline(method), path_outline(path, query), body_outline(body)
    kept = f"{method} {path} {shape}".lower()
    assert not any(secret.lower() in kept for secret in SECRETS)
    assert not re.search(r"@|[0-9]{7}", kept)
    check([Asked("r", datetime(2026, 3, 2, tzinfo=UTC), method, path, 200, shape)])


def test_every_word_and_cure_of_ours_may_be_kept():
    for problem in PROBLEMS:
        notes = Notes(quirks=dict.fromkeys(QUIRKS), owned_by_file=True, problem=problem)
        said = notes.request()
        quirks, effects = ({each.name: each.cure for each in said.quirks}, {each.kind: 1 for each in said.effects})
        check(
            [
                Asked(
                    "r",
                    datetime(2026, 3, 2, tzinfo=UTC),
                    "GET",
                    "/Users",
                    400,
                    problem=said.problem,
                    detail=said.detail,
                    cure=said.cure,
                    quirks=quirks,
                    effects=effects,
                )
            ]
        )
        assert len(quirks) == len(QUIRKS)
