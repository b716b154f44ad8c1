"""What every mail looks like, approved by people: text and HTML as files, and pictures of the HTML.

python -m tests.unit.notifier.approved            write text and HTML anew
python -m tests.unit.notifier.approved pictures   write the pictures, too; look at them before you commit them
"""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from PIL import Image, ImageChops, ImageStat

from services.notifier.mail import STANDARD, Mail
from services.notifier.marks import readable
from services.notifier.samples import samples
from services.notifier.words import LANGUAGES

FOLDER = Path(__file__).parent / "approved"
DESKTOP, PHONE = "desktop", "phone"
LOOKS: dict[str, tuple[int, Any]] = {DESKTOP: (720, "light"), PHONE: (360, "dark")}
"""Width in pixels and colours. English is pictured on a desktop, Swedish on a phone at night."""
LOOK_OF = {"en": DESKTOP, "sv": PHONE}

_COLOURS = 64
_MOST_DIFFERENT = 12.0
"""Mean difference, of 255, in any strip of pictures made small: fonts differ a little between machines, layouts not."""
_STRIP = 6
_BLUR = 12


def mails() -> Iterator[tuple[str, str, Mail]]:
    """Give language, name and mail of every sample."""
    for language in LANGUAGES:
        for sample in samples(language=language):
            yield language, sample.name, sample.render(STANDARD)


def text_of(mail: Mail) -> str:
    """Write the mail as it is approved: subject, text, and the name of its attachment."""
    attached = f"\n[{mail.attachment_name}]\n{mail.attachment.decode('utf-8-sig')}" if mail.attachment else ""
    return f"Subject: {mail.subject}\n\n{readable(mail.text)}{attached}".replace("\r\n", "\n")


def chromium() -> str:
    """Find the browser; AssertionError says how to come by it."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert found, "no chromium here: install it (Debian: apt-get install chromium fonts-dejavu-core)"
    return found


class Camera:
    """One headless browser, with a page for each look."""

    def __enter__(self) -> Self:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only for pictures

        arguments = ["--no-sandbox", "--font-render-hinting=none"]
        path = chromium()
        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(executable_path=path, args=arguments)
        self._pages: dict[str, Any] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()

    def picture_of(self, html: str, look: str) -> Image.Image:
        """Picture a mail's HTML whole."""
        page = self._pages.get(look) or self._open(look)
        page.set_content(html)
        return Image.open(io.BytesIO(page.screenshot(full_page=True))).convert("RGB")

    def _open(self, look: str) -> Any:
        width, colours = LOOKS[look]
        view: Any = {"width": width, "height": 400}
        page = self._browser.new_page(viewport=view, color_scheme=colours, java_script_enabled=False)
        self._pages[look] = page
        return page


def difference(one: Image.Image, other: Image.Image) -> str:
    """Say how two pictures differ more than fonts of two machines do; empty when they do not."""
    if one.width != other.width or abs(one.height - other.height) > max(48, other.height // 20):
        return f"{one.size} instead of {other.size}"
    height = min(one.height, other.height)
    small = [picture.convert("RGB").crop((0, 0, one.width, height)).reduce(_BLUR) for picture in (one, other)]
    apart = ImageChops.difference(*small)
    for top in range(0, apart.height, _STRIP):
        strip = apart.crop((0, top, apart.width, min(top + _STRIP, apart.height)))
        mean = max(ImageStat.Stat(strip).mean)
        if mean > _MOST_DIFFERENT:
            return f"differs by {mean:.1f} at {top * _BLUR} px from the top"
    return ""


def _write(*, pictures: bool) -> None:
    for language, name, mail in mails():
        folder = FOLDER / language
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.txt").write_text(text_of(mail), "utf-8")
        (folder / f"{name}.html").write_text(readable(mail.html), "utf-8")
    if pictures:
        with Camera() as camera:
            for language, name, mail in mails():
                look = LOOK_OF[language]
                picture = camera.picture_of(readable(mail.html), look)
                few = picture.quantize(_COLOURS, method=Image.Quantize.MAXCOVERAGE)
                few.save(FOLDER / language / f"{name}.{look}.png", optimize=True)


if __name__ == "__main__":
    _write(pictures="pictures" in sys.argv[1:])
