"""The choice of what stands under the tests: never made in silence, and strict in CI."""

import pytest

from tests.stack.choice import Kind, NoContainersError, choose


def an_engine() -> str:
    return "Docker Engine 26"


def no_engine() -> str:
    raise NoContainersError("no container engine answers")


def test_containers_are_used_where_an_engine_answers():
    choice = choose({}, an_engine)

    assert choice.kind is Kind.CONTAINERS
    assert str(choice) == "stack: containers (Docker Engine 26; postgres:17, atmoz/sftp:debian)"


def test_processes_are_used_where_no_engine_answers_and_the_header_says_why():
    choice = choose({}, no_engine)

    assert choice.kind is Kind.PROCESSES
    assert str(choice).startswith("stack: processes (no container engine answers;")


def test_the_variable_decides_where_both_are_to_be_had():
    assert choose({"MUSTER_STACK": "processes"}, an_engine).kind is Kind.PROCESSES
    assert choose({"MUSTER_STACK": "containers"}, an_engine).kind is Kind.CONTAINERS


@pytest.mark.parametrize(
    "environ",
    [{"CI": "true"}, {"MUSTER_STACK": "containers"}, {"CI": "true", "MUSTER_STACK": "processes"}],
    ids=["in CI", "asked for containers", "asked for processes in CI"],
)
def test_without_containers_it_fails_in_ci_and_where_they_were_asked_for(environ):
    with pytest.raises(NoContainersError):
        choose(environ, no_engine)


def test_a_misspelt_variable_is_an_error():
    with pytest.raises(NoContainersError, match="MUSTER_STACK=container is neither"):
        choose({"MUSTER_STACK": "container"}, an_engine)
