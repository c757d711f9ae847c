"""HTML as Markdown that a model can read: what a visitor sees, with absolute links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from actloop.errors import MissingExtraError

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_INDENTING = frozenset({"blockquote", "ul", "ol", "table", "dl"})
_DEEPEST = 100
"""Levels of nesting that are kept: the converter calls itself for each."""
_DEEPEST_INDENTED = 10
"""Levels of lists, quotations and tables: each goes over all the text within it again."""
_MOST_TAGS = 60_000
_MOST_HEAD_ROWS = 20
_MAIN_SHARE = 0.3
"""Share of the page's text from which on the part that calls itself the main one is taken for the page."""


def to_markdown(html: str, url: str = "", *, main_content: bool = True) -> str:
    """The readable text of a page, as Markdown.

    Args:
        html: The page; what comes after its first 60,000 tags is left out.
        url: Where it is from; links are made absolute against it.
        main_content: Leave out navigation and the like, where the page says which part is the main one.

    Raises:
        MissingExtraError: The packages are not installed.
    """
    try:
        from bs4 import BeautifulSoup, FeatureNotFound

        from actloop.tools.web.converter import PageConverter
    except ImportError as error:
        raise MissingExtraError(error.name or "markdownify", "web", "Reading web pages") from error

    if "<" not in html:
        return html.strip()
    html = re.sub(r"\A\s*<\?xml[^>]{0,200}>", "", _beginning(html))  # else it is warned of as XML
    try:
        # Python's own HTML parser takes minutes for a few hundred kilobytes of unclosed tags.
        soup = BeautifulSoup(html, "lxml")
    except FeatureNotFound as error:
        raise MissingExtraError("lxml", "web", "Reading web pages") from error
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    base = _base(soup, url)
    content = _main_part(soup) if main_content else soup
    _flatten(content)
    text = PageConverter(base).convert_soup(content)
    text = "\n".join(line.rstrip() for line in text.replace("\xa0", " ").split("\n")).strip()
    text = re.sub(r"\n{3,}", "\n\n", text)
    if title and content.find("h1") is None:
        return f"# {title}\n\n{text}".strip()
    return text


def _beginning(html: str) -> str:
    """A page's first tags: the time for a page grows faster than the number of its elements."""
    end = -1
    for _ in range(_MOST_TAGS):
        end = html.find("<", end + 1)
        if end < 0:
            return html
    return html[:end]


def _base(soup: BeautifulSoup, url: str) -> str:
    """What relative links are relative to."""
    tag = soup.find("base", href=True)
    if tag is None:
        return url
    try:
        joined = urljoin(url, str(tag["href"]))
    except ValueError:
        return url
    return joined if joined.startswith(("http://", "https://")) else url


def _main_part(soup: BeautifulSoup) -> Tag:
    """The part that the page calls its main one, or all of it."""
    found = soup.find_all("main") or soup.find_all(role="main") or soup.find_all("article")
    if len(found) != 1:
        return soup
    whole = len(soup.get_text(strip=True))
    return found[0] if len(found[0].get_text(strip=True)) >= whole * _MAIN_SHARE else soup


def _flatten(content: Tag) -> None:
    """Take away nesting that no page needs, and that would cost the converter its stack or its time."""
    from bs4 import Tag

    waiting: list[tuple[Tag, int, int]] = [(content, 0, 0)]
    while waiting:
        tag, depth, indented = waiting.pop()
        indented += tag.name in _INDENTING
        if tag.name == "thead" and len(tag.contents) > _MOST_HEAD_ROWS:
            tag.name = "tbody"  # the converter counts all of its rows for each of them
        if depth >= _DEEPEST or indented > _DEEPEST_INDENTED:
            tag.string = " ".join(tag.stripped_strings)
        else:
            waiting.extend((child, depth + 1, indented) for child in tag.children if isinstance(child, Tag))
