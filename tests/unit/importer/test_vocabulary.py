"""Every word that the importer says has a sentence with the cure."""

from __future__ import annotations

import pytest

from services.importer import errors, vocabulary


def every_end(kind=errors.RunEndedError):
    for child in kind.__subclasses__():
        if hasattr(child, "word"):
            yield child
        yield from every_end(child)


@pytest.mark.parametrize("ended", list(every_end()), ids=lambda ended: ended.word)
def test_each_way_to_end_a_run_has_its_sentence(ended):
    assert vocabulary.sentence(ended.word)


@pytest.mark.parametrize("word", vocabulary._SENTENCES)
def test_each_sentence_takes_its_detail_and_column(word):
    text = vocabulary.sentence(f"{word}:Title", "Title")
    assert text.endswith(".")
    assert "{" not in text
