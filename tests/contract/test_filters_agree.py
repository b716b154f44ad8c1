"""Whatever a filter asks, the directory's SQL finds whom scim2-models' own evaluator would, on both databases."""

from __future__ import annotations

import asyncio
import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from muster.runtime.client import open_aio_channel
from scim2_models import InvalidFilterException, ScimFilter, SearchRequest
from scim2_models.path import (
    AttrPath,
    CompareOperator,
    Comparison,
    LogicalExpr,
    LogicalOperator,
    Not,
    Present,
    ValuePath,
)

from services.scim_gateway import schemas
from services.scim_gateway.storage import DirectoryStorage
from tests.integration.directory.serving import Office

ENTERPRISE = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
WORDS = [
    "",
    "a",
    "A",
    "ann",
    "ANN",
    "Å",
    "å",
    "ß",
    "SS",
    "İ",
    "work",
    "home",
    "%",
    "_",
    "an",
    "\\",
    '"',
    "é",
    "é",
    "😀",
]
PEOPLE = [
    {"userName": "ann", "title": "A", "active": True, "emails": [{"value": "Ann@x.example", "type": "work"}]},
    {"userName": "Åke", "title": "ß", "active": False, "name": {"givenName": "Åke"}, "nickName": "é"},
    {
        "userName": "%_\\",
        "title": "SS",
        "emails": [
            {"value": "a@home.example", "type": "home", "primary": True},
            {"value": "A@work.example", "type": "work", "display": "%"},
            {"value": "nobody@x.example"},
        ],
        "photos": [{"value": "https://example.org/A", "type": "photo"}, {"value": "https://example.org/a"}],
    },
    {"userName": "😀", "nickName": "İ", ENTERPRISE: {"employeeNumber": "A", "manager": {"value": "å"}}},
    {"userName": 'quote"d', "displayName": "É", "externalId": "Ann", "locale": "sv-SE"},
]
SINGLE = ["userName", "title", "nickName", "displayName", "locale", "externalId", "name.givenName"]
SINGLE += [f"{ENTERPRISE}:employeeNumber", f"{ENTERPRISE}:manager.value"]
SEVERAL = ["emails", "emails.value", "emails.type", "emails.display", "photos.value", "photos.type"]
EQUALITY = [CompareOperator.eq, CompareOperator.ne]

pytestmark = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning")


def path(text: str) -> AttrPath:
    uri, _, rest = text.rpartition(":")
    attr, _, sub = rest.partition(".")
    return AttrPath(attr, sub or None, uri or None)


words = st.sampled_from(WORDS) | st.text(string.printable.strip(), max_size=3)
texts = st.builds(
    Comparison,
    st.sampled_from([*SINGLE, *SEVERAL]).map(path),
    st.sampled_from(list(CompareOperator)),
    words,
)
nulls = st.builds(Comparison, st.sampled_from([*SINGLE, *SEVERAL]).map(path), st.sampled_from(EQUALITY), st.none())
truths = st.builds(
    Comparison, st.sampled_from(["active", "emails.primary"]).map(path), st.sampled_from(EQUALITY), st.booleans()
)
presences = st.builds(Present, st.sampled_from([*SINGLE, *SEVERAL, "active", "name", "emails.primary"]).map(path))


def joined(children):
    several = st.lists(children, min_size=2, max_size=3).map(tuple)
    return st.builds(LogicalExpr, op=st.sampled_from(list(LogicalOperator)), terms=several) | st.builds(Not, children)


inside = st.recursive(
    st.builds(
        Comparison,
        st.sampled_from(["value", "type", "display"]).map(path),
        st.sampled_from(list(CompareOperator)),
        words,
    )
    | st.builds(Present, st.sampled_from(["value", "type", "primary"]).map(path)),
    joined,
    max_leaves=3,
)
selections = st.builds(ValuePath, st.sampled_from(["emails", "photos"]).map(path), inside)
filters = st.recursive(texts | nulls | truths | presences | selections, joined, max_leaves=5)


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as loop:
        yield loop


@pytest.fixture(scope="module")
def searched(directory, support, runner):
    """Ask the directory; gives everybody as stored, and a function that searches."""
    office = Office(support, seats=20)
    key = office.api_key(office.scim_source().name).secret
    users, model = schemas.resource_type(schemas.USER), schemas.model(schemas.USER)

    async def opened():
        channel = open_aio_channel(directory.target)
        storage = DirectoryStorage(channel, key)
        with schemas.provider():
            for person in PEOPLE:
                await storage.create(users, model.model_validate(person))
            everybody = await storage.search([users], SearchRequest[model]())
        return channel, everybody.resources

    channel, everybody = runner.run(opened())

    async def search(text):
        storage = DirectoryStorage(channel, key)  # a request has little time
        with schemas.provider():
            page = await storage.search([users], SearchRequest[model](filter=text, count=100))
        assert page.total == len(page.resources)
        return {str(found.user_name) for found in page.resources}

    yield everybody, lambda text: runner.run(search(text))
    runner.run(channel.close())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tree=filters)
def test_a_filter_finds_whom_the_evaluator_finds(searched, tree):
    everybody, search = searched
    model = schemas.model(schemas.USER)
    with schemas.provider():
        try:
            bound = ScimFilter[model](tree)
        except InvalidFilterException:
            return  # an order of truth values, say: refused before anybody is asked
        expected = {str(person.user_name) for person in everybody if bound.match(person)}
    assert search(str(bound)) == expected
