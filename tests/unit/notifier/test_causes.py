"""Every sentence of another service that stands in a report is said in the reader's language; a new one fails here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from services.directory.operations import claims, imports
from services.directory.roster.plan_changes import describe_fresh
from services.importer import errors, vocabulary
from services.notifier import causes
from services.notifier.figures import said
from services.notifier.marks import unmarked, without_person
from services.notifier.words import words_in

ROOT = Path(__file__).parents[3]
ENGLISH = re.compile(r"\b(the|is|would|was|of|and|people|rows|not|changed)\b", re.IGNORECASE)

NOT_SHOWN = "Not shown when it was approved, so look at it again: {}."
SENTENCES = {
    "'The staged rows were lost.'": ["The staged rows were lost. Nothing was changed."],
    "'The directory met a fault.'": ["The directory met a fault. Nothing was changed."],
    "'The staged rows were lost before they could be planned; nothing was changed. Run it again.'": [
        "The staged rows were lost before they could be planned; nothing was changed. Run it again."
    ],
    "f'Not shown when it was approved, so look at it again: {plan_changes.describe_fresh(fresh)}.'": [
        NOT_SHOWN.format(describe_fresh(keys)) for keys in (["A1"], ["A1", "A2"], [f"A{n}" for n in range(2_000)])
    ],
    "f'The importer stopped in the middle; nothing was changed. {_CURE[bool(run.claim_id)]}'": [
        f"The importer stopped in the middle; nothing was changed. {cure}" for cure in imports._CURE.values()
    ],
    "_GIVEN_UP": [claims._GIVEN_UP],
}
"""What ends a run with which message, as the directory's code has it, and how that reads."""
ELSEWHERE = {
    "f'{message} Nothing was changed.'": "import_applies, whose messages stand above",
    "message": "a limit's (test_figures), the importer's own, an undo's not shown, or of an ending that is not mailed",
    "error.message": "an undo that was refused, which who asked for it sees at once: not mailed",
    "'Discarded.'": "not mailed",
    "'A newer file came before anyone decided.'": "not mailed",
    "''": "none",
}


def _messages():
    """Every message with which the directory's code ends a run."""
    for path in sorted((ROOT / "services/directory").rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") in {"end_run", "_end_failed"}:
                yield from (ast.unparse(given.value) for given in call.keywords if given.arg == "message")


def test_no_message_of_a_run_is_left_out_here():
    assert set(_messages()) == SENTENCES.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("message", [each for sentences in SENTENCES.values() for each in sentences])
def test_the_directorys_sentences_are_said_in_swedish_or_by_the_reason(message):
    swedish = said(message, words_in("sv"))
    assert bool(swedish) != causes.is_said_anyhow(message)
    assert not ENGLISH.search(swedish)


def _limits_sentences():
    """Every sentence with a limit's figures, as the directory's code writes it, with 7 in each blank."""
    for name in ("limits", "shape"):
        for text in ast.walk(ast.parse((ROOT / f"services/directory/roster/{name}.py").read_text("utf-8"))):
            if isinstance(text, ast.JoinedStr):
                pieces = (str(piece.value) if isinstance(piece, ast.Constant) else "7" for piece in text.values)
                sentence = "".join(pieces).replace(", 7 UTC,", ", 2026-03-01 02:00 UTC,")
                if sentence.endswith("."):
                    yield re.sub("^7 would be taken over", "7 administrators would be taken over", sentence)


def test_every_sentence_of_the_limits_is_said_in_swedish():
    sentences = list(_limits_sentences())
    assert len(sentences) > 10
    assert [text for text in sentences if ENGLISH.search(said(text, words_in("sv")))] == []


def _ends():
    """Every word with which the importer ends a run."""
    waiting = [errors.RunEndedError]
    for kind in waiting:
        waiting += kind.__subclasses__()
        if "word" in vars(kind):
            yield kind.word


@pytest.mark.parametrize("word", sorted(set(_ends())))
def test_the_importers_sentence_for_a_word_is_not_said_twice(word):
    detail = ":Mail" if "{detail}" in vocabulary._SENTENCES[word] else ""
    assert said(vocabulary.sentence(f"{word}{detail}"), words_in("sv")) == ""


@pytest.mark.parametrize("name", vocabulary._CAUSES)
def test_the_importers_causes_are_said_in_swedish_with_their_values(name):
    blanks = dict.fromkeys(re.findall(r"{(\w+)}", vocabulary._CAUSES[name]))
    facts = {blank: f"v{position}.x" for position, blank in enumerate(blanks)}
    message = vocabulary.cause(name, **facts)
    swedish = said(message, words_in("sv"))
    assert swedish
    assert not ENGLISH.search(swedish)
    assert all(value in swedish for value in facts.values())
    assert said(message, words_in("en")) == message


def test_keys_of_people_in_a_message_can_be_taken_out_and_are_no_formula():
    message = NOT_SHOWN.format(describe_fresh(["=1+1@x.example", "A2"]))
    swedish = said(message, words_in("sv"))
    assert unmarked(swedish).endswith("ändringar av 2 personer ('=1+1@x.example, A2).")
    assert without_person(swedish, "tenants/t/users/u").endswith("(…).")
