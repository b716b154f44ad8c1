"""Every sentence in which the directory gives a limit's figures is said in the reader's language."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from services.directory.roster.limits import LimitInput, first_limit_passed, too_many_rejects
from services.directory.roster.planner import Plan
from services.directory.roster.reach import GroupChange, Reach
from services.directory.roster.shape import Shape, Shapes
from services.notifier.figures import said
from services.notifier.words import words_in

GROUPS = tuple(GroupChange(number, name, 31, 4) for number, name in enumerate(('=Crew "A".', "B", "C", "D", "E")))
BEFORE = Shape(2_000, {"TelephoneNumber": 1_950}, {"x.example": 1_900})
PLAN = Plan(
    counts={"deleted": 412, "rekeyed": 500, "taken_over": 700, "created": 2_001, "rows": 900, "rejected": 899},
    hash="",
    mail_changes=600,
    users_owned=1_622,
    deletions_left_out_before=1,
    administrators_taken_over=1,
    membership_removals=[('=Crew "A".', 20, 30)],
    reach=Reach(),
    shapes=Shapes(BEFORE, Shape(2_000, {"TelephoneNumber": 12}, {"x.example": 3}), GROUPS),
)
GIVEN = LimitInput(
    limits={"create": {"floor": 100, "percent": 50}},
    is_first_applied=False,
    newest_timestamp=datetime(2026, 3, 1, tzinfo=UTC),
    last_applied_timestamp=datetime(2026, 3, 2, tzinfo=UTC),
)


@pytest.fixture
def message():
    held, refused = first_limit_passed(PLAN, GIVEN), too_many_rejects(PLAN, GIVEN)
    return f"{held.message} {refused.message}"


def test_every_limits_sentence_is_said_in_swedish_with_its_figures(message):
    swedish = said(message, words_in("sv"))
    assert not re.findall(r"\b(the|would|people|rows|where|more)\b", swedish, re.IGNORECASE)
    assert "412 av 1\N{NO-BREAK SPACE}622 personer skulle tas bort." in swedish
    assert '20 av 30 personer skulle lämna gruppen ”\'=Crew "A".”.' in swedish
    assert "12 av 2\N{NO-BREAK SPACE}000 personer skulle ha ett värde i TelephoneNumber" in swedish
    assert 'Gruppen ”\'=Crew "A".” skulle minska från 31 personer till 4.' in swedish
    assert "Det skulle även 2 grupper till." in swedish
    assert swedish.endswith("899 av 900 rader kan inte användas; hela filen avvisades.")
    assert "2026-03-01 00:00 UTC" in swedish
    numbers = [re.findall(r"\d+", re.sub(r"(?<=\d)[,\xa0](?=\d)", "", text)) for text in (message, swedish)]
    assert numbers[0] == numbers[1]


def test_in_english_the_sentences_keep_their_sense(message):
    english = said(message, words_in("en"))
    assert "1 person whose deletion was left out before would be deleted. 412 of 1,622 people" in english
    assert "1 administrator would be taken over." in english


def test_a_sentence_that_is_no_limits_stays_as_it_is():
    for text in ("", "The file ends in row 812.", "Not shown when it was approved, so look at it again: Ada."):
        assert said(text, words_in("sv")) == text
    mixed = "5 administrators would be taken over. The sun is restless."
    assert said(mixed, words_in("sv")) == "5 administratörer skulle tas över. The sun is restless."
