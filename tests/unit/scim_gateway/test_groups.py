"""Operations on a group's members fold into one change, which ends as the operations one after the other would."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scim2_models import Context, InvalidValueException, PatchOp

from services.scim_gateway import schemas
from services.scim_gateway.groups import NotFoldableError, fold
from services.scim_gateway.notes import Notes

PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
GROUP_MEMBERS = f"{schemas.GROUP_SCHEMA}:members"
PEOPLE = [f"usr_{number}" for number in range(5)]
IDS = st.lists(st.sampled_from(PEOPLE), max_size=3, unique=True)


def folded(*operations):
    return fold(list(operations), Notes().quirk)


def named(ids):
    return [{"value": each} for each in ids]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "add", "path": "members", "value": [{"$ref": None, "value": "usr_1"}]},
        {"op": "add", "path": "members", "value": {"value": "usr_1"}},
        {"op": "add", "path": "Members", "value": [{"value": "usr_1"}]},
        {"op": "add", "path": GROUP_MEMBERS, "value": [{"value": "usr_1", "display": "Ann", "type": "User"}]},
        {"op": "add", "value": {"members": [{"value": "usr_1"}]}},
    ],
)
def test_every_form_of_adding_adds(operation):
    change = folded(operation)
    assert list(change.add) == ["usr_1"]
    assert not change.remove
    assert not change.replace
    assert not change.head


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": "members", "value": [{"$ref": None, "value": "usr_1"}]},
        {"op": "remove", "path": "members", "value": {"value": "usr_1"}},
        {"op": "remove", "path": 'members[value eq "usr_1"]'},
        {"op": "remove", "path": f'{GROUP_MEMBERS}[ VALUE EQ "usr_1" ]'},
        {"op": "remove", "path": 'members[value eq "usr_1"]', "value": []},
        {"op": "remove", "path": 'members[value eq "usr_1"]', "value": [{"value": "usr_1"}]},
    ],
)
def test_every_form_of_removing_one_removes_that_one_alone(operation):
    change = folded(operation)
    assert list(change.remove) == ["usr_1"]
    assert not change.add
    assert not change.replace


def test_several_are_removed_by_or():
    change = folded({"op": "remove", "path": 'members[value eq "usr_1" or value eq "usr_2"]'})
    assert list(change.remove) == ["usr_1", "usr_2"]


def test_an_empty_list_to_remove_removes_nobody():
    assert not folded({"op": "remove", "path": "members", "value": []}).touches_members


def test_removing_members_as_such_removes_all():
    change = folded({"op": "remove", "path": "members"})
    assert change.replace
    assert not change.add


def test_a_rename_with_an_id_is_a_rename():
    change = folded({"op": "replace", "value": {"id": "grp_1", "displayName": "New", "schemas": []}})
    assert change.head == [{"op": "replace", "value": {"displayName": "New"}}]
    assert not change.touches_members


def test_head_and_members_in_one_operation_are_told_apart():
    change = folded({"op": "replace", "value": {"displayName": "New", "members": named(["usr_1"])}})
    assert change.head == [{"op": "replace", "value": {"displayName": "New"}}]
    assert change.replace
    assert list(change.add) == ["usr_1"]


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "remove", "path": 'members[type eq "User"]'},
        {"op": "remove", "path": 'members[value eq "usr_1" and type eq "User"]'},
        {"op": "remove", "path": 'members[value ne "usr_1"]'},
        {"op": "remove", "path": 'members[value eq "usr_1"]', "value": [{"value": "usr_2"}]},
        {"op": "remove", "path": "members.value"},
        {"op": "replace", "path": 'members[value eq "usr_1"].display', "value": "x"},
        {"op": "remove", "path": "members["},
        {"op": "remove"},
        {"op": "move", "path": "members"},
        "add",
    ],
)
def test_what_needs_the_members_at_hand_is_left_to_the_long_way(operation):
    with pytest.raises(NotFoldableError):
        folded(operation)


@pytest.mark.parametrize("value", [None, [{}], [{"value": None}], [7], ["usr_1"], [{"display": "Ann"}]])
def test_a_member_without_an_id_is_refused(value):
    with pytest.raises(InvalidValueException):
        folded({"op": "add", "path": "members", "value": value})


OPERATIONS = st.one_of(
    IDS.filter(bool).map(lambda ids: {"op": "add", "path": "members", "value": named(ids)}),
    IDS.map(lambda ids: {"op": "replace", "path": "members", "value": named(ids)}),
    IDS.filter(bool).map(lambda ids: {"op": "remove", "path": "members", "value": named(ids)}),
    st.sampled_from(PEOPLE).map(lambda one: {"op": "remove", "path": f'members[value eq "{one}"]'}),
    st.just({"op": "remove", "path": "members"}),
    IDS.map(lambda ids: {"op": "replace", "value": {"members": named(ids)}}),
)


@given(before=IDS, operations=st.lists(OPERATIONS, min_size=1, max_size=6))
def test_the_end_state_is_that_of_one_operation_after_the_other(before, operations):
    model = schemas.model("Group")
    with schemas.provider():
        group = model.model_validate({"displayName": "a", "members": named(before)})
        patch_type = PatchOp[model]
        patch = patch_type.model_validate(
            {"schemas": [PATCH], "Operations": operations}, scim_ctx=Context.RESOURCE_PATCH_REQUEST
        )
        patch.patch(group)
    expected = {member.value for member in group.members or []}

    change = folded(*operations)
    kept = set() if change.replace else set(before) - change.remove.keys()
    assert kept | change.add.keys() == expected
