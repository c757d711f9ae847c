"""What search engines' pages hold: DuckDuckGo's light page, Bing's feed, Exa's JSON."""

from __future__ import annotations

import re
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

from actloop.errors import MissingExtraError
from actloop.tools.web.errors import FetchError

Found = list[dict[str, Any]]

_ROBOT = re.compile(
    r"anomaly-modal|challenge-form|bots use DuckDuckGo|g-recaptcha|h-captcha|cf-challenge", re.IGNORECASE
)
_PAGE_LENGTH = 500_000
_ASKS_WHETHER_ROBOT = "takes the program for a robot and shows a captcha: wait, query less often, or use another engine"


def read_duckduckgo(page: str, status: int = 200) -> Found:
    """Results of DuckDuckGo's page without scripts; none if it found none.

    Raises:
        FetchError: It is a captcha, or another page.
    """
    try:
        from bs4 import BeautifulSoup, FeatureNotFound
    except ImportError as error:
        raise MissingExtraError("beautifulsoup4", "web", "Reading search results") from error

    if status == 202 or _ROBOT.search(page):
        raise FetchError(f"DuckDuckGo {_ASKS_WHETHER_ROBOT}")
    try:
        soup = BeautifulSoup(page[:_PAGE_LENGTH] if "<" in page else "<p>", "lxml")
    except FeatureNotFound as error:
        raise MissingExtraError("lxml", "web", "Reading search results") from error
    results: Found = []
    for tag in soup.find_all(["a", "td", "span"], class_=["result-link", "result-snippet", "link-text"]):
        kind = tag.get_attribute_list("class")
        words = " ".join(tag.get_text().split())
        if "result-link" in kind:
            results.append({"title": words, "link": _target(str(tag.get("href", ""))), "description": ""})
        elif results and "result-snippet" in kind:
            results[-1]["description"] = words
        elif results and "link-text" in kind and not results[-1]["link"]:
            results[-1]["link"] = f"https://{words}"
    if not results and not re.search(r"no (?:more )?results", page, re.IGNORECASE):
        raise FetchError("DuckDuckGo answered with a page that has no list of results")
    return [result for result in results if result["link"] and not _is_advertisement(result["link"])]


def _target(href: str) -> str:
    """Where a result leads: DuckDuckGo's links go through a page of its own."""
    try:
        parts = urlsplit(f"https:{href}" if href.startswith("//") else href)
    except ValueError:
        return ""
    if parts.path == "/l/" and parts.netloc in ("", "duckduckgo.com", "lite.duckduckgo.com", "html.duckduckgo.com"):
        return parse_qs(parts.query).get("uddg", [""])[0]
    return parts.geturl() if parts.scheme in ("http", "https") else ""


def _is_advertisement(link: str) -> bool:
    return link.startswith(("https://duckduckgo.com/y.js", "https://www.bing.com/aclick"))


def read_bing(feed: str) -> Found:
    """Results of Bing's RSS feed; none if it found none.

    Raises:
        FetchError: It is no feed.
    """
    from xml.etree import ElementTree as ET

    if re.search(r"<!(?:DOCTYPE|ENTITY)", feed, re.IGNORECASE):  # a feed has neither; entities can be bombs
        if _ROBOT.search(feed):
            raise FetchError(f"Bing {_ASKS_WHETHER_ROBOT}")
        raise FetchError("Bing answered with a page instead of a feed")
    try:
        root = ET.fromstring(feed)  # noqa: S314
    except (ET.ParseError, ValueError):
        raise FetchError("Bing answered with something that is no feed") from None
    return [
        {
            "title": item.findtext("title") or "",
            "link": item.findtext("link") or "",
            "description": item.findtext("description") or "",
        }
        for item in root.iter("item")
    ]


def read_exa(answer: dict[str, Any]) -> Found:
    """Results of Exa's search; none if it found none.

    Raises:
        FetchError: It has no list of results.
    """
    results = answer.get("results")
    if not isinstance(results, list):
        raise FetchError("Exa answered without a list of results")
    found: Found = []
    for entry in cast("list[Any]", results):
        if not isinstance(entry, dict):
            continue
        item = cast("dict[str, Any]", entry)
        highlights = item.get("highlights")
        parts = (
            [part for part in cast("list[Any]", highlights) if isinstance(part, str)]
            if isinstance(highlights, list)
            else []
        )
        text = " ... ".join(parts) or item.get("summary") or item.get("text") or ""
        found.append({"title": item.get("title") or "", "link": item.get("url") or "", "description": text})
    return found
