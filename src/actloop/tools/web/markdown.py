"""HTML as Markdown that a model can read: what a visitor sees, with absolute links."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from actloop.errors import MissingExtraError

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

_UNSEEN = (
    "script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "embed", "audio", "video", "head",
    "link", "meta", "select", "textarea", "input", "button", "dialog", "map",
)  # fmt: skip
_HIDING = re.compile(r"(?:^|[;\s])(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_INDENTING = frozenset({"blockquote", "ul", "ol", "table", "dl"})
_DEEPEST = 100
"""Levels of nesting that are kept: the converter calls itself for each."""
_DEEPEST_INDENTED = 10
"""Levels of lists, quotations and tables: each goes over all the text within it again."""
_MAIN_SHARE = 0.3
"""Share of the page's text from which on the part that calls itself the main one is taken for the page."""


def to_markdown(html: str, url: str = "", *, main_content: bool = True) -> str:
    """The readable text of a page, as Markdown.

    Args:
        html: The page.
        url: Where it is from; links are made absolute against it.
        main_content: Leave out navigation and the like, where the page says which part is the main one.

    Raises:
        MissingExtraError: The packages are not installed.
    """
    try:
        from bs4 import BeautifulSoup, FeatureNotFound
        from markdownify import MarkdownConverter
    except ImportError as error:
        raise MissingExtraError(error.name or "markdownify", "web", "Reading web pages") from error

    if "<" not in html:
        return html.strip()
    html = re.sub(r"\A\s*<\?xml[^>]{0,200}>", "", html)  # else it is warned of as XML
    try:
        # Python's own HTML parser takes minutes for a few hundred kilobytes of unclosed tags.
        soup = BeautifulSoup(html, "lxml")
    except FeatureNotFound as error:
        raise MissingExtraError("lxml", "web", "Reading web pages") from error
    title = " ".join(soup.title.get_text().split()) if soup.title else ""
    base = _base(soup, url)
    _drop_unseen(soup)
    content = _main_part(soup) if main_content else soup
    _flatten(content)
    _mend_links(content, base)
    converter: Any = MarkdownConverter(
        heading_style="ATX",
        bullets="-",
        escape_asterisks=False,
        escape_underscores=False,
        table_infer_header=True,
        code_language_callback=_language,
    )
    text: str = converter.convert_soup(content)
    text = re.sub(r"[ \t]+\n", "\n", text.replace("\xa0", " ")).strip()
    text = re.sub(r"\n{3,}", "\n\n", text)
    if title and content.find("h1") is None:
        return f"# {title}\n\n{text}".strip()
    return text


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


def _drop_unseen(soup: BeautifulSoup) -> None:
    """Take out what a visitor does not see: scripts, and text that is hidden from people but not from models."""
    from bs4.element import PreformattedString

    for text in soup.find_all(string=lambda text: isinstance(text, PreformattedString)):
        text.extract()
    unseen = [
        tag
        for tag in soup.find_all(True)
        if tag.name in _UNSEEN
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or _HIDING.search(str(tag.get("style", "")))
    ]
    for tag in unseen:
        tag.extract()


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
    deep: list[Tag] = []
    while waiting:
        tag, depth, indented = waiting.pop()
        for child in tag.children:
            if not isinstance(child, Tag):
                continue
            indent = indented + (child.name in _INDENTING)
            if depth >= _DEEPEST or indent > _DEEPEST_INDENTED:
                deep.append(child)
            else:
                waiting.append((child, depth + 1, indent))
    for tag in deep:
        tag.replace_with(" ".join(tag.stripped_strings))


def _mend_links(content: Tag, base: str) -> None:
    """Make links absolute; those that lead nowhere on the web become plain text."""
    for link in content.find_all("a"):
        target = _absolute(base, link.get("href"))
        if target is None or (not link.get_text(strip=True) and link.find("img") is None):
            link.unwrap()
        else:
            link.attrs = {"href": target}
    for image in content.find_all("img"):
        source = _absolute(base, image.get("src"))
        words = " ".join(str(image.get("alt", "")).split())
        if source is None:
            image.replace_with(words)
        else:
            image.attrs = {"src": source, "alt": words.replace("[", "(").replace("]", ")")}


def _absolute(base: str, address: Any) -> str | None:
    """A link as an address of the web, safe inside Markdown's parentheses; None for anything else."""
    text = re.sub(r"[\x00-\x1f\x7f]", "", str(address or "")).strip()
    if not text or text.startswith("#"):
        return None
    try:
        joined = urljoin(base, text)
        scheme = urlsplit(joined).scheme.lower()
    except ValueError:
        return None
    if scheme not in ("http", "https", "mailto", "tel") and (scheme or base):
        return None
    return re.sub(r"[\s()<>\"\\`]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), joined)


def _language(tag: Tag) -> str:
    """The language of a block of code, from the class that highlighters read."""
    for each in (tag, tag.find("code")):
        names = str(each.get("class", "") or "") if each is not None else ""
        match = re.search(r"\b(?:language|lang|highlight-source)-([\w+#-]{1,20})", names)
        if match:
            return match[1]
    return ""
