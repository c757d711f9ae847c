"""The tool that reads Wikipedia, through MediaWiki's own interface."""

from __future__ import annotations

import re
from typing import Any, cast

import actloop
from actloop.tools.base import Tool
from actloop.tools.web.errors import FetchError
from actloop.tools.web.results import one_line, web_address
from actloop.tools.web.service import Service

_LANGUAGE = re.compile(r"[a-z]{2,12}(?:-[a-z]{1,12}){0,3}")
_USER_AGENT = f"actloop/{actloop.__version__}"


class WikipediaSearchTool(Tool):
    """Reads the Wikipedia article of a title, or else the one that fits a query best.

    Args:
        user_agent: Names the program and its owner, as Wikimedia asks of those who use its services.
        language: Code of the Wikipedia, such as "en", "de" or "zh-yue".
        content_type: "summary" for an article's introduction, "text" for all of it.
        extract_format: "WIKI" for plain text, "HTML" for simple markup.
        endpoint: Another address of a MediaWiki's `api.php`.
        fetcher: Fetches the answers.

    Raises:
        ValueError: An argument is not one of these.
    """

    name = "wikipedia_search"
    description = "Looks a topic up in Wikipedia and returns the article's summary or whole text, with its address."
    inputs: dict[str, dict[str, Any]] = {"query": {"type": "string", "description": "The topic to look up."}}  # noqa: RUF012
    output_type = "string"

    def __init__(
        self,
        user_agent: str = _USER_AGENT,
        language: str = "en",
        content_type: str = "text",
        extract_format: str = "WIKI",
        *,
        endpoint: str | None = None,
        fetcher: Any = None,
    ) -> None:
        super().__init__()
        if not user_agent or not user_agent.isprintable() or not user_agent.isascii():
            raise ValueError("user_agent is required: a text on one line that names the program and its owner")
        if not _LANGUAGE.fullmatch(language):
            raise ValueError(f"language is the code of a Wikipedia, such as 'en' or 'zh-yue', not {language!r}")
        if content_type not in ("summary", "text"):
            raise ValueError(f"content_type is 'summary' or 'text', not {content_type!r}")
        if extract_format not in ("WIKI", "HTML"):
            raise ValueError(f"extract_format is 'WIKI' or 'HTML', not {extract_format!r}")
        self.user_agent = user_agent
        self.language = language
        self.content_type = content_type
        self.extract_format = extract_format
        address = endpoint or f"https://{language}.wikipedia.org/w/api.php"
        self._service = Service("Wikipedia", address, fetcher=fetcher)

    def forward(self, query: str) -> str:
        """The article, or a sentence that says why there is none."""
        try:
            page = self._page({"titles": query.replace("|", " ")}) or self._found(query)
        except FetchError as error:
            return f"Error fetching Wikipedia {self.content_type}: {error}"
        if page is None:
            return f"Wikipedia has no page for '{one_line(query, 200)}'. Search for other words."
        text = str(page.get("extract") or "")
        title, address = one_line(page.get("title"), 300), web_address(page.get("fullurl"))
        return f"✅ **Wikipedia Page:** {title}\n\n**Content:** {text.strip()}\n\n🔗 **Read more:** {address}"

    def _found(self, query: str) -> dict[str, Any] | None:
        """The article that a search finds first."""
        return self._page({"generator": "search", "gsrsearch": query[:300], "gsrlimit": 1, "gsrnamespace": 0})

    def _page(self, which: dict[str, Any]) -> dict[str, Any] | None:
        """One article; None if there is none.

        Raises:
            FetchError: Wikipedia cannot be reached or answers with an error.
        """
        params: dict[str, Any] = {
            "action": "query",
            "format": "json",
            "formatversion": 2,
            "redirects": 1,
            "prop": "extracts|info",
            "inprop": "url",
            "exsectionformat": "plain",
            **which,
        }
        if self.extract_format == "WIKI":
            params["explaintext"] = 1
        if self.content_type == "summary":
            params["exintro"] = 1
        answer = self._service.ask_json(params, headers={"User-Agent": self.user_agent})
        fault = answer.get("error")
        if fault:
            info = cast("dict[str, Any]", fault).get("info") if isinstance(fault, dict) else fault
            raise FetchError(f"Wikipedia answered with an error: {one_line(str(info), 300)}")
        found = answer.get("query")
        pages: Any = cast("dict[str, Any]", found).get("pages") if isinstance(found, dict) else None
        for page in cast("list[Any]", pages) if isinstance(pages, list) else []:
            if isinstance(page, dict) and not {"missing", "invalid"} & page.keys() and "title" in page:
                return cast("dict[str, Any]", page)
        return None
