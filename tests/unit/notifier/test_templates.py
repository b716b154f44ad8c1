"""A vendor's own templates and texts stand in the place of ours; a mistake in them is found at the start."""

from __future__ import annotations

import pytest

from services.notifier.app import check_templates
from services.notifier.mail import STANDARD, Templates
from services.notifier.render import render
from services.notifier.samples import check, samples
from services.notifier.settings import SettingsError
from tests.unit.notifier.reports import a_report
from tests.unit.notifier.running import smtp_settings


def _settings(folder):
    return smtp_settings("localhost", 25, template_dir=folder)


def test_our_own_templates_fill_in_every_language_with_every_sample():
    check(STANDARD)


def test_a_vendors_text_stands_in_the_place_of_ours_and_the_others_stay(tmp_path):
    (tmp_path / "en.toml").write_text('[headline]\napplied = "Well done, {{really}}."\nnothing = "Quiet night."\n')
    templates = Templates(tmp_path)
    assert "Quiet night." in render(a_report(), templates).text
    assert "This run" in render(a_report(), templates).text.replace("THIS RUN", "This run")
    assert "Inget behövde ändras." in render(a_report(language="sv"), templates).text
    assert "Quiet night." not in render(a_report()).text


def test_a_text_with_one_and_many_may_be_replaced_by_one_for_both(tmp_path):
    (tmp_path / "en.toml").write_text('[people]\nmore = "plus {n}"\n')
    assert Templates(tmp_path).words("en").say("people.more", n=1) == "plus 1"


def test_a_vendors_template_stands_in_the_place_of_ours(tmp_path):
    (tmp_path / "letter.html").write_text("<p>{{ headline }}</p><p>{{ tenant_colour | default('blue') }}</p>")
    (sample,) = (sample for sample in samples(language="en") if sample.name == "invitation")
    mail = sample.render(Templates(tmp_path))
    assert mail.html == "<p>You have an account. Choose your password.</p><p>blue</p>"
    assert mail.text == sample.render(STANDARD).text


def test_a_vendors_html_escapes_what_comes_from_outside_as_ours_does(tmp_path):
    (tmp_path / "report.html").write_text("{{ facts }}")
    mail = render(a_report(tenant_name="<script>x</script>"), Templates(tmp_path))
    assert "<script>" not in mail.html


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("letter.html", "{{ nobody_knows }}", "'nobody_knows' is undefined"),
        ("report.txt", "{% if %}", "Expected an expression"),
        ("sv.toml", "[headline\n", "TOMLDecodeError"),
        ("en.toml", '[headline]\nnothing = "{nobody_knows}"\n', "nobody_knows"),
        ("en.toml", '[headline]\nnothing = "{"\n', "ValueError"),
    ],
)
def test_a_mistake_in_a_vendors_templates_ends_the_start_with_its_name(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match="NOTIFIER_TEMPLATE_DIR") as caught:
        check_templates(_settings(tmp_path))
    assert said in str(caught.value)


def test_without_a_folder_nothing_is_checked_and_ours_are_used():
    check_templates(smtp_settings("localhost", 25))
