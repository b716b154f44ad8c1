"""What every mail looks like, approved by people: text and HTML as files, and pictures of the HTML.

python -m tests.unit.notifier.approved            write text and HTML anew
python -m tests.unit.notifier.approved pictures   write the pictures, too; look at them before you commit them
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image, ImageChops, ImageFilter, ImageStat

from services.notifier.mail import STANDARD, Mail, without_link
from services.notifier.samples import samples
from services.notifier.words import LANGUAGES

FOLDER = Path(__file__).parent / "approved"
DESKTOP, PHONE = "desktop", "phone"
LOOKS = {DESKTOP: (720, "light"), PHONE: (375, "dark")}
"""Width in pixels and colours. English is pictured on a desktop, Swedish on a phone at night."""
LOOK_OF = {"en": DESKTOP, "sv": PHONE}

_COLOURS = 64
_MOST_DIFFERENT = 12.0
"""Mean difference of blurred pictures, of 255, in any strip: fonts differ a little between machines, layouts do not."""
_STRIP = 64


def mails() -> Iterator[tuple[str, str, Mail]]:
    """Give language, name and mail of every sample."""
    for language in LANGUAGES:
        for sample in samples(language=language):
            yield language, sample.name, sample.render(STANDARD)


def text_of(mail: Mail) -> str:
    """Write the mail as it is approved: subject, text, and the name of its attachment."""
    attached = f"\n[{mail.attachment_name}]\n{mail.attachment.decode('utf-8-sig')}" if mail.attachment else ""
    return f"Subject: {mail.subject}\n\n{without_link(mail.text)}{attached}".replace("\r\n", "\n")


def chromium() -> str:
    """Find the browser; AssertionError says how to come by it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no chromium here: install it (Debian: apt-get install chromium fonts-dejavu-core)"
    return found


@contextmanager
def a_browser() -> Iterator[Any]:
    """Run one headless browser."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only for pictures

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--font-render-hinting=none"]
        )
        yield browser
        browser.close()


def picture_of(browser: Any, html: str, look: str) -> Image.Image:
    """Picture a mail's HTML whole."""
    width, colours = LOOKS[look]
    page = browser.new_page(viewport={"width": width, "height": 400}, color_scheme=colours, java_script_enabled=False)
    page.set_content(html)
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    page.close()
    return picture.convert("RGB")


def difference(one: Image.Image, other: Image.Image) -> str:
    """Say how two pictures differ more than fonts of two machines do; empty when they do not."""
    if one.width != other.width or abs(one.height - other.height) > max(48, other.height // 20):
        return f"{one.size} instead of {other.size}"
    height = min(one.height, other.height)
    blurred = [
        picture.convert("RGB").crop((0, 0, one.width, height)).filter(ImageFilter.BoxBlur(8))
        for picture in (one, other)
    ]
    apart = ImageChops.difference(*blurred)
    for top in range(0, height, _STRIP):
        strip = apart.crop((0, top, one.width, min(top + _STRIP, height)))
        mean = max(ImageStat.Stat(strip).mean)
        if mean > _MOST_DIFFERENT:
            return f"differs by {mean:.1f} at {top} px from the top"
    return ""


def _write(*, pictures: bool) -> None:
    for language, name, mail in mails():
        folder = FOLDER / language
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text_of(mail), "utf-8")
        (folder / f"{name}.html").write_text(without_link(mail.html), "utf-8")
    if pictures:
        with a_browser() as browser:
            for language, name, mail in mails():
                look = LOOK_OF[language]
                picture = picture_of(browser, without_link(mail.html), look)
                few = picture.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE)
                few.save(FOLDER / language / f"{name}.{look}.png", optimize=True)


if __name__ == "__main__":
    _write(pictures="pictures" in sys.argv[1:])
