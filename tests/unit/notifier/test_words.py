"""Both languages have the same texts, and every word of the vocabulary has one."""

from __future__ import annotations

import re
import string
import tomllib

import pytest

from services.directory.rules.activity import KEY_TROUBLES
from services.notifier.report_data import Outcome
from services.notifier.words import LANGUAGES, TEMPLATES, words_in
from services.scim_gateway.problems import PROBLEMS

REASONS = """unstable_file truncated empty_file too_large too_many_rejects encoding_invalid duplicate_header
    missing_column no_header host_key_missing host_key_changed older_than_last delete_limit mail_change_limit
    takeover_limit membership_limit create_limit admin_takeover rekey_limit shape_alarm connection_failed login_failed
    fetch_failed stage_lost interrupted internal"""
REJECTIONS = """id_missing id_length id_damaged duplicate_id mail_missing mail_invalid mail_mixed_script duplicate_mail
    mail_taken name_missing field_too_long control_character column_count encoding_invalid owned_by_other_source"""
WARNINGS = """encoding_guessed header_alias unknown_column stale_export apostrophe_removed invisible_removed
    duplicate_identical duplicate_merged control_character bidi_control_removed field_too_long phone_national
    phone_invalid skip_value formula_like taken_over restored rekeyed deferred_license unknown_group no_account
    claim_differs group_out_of_scope"""


def _flat(texts, prefix=""):
    for key, value in texts.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _texts(language):
    return dict(_flat(tomllib.loads((TEMPLATES / f"{language}.toml").read_text("utf-8"))))


def _blanks(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_things_with_the_same_values():
    english, swedish = (_texts(language) for language in LANGUAGES)
    assert english.keys() == swedish.keys()
    assert {key: _blanks(text) for key, text in english.items()} == {key: _blanks(swedish[key]) for key in swedish}


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_the_vocabulary_is_explained_with_a_cure(language):
    words = words_in(language)
    for role, vocabulary in (("reason", REASONS), ("rejected", REJECTIONS), ("warning", WARNINGS)):
        for word in vocabulary.split():
            for part in ("what", "cure"):
                assert words.say(f"{role}.{word}.{part}", detail="X", path="/x", message="x")


def test_every_problem_of_a_connection_is_explained_in_the_words_that_the_command_shows():
    english = words_in("en").texts["problem"]
    shown = {**{word: tuple(problem) for word, problem in PROBLEMS.items()}, **KEY_TROUBLES}
    assert {word: (said["what"], said["cure"]) for word, said in english.items()} == shown


def test_every_text_that_the_templates_ask_for_is_there():
    words = words_in("en")
    for template in (*TEMPLATES.glob("*.html"), *TEMPLATES.glob("*.txt")):
        for asked in re.findall(r'say\(("[a-z._]+"(?: if [a-z_]+ else "[a-z._]+")?)', template.read_text("utf-8")):
            for key in re.findall(r'"([a-z._]+)"', asked):
                assert words.has(key), f"{template.name}: {key}"
    for outcome in Outcome:
        assert words.has(f"headline.{outcome.value}")
        assert words.has(f"status.{outcome.value}")


def test_a_value_is_never_read_as_a_pattern():
    assert words_in("en").say("lead.wrong", text="{0} {text.__class__}") == "What is wrong: {0} {text.__class__}"


def test_one_and_many_are_told_apart_and_numbers_grouped():
    words = words_in("sv")
    assert words.say("subject.rejected", n=1) == "1 rad avvisad"
    assert words.say("subject.rejected", n=12_345) == "12\N{NO-BREAK SPACE}345 rader avvisade"
    assert words_in("en").number(20.0) == "20"
    assert words_in("en").number(12.5) == "12.5"


def test_a_missing_value_is_an_error_and_not_a_blank():
    with pytest.raises(KeyError):
        words_in("en").say("lead.wrong")
