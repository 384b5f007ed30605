"""A page as a browser sees it, and what every page of mien promises."""

from html.parser import HTMLParser

_VOID = ("meta", "img", "br", "circle", "polyline", "line", "image", "rect", "path")


class Page(HTMLParser):
    """Tags with their attributes, and the text, as a browser sees them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def require_self_contained(html: str, links: tuple[str, ...] = ()) -> None:
    """No script, nothing from elsewhere: a page can be mailed, and opened years later.

    `links` are files beside the page that a reader may follow.
    """
    page = Page(html)
    assert page.all("script") == page.all("link") == page.all("iframe") == []
    for _, attributes in page.tags:
        for name, value in attributes.items():
            assert not name.startswith("on"), attributes
            if name in ("src", "href"):
                assert str(value).startswith(("data:image/", "#")) or value in links, attributes
    assert "url(" not in html
    assert "@import" not in html


def require_readable_without_seeing(html: str) -> None:
    """Headings, a language, and a text for every picture."""
    page = Page(html)
    assert page.all("html")[0]["lang"] == "en"
    assert len(page.all("h1")) == 1
    assert len(page.all("h2")) >= 1
    assert all(len(each.get("alt") or "") > 5 for each in page.all("img"))
    assert all(len(each.get("aria-label") or "") > 5 for each in page.all("svg"))
    assert all(each["scope"] for each in page.all("th"))
    assert "prefers-color-scheme: dark" in html
