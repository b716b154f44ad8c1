"""What is beside the standard is rewritten into what it means, and each rewrite is named."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.scim_gateway import schemas
from services.scim_gateway.entra import tolerate_filter, tolerate_patch, tolerate_resource
from services.scim_gateway.notes import Notes
from services.scim_gateway.quirks import QUIRKS

E = schemas.ENTERPRISE_SCHEMA
MANAGER = f"{E}:manager"
MISSPELT = "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"


def patched(*operations, kind="User"):
    notes = Notes()
    body = tolerate_patch(kind, {"schemas": ["urn:x"], "Operations": list(operations)}, notes.quirk)
    return body["Operations"], list(notes.quirks)


def created(kind="User", **body):
    notes = Notes()
    return tolerate_resource(kind, body, notes.quirk), list(notes.quirks)


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "displayName", "value": "Ann"},
        {"op": "add", "path": 'emails[type eq "work"].value', "value": "a@example.org"},
        {"op": "remove", "path": "title"},
        {"op": "replace", "value": {"active": False, "name": {"givenName": "Ann"}}},
        {"op": "add", "path": MANAGER, "value": {"value": "usr_1"}},
        {"op": "add", "path": "roles", "value": [{"value": "Admin", "primary": True}]},
        {"op": "replace", "path": "title", "value": "True"},
    ],
)
def test_plain_scim_stays_as_it_is(operation):
    assert patched(operation) == ([operation], [])


@pytest.mark.parametrize(
    ("operation", "rewritten", "quirks"),
    [
        (
            {"op": "Replace", "path": "active", "value": "False"},
            {"op": "replace", "path": "active", "value": False},
            ["op_case", "boolean_as_text"],
        ),
        (
            {"op": "replace", "value": {"active": "True"}},
            {"op": "replace", "value": {"active": True}},
            ["boolean_as_text"],
        ),
        (
            {"op": "add", "path": MANAGER, "value": "usr_1"},
            {"op": "add", "path": MANAGER, "value": {"value": "usr_1"}},
            ["manager_as_id"],
        ),
        (
            {"op": "add", "path": "manager", "value": [{"$ref": "x", "value": "usr_1"}]},
            {"op": "add", "path": MANAGER, "value": {"$ref": "x", "value": "usr_1"}},
            ["unqualified_enterprise", "manager_as_id"],
        ),
        (
            {"op": "replace", "path": "manager", "value": ""},
            {"op": "remove", "path": MANAGER},
            ["unqualified_enterprise", "manager_as_id"],
        ),
        ({"op": "replace", "path": MANAGER, "value": None}, {"op": "remove", "path": MANAGER}, []),
        ({"op": "replace", "path": MANAGER, "value": {"value": ""}}, {"op": "remove", "path": MANAGER}, []),
        (
            {"op": "replace", "value": {MANAGER: "usr_1", "name.givenName": "Ann"}},
            {"op": "replace", "value": {MANAGER: {"value": "usr_1"}, "name.givenName": "Ann"}},
            ["dotted_keys", "manager_as_id"],
        ),
        (
            {"op": "replace", "value": {E: {"manager": "usr_1"}}},
            {"op": "replace", "value": {E: {"manager": {"value": "usr_1"}}}},
            ["manager_as_id"],
        ),
        ({"op": "replace", "path": "name", "value": ""}, {"op": "remove", "path": "name"}, ["empty_object"]),
        ({"op": "replace", "path": "title", "value": None}, {"op": "remove", "path": "title"}, []),
        (
            {"op": "replace", "path": 'roles[primary eq "True"].value', "value": "Admin"},
            {"op": "replace", "path": "roles[primary eq true].value", "value": "Admin"},
            ["boolean_as_text"],
        ),
        (
            {"op": "add", "path": 'emails[type eq "other"].Value', "value": "a@example.org"},
            {"op": "add", "path": 'emails[type eq "other"].Value', "value": "a@example.org"},
            ["attribute_case"],
        ),
        (
            {"op": "add", "path": f"{MISSPELT}:department", "value": "Sales"},
            {"op": "add", "path": f"{E}:department", "value": "Sales"},
            ["misspelt_enterprise_urn"],
        ),
        (
            {"op": "add", "path": "department", "value": "Sales"},
            {"op": "add", "path": f"{E}:department", "value": "Sales"},
            ["unqualified_enterprise"],
        ),
        (
            {"op": "add", "path": "roles", "value": [{"value": '{"id":"1","value":"A","displayName":"An A"}'}]},
            {"op": "add", "path": "roles", "value": [{"value": "A", "display": "An A"}]},
            ["json_in_text"],
        ),
        (
            {"op": "add", "path": "roles", "value": [{"value": "A", "primary": "True"}]},
            {"op": "add", "path": "roles", "value": [{"value": "A", "primary": True}]},
            ["boolean_as_text"],
        ),
        (
            {"op": "add", "path": "extensionAttribute1", "value": "x"},
            {"op": "add", "path": "extensionAttribute1", "value": "x"},
            ["unknown_attribute"],
        ),
    ],
)
def test_an_operation_becomes_what_it_means(operation, rewritten, quirks):
    assert patched(operation) == ([rewritten], quirks)


@pytest.mark.parametrize(
    ("operation", "quirks"),
    [
        ({"op": "remove", "path": 'manager[value eq "usr_1"]'}, ["unqualified_enterprise", "manager_as_id"]),
        ({"op": "remove", "path": f'{MANAGER}[value eq "usr_1"]'}, ["manager_as_id"]),
        ({"op": "remove", "path": MANAGER, "value": [{"value": "usr_1"}]}, ["remove_by_value", "manager_as_id"]),
        ({"op": "remove", "path": MANAGER, "value": "usr_1"}, ["remove_by_value", "manager_as_id"]),
        ({"op": "remove", "path": MANAGER, "value": None}, []),
    ],
)
def test_a_manager_is_taken_away_however_it_is_said(operation, quirks):
    assert patched(operation) == ([{"op": "remove", "path": MANAGER}], quirks)


@pytest.mark.parametrize(
    "removed", [{"path": f'{MANAGER}[value eq "usr_1"]'}, {"path": MANAGER, "value": [{"value": "usr_1"}]}]
)
def test_taking_the_old_manager_away_leaves_the_new_one(removed):
    made, removed = {"op": "add", "path": MANAGER, "value": {"value": "usr_2"}}, {"op": "remove", **removed}
    assert patched(made, removed)[0] == [made]
    assert patched(removed, made)[0] == [made]
    same = {"op": "add", "path": MANAGER, "value": {"value": "usr_1"}}
    assert patched(same, removed)[0] == [same, {"op": "remove", "path": MANAGER}]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("title", "Boss"),
        ("name", {"givenName": "Ann"}),
        ("name.givenName", "Ann"),
        ('phoneNumbers[type eq "work"].value', "+4687654321"),
        ('phoneNumbers[type eq "work"]', ""),
    ],
)
def test_a_removal_whose_path_says_it_all_needs_no_value(path, value):
    quirks = ["remove_by_value"] if value else []
    assert patched({"op": "remove", "path": path, "value": value})[0] == [{"op": "remove", "path": path}]
    assert [each for each in patched({"op": "remove", "path": path, "value": value})[1] if each in quirks] == quirks


def test_of_several_values_the_named_one_goes():
    operation = {"op": "remove", "path": "phoneNumbers", "value": [{"type": "work", "value": "+4687654321"}]}
    assert patched(operation) == ([operation], ["remove_by_value"])


def test_a_role_that_only_looks_like_json_stays():
    operation = {"op": "add", "path": "roles", "value": [{"value": "{not json"}, {"value": "{}"}, {"value": '{"a":1}'}]}
    assert patched(operation) == ([operation], [])


def test_a_group_has_no_manager_to_rewrite():
    operation = {"op": "add", "path": "members", "value": [{"$ref": None, "value": "usr_1"}]}
    assert patched(operation, kind="Group") == ([operation], [])


def test_a_user_of_the_older_shape_becomes_a_plain_one():
    body, quirks = created(
        schemas=[schemas.USER_SCHEMA, MISSPELT], userName="ann", department="Sales", manager=None, active="True"
    )
    assert body == {"schemas": [schemas.USER_SCHEMA, E], "userName": "ann", "active": True, E: {"department": "Sales"}}
    assert quirks == ["misspelt_enterprise_urn", "unqualified_enterprise", "boolean_as_text"]


def test_a_foreign_schema_of_a_group_is_left_out():
    foreign = "http://schemas.example.org/2.0/Group"
    body, quirks = created("Group", schemas=[schemas.GROUP_SCHEMA, foreign], displayName="Board")
    assert (body["schemas"], quirks) == ([schemas.GROUP_SCHEMA], ["foreign_schema"])


def test_a_body_with_foreign_schemas_alone_is_left_to_be_refused():
    body, _ = created(schemas=["urn:example:thing"], userName="ann")
    assert body["schemas"] == ["urn:example:thing"]


def test_members_as_bare_ids_become_members():
    bare = {"displayName": "a", "members": ["usr_1", {"value": "usr_2"}, "", None]}
    notes = Notes()
    members = [{"value": "usr_1"}, {"value": "usr_2"}, "", None]
    assert tolerate_resource("Group", bare, notes.quirk)["members"] == members
    assert "bare_member_id" in notes.quirks
    assert tolerate_resource("Group", {"members": "usr_1"}, notes.quirk)["members"] == [{"value": "usr_1"}]


def test_a_group_without_a_name_is_called_by_its_group_id():
    assert created("Group", externalId="SCHOOL-01")[0]["displayName"] == "SCHOOL-01"
    assert created("Group", externalId="SCHOOL-01", displayName="")[0]["displayName"] == "SCHOOL-01"
    assert created("Group", externalId="SCHOOL-01", displayName="School")[0]["displayName"] == "School"


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ('id eq "a" and manager eq "b"', f'id eq "a" and {MANAGER}.value eq "b"'),
        (f'{MANAGER} eq "b"', f'{MANAGER}.value eq "b"'),
        (f'{MISSPELT}:department eq "b"', f'{E}:department eq "b"'),
        ("not (department pr)", f"not ({E}:department pr)"),
    ],
)
def test_a_filter_becomes_what_it_means(text, rewritten):
    assert tolerate_filter("User", text, Notes().quirk) == rewritten


@pytest.mark.parametrize("text", ['userName eq "a"', 'emails[type eq "work"].value eq "a"', "manager eq", "((", ""])
def test_other_filters_stay_as_they_are(text):
    assert tolerate_filter("User", text, Notes().quirk) == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5) | st.sampled_from(["True", '{"value":1}', ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "op",
                    "Op",
                    "path",
                    "value",
                    "members",
                    "manager",
                    "roles",
                    "active",
                    "schemas",
                    E,
                    MANAGER,
                    "name",
                    "emails",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@example(body={"manager": [[]]}, kind="User")
@given(body=JSON, kind=st.sampled_from(["User", "Group"]))
def test_nothing_that_comes_makes_it_stumble_and_once_is_enough(body, kind):
    notes = Notes()
    once = tolerate_resource(kind, body, notes.quirk)
    assert tolerate_resource(kind, once, notes.quirk) == once
    patch = {"Operations": body}
    once = tolerate_patch(kind, patch, notes.quirk)
    assert tolerate_patch(kind, once, notes.quirk) == once
    assert notes.quirks.keys() <= QUIRKS.keys()


@pytest.mark.parametrize(
    ("said", "plain", "quirk"),
    [
        ('active eq "True"', "active eq true", "boolean_as_text"),
        ('title pr and active ne "0"', "title pr and active ne false", "boolean_as_word"),
        ("active eq 1", "active eq true", "boolean_as_word"),
    ],
)
def test_true_and_false_are_words_in_filters_too(said, plain, quirk):
    notes = Notes()
    assert tolerate_filter("User", said, notes.quirk) == plain
    assert list(notes.quirks) == [quirk]


def test_a_path_as_a_name_in_a_new_user_is_told_to_be_ignored():
    for name in ("name.givenName", f"{E}:department", 'emails[type eq "work"].value'):
        assert created(schemas=["urn:ietf:params:scim:schemas:core:2.0:User"], **{name: "x"})[1] == [
            "unknown_attribute"
        ]


def test_a_part_that_no_schema_has_is_told_to_be_ignored():
    assert patched({"op": "replace", "path": "name", "value": {"nickName": "A"}})[1] == ["unknown_attribute"]
    assert patched({"op": "add", "path": "emails", "value": [{"address": "a@example.org"}]})[1] == ["unknown_attribute"]
    assert patched({"op": "add", "path": MANAGER, "value": {"managerId": "1"}})[1] == ["unknown_attribute"]
