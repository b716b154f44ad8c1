"""Read a mail's HTML as a browser would, and values that would like to be more than text."""

from __future__ import annotations

from html.parser import HTMLParser

HOSTILE = (
    "<script>alert(1)</script>",
    "</title><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "Eve\r\nBcc: everyone@example.org",
    '=HYPERLINK("http://evil.example","x")',
    "\t=1+1",
    "@SUM(A1)",
    "{{ 7 * 7 }} {n} {0.__class__}",
    "abc\u202etxt.exe",
    "\x00\x1b[2J\u2028line",
)


class Page(HTMLParser):
    """Collects elements with their attributes, and text, each piece on a line."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += f"{data}\n"

    def tags(self):
        return {tag for tag, _ in self.elements}

    def assert_passive(self):
        """Nothing runs, and nothing is fetched or sent."""
        assert not self.tags() & {"script", "img", "iframe", "svg", "object", "form"}
        assert not [name for _, attributes in self.elements for name in attributes if name.startswith("on")]
