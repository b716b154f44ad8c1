"""Every mail, in both languages, is as somebody has approved it: text, HTML, and how the HTML looks in a browser."""

from __future__ import annotations

import re

import pytest
from PIL import Image

from services.notifier.marks import readable
from services.notifier.messages import MessageKind
from services.notifier.samples import samples
from tests.unit.notifier import approved
from tests.unit.notifier.pages import Page

MAILS = {f"{language}/{name}": mail for language, name, mail in approved.mails()}
AGAIN = "if this is meant: python -m tests.unit.notifier.approved pictures"


@pytest.mark.parametrize("name", MAILS)
def test_a_mail_says_what_was_approved(name):
    text, html = (approved.FOLDER / f"{name}.{ending}" for ending in ("txt", "html"))
    assert approved.text_of(MAILS[name]) == text.read_text("utf-8"), AGAIN
    assert readable(MAILS[name].html) == html.read_text("utf-8"), AGAIN


def test_nothing_is_approved_that_no_mail_is():
    files = {path.relative_to(approved.FOLDER).as_posix() for path in approved.FOLDER.rglob("*.*")}
    looks = {name: approved.LOOK_OF[name.partition("/")[0]] for name in MAILS}
    assert files == {f"{name}.{ending}" for name in MAILS for ending in ("txt", "html", f"{looks[name]}.png")}


def test_every_kind_of_mail_has_a_sample():
    assert {sample.kind for sample in samples(language="en")} == set(MessageKind)


@pytest.mark.parametrize("name", MAILS)
def test_a_mail_can_be_read_by_outlook_by_a_screen_reader_and_at_night(name):
    html = MAILS[name].html
    page = Page(html)
    page.assert_passive()
    tables = [attributes for tag, attributes in page.elements if tag == "table"]
    assert all(table.get("role") == "presentation" or table.get("aria-label") or "<caption" in html for table in tables)
    assert page.elements[[tag for tag, _ in page.elements].index("html")][1]["lang"] == name[:2]
    assert [tag for tag, _ in page.elements if tag == "h1"] == ["h1"]
    assert "prefers-color-scheme: dark" in html
    assert "<!--[if mso]>" in html
    assert "display:flex" not in html
    assert "display:grid" not in html
    assert all(
        attributes.get("href", "").startswith(("https://", "⌈")) for tag, attributes in page.elements if tag == "a"
    )
    assert len(html.encode()) < 100_000  # Gmail cuts what is longer


READ = {"#1f2328": "#ffffff", "#57606a": "#f6f8fa", "#0b57d0": "#ffffff", "#ffffff": "#0b57d0"}
READ_AT_NIGHT = {"#e6edf3": "#161b22", "#9da7b3": "#161b22", "#79b8ff": "#0d1117", "#ffffff": "#2f6feb"}


def _light(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_letters_stand_out_from_what_is_behind_them_by_day_and_night():
    html = MAILS["en/report_held"].html
    by_day, night = html.replace("@media (prefers", "\0").split("\0", 1)
    night, rest = night.split("</style>", 1)
    letters = re.compile(r"(?<![-\w])color: ?(#[0-9a-f]{6})")
    assert {*letters.findall(by_day + rest)} == READ.keys()
    assert {*letters.findall(night)} == READ_AT_NIGHT.keys()
    for letter, behind in [*READ.items(), *READ_AT_NIGHT.items()]:
        assert behind in html
        dark, light = sorted((_light(letter), _light(behind)))
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.2, 1.4.3


@pytest.fixture(scope="module")
def camera():
    with approved.Camera() as running:
        yield running


@pytest.mark.long
@pytest.mark.parametrize("name", MAILS)
def test_a_mail_looks_as_was_approved(name, camera):
    look = approved.LOOK_OF[name.partition("/")[0]]
    with Image.open(approved.FOLDER / f"{name}.{look}.png") as picture:
        seen = camera.picture_of(readable(MAILS[name].html), look)
        assert approved.difference(seen, picture) == "", AGAIN
        assert seen.width == approved.LOOKS[look][0]  # nothing is wider than the window


@pytest.mark.long
def test_another_colour_a_missing_line_and_another_width_would_be_seen(camera):
    html = readable(MAILS["en/report_applied"].html)
    picture = camera.picture_of(html, approved.DESKTOP)
    for other in (
        html.replace("#f6f8fa", "#223344"),
        html.replace("<h1", "<h1 hidden"),
        html.replace("640px", "400px"),
    ):
        assert other != html
        assert approved.difference(camera.picture_of(other, approved.DESKTOP), picture) != ""
