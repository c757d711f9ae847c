"""The tools that search the web."""

from __future__ import annotations

import os
from functools import cached_property
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import MissingExtraError
from actloop.tools.base import Tool
from actloop.tools.web.engines import Found, read_bing, read_duckduckgo, read_exa
from actloop.tools.web.errors import FetchError, NoResultsError
from actloop.tools.web.results import listed
from actloop.tools.web.service import Pace, Service
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actloop.tools.web.fetch import Fetcher

__all__ = ["ApiWebSearchTool", "DuckDuckGoSearchTool", "GoogleSearchTool", "WebSearchTool"]

_NOTHING = "No results found! Try a shorter query, or one with fewer conditions."
_QUERY: dict[str, dict[str, Any]] = {"query": {"type": "string", "description": "What to search for."}}
_ENDPOINTS = {
    "duckduckgo": "https://lite.duckduckgo.com/lite/",
    "bing": "https://www.bing.com/search",
    "exa": "https://api.exa.ai/search",
}


class WebSearchTool(Tool):
    """Searches the web with an engine that needs no package of its own.

    Args:
        max_results: Results at most.
        engine: "duckduckgo", "bing", or "exa", which needs the environment variable EXA_API_KEY.
        endpoint: Another address of the engine, such as one's own mirror.
        fetcher: Fetches the pages.

    Raises:
        ValueError: The engine is unknown, or its API key is missing.
    """

    name = "web_search"
    description = (
        "Searches the web and returns the best results as Markdown, with titles, links and short descriptions."
    )
    inputs = _QUERY
    output_type = "string"

    def __init__(
        self,
        max_results: int = 10,
        engine: str = "duckduckgo",
        *,
        endpoint: str | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        super().__init__()
        if engine not in _ENDPOINTS:
            raise ValueError(f"Unsupported engine: {engine!r}; there are {', '.join(_ENDPOINTS)}")
        self.max_results = max_results
        self.engine = engine
        self._key = _key_of("EXA_API_KEY") if engine == "exa" else None
        self._service = Service(
            {"duckduckgo": "DuckDuckGo", "bing": "Bing", "exa": "Exa"}[engine],
            endpoint or _ENDPOINTS[engine],
            secret=self._key,
            fetcher=fetcher,
        )

    def forward(self, query: str) -> str:
        """The results.

        Raises:
            NoResultsError: There are none.
            FetchError: The engine cannot be reached or refuses to answer.
        """
        return self.parse_results(self.search(query))

    def search(self, query: str) -> Found:
        """The results as mappings with "title", "link" and "description"."""
        return getattr(self, f"search_{self.engine}")(query)[: self.max_results]

    def parse_results(self, results: Found) -> str:
        """Results as text."""
        return _some(listed(results, address="link", text="description"))

    def search_duckduckgo(self, query: str) -> Found:
        """The results of DuckDuckGo."""
        answer = self._service.ask({"q": query})
        return read_duckduckgo(answer.text(), answer.status)

    def search_bing(self, query: str) -> Found:
        """The results of Bing."""
        return read_bing(self._service.ask({"q": query, "format": "rss"}).text())

    def search_exa(self, query: str) -> Found:
        """The results of Exa."""
        wanted = {"query": query, "numResults": self.max_results, "contents": {"highlights": True}}
        return read_exa(self._service.ask_json(headers={"x-api-key": self._key or ""}, json=wanted))


class DuckDuckGoSearchTool(Tool):
    """Searches the web with the package `ddgs`.

    Args:
        max_results: Results at most.
        rate_limit: Queries a second; None for no limit.
        kwargs: Arguments of `ddgs.DDGS`: proxy, timeout (seconds), verify.

    Raises:
        MissingExtraError: The package is not installed.
    """

    name = "web_search"
    description = "Searches the web with DuckDuckGo and returns the best results, with titles, links and short texts."
    inputs = _QUERY
    output_type = "string"

    def __init__(self, max_results: int = 10, rate_limit: float | None = 1.0, **kwargs: Any) -> None:
        super().__init__()
        if find_spec("ddgs") is None:
            raise MissingExtraError("ddgs", "web", "DuckDuckGoSearchTool")
        self.max_results = max_results
        self.rate_limit = rate_limit
        self._pace = Pace(rate_limit)
        self._options = kwargs
        if kwargs:
            _ = self.ddgs  # complains of arguments that it does not take

    @cached_property
    def ddgs(self) -> Any:
        """The client, made when it is first needed: importing the package takes a while."""
        from importlib import import_module

        return import_module("ddgs").DDGS(**self._options)

    def forward(self, query: str) -> str:
        """The results.

        Raises:
            NoResultsError: There are none.
            FetchError: The search failed.
        """
        from ddgs.exceptions import DDGSException

        self._pace.wait()
        try:
            results = self.ddgs.text(query, max_results=self.max_results)
        except DDGSException as error:
            if "no results" in str(error).lower():
                raise NoResultsError(_NOTHING) from None
            raise FetchError(f"DuckDuckGo cannot be searched: {cut(str(error), 300)}") from error
        return _some(listed(results, address="href", text="body", most=self.max_results))


class GoogleSearchTool(Tool):
    """Searches Google through a service that needs an API key.

    Args:
        provider: "serpapi" (key in the environment variable SERPAPI_API_KEY) or "serper" (SERPER_API_KEY).
        api_key: The key, if it is not in the environment.
        endpoint: Another address of the service.
        fetcher: Fetches the answers.

    Raises:
        ValueError: The provider is unknown, or its API key is missing.
    """

    name = "web_search"
    description = "Searches Google and returns the best results, with titles, links, dates and short texts."
    inputs: dict[str, dict[str, Any]] = {  # noqa: RUF012
        **_QUERY,
        "filter_year": {"type": "integer", "description": "Only results of this year.", "nullable": True},
    }
    output_type = "string"

    def __init__(
        self,
        provider: str = "serpapi",
        *,
        api_key: str | None = None,
        endpoint: str | None = None,
        fetcher: Fetcher | None = None,
    ) -> None:
        super().__init__()
        if provider not in ("serpapi", "serper"):
            raise ValueError(f"Unsupported provider: {provider!r}; there are serpapi and serper")
        is_serpapi = provider == "serpapi"
        self.provider = provider
        self.organic_key = "organic_results" if is_serpapi else "organic"
        self.api_key = api_key or _key_of("SERPAPI_API_KEY" if is_serpapi else "SERPER_API_KEY")
        address = "https://serpapi.com/search.json" if is_serpapi else "https://google.serper.dev/search"
        self._service = Service(
            "SerpAPI" if is_serpapi else "Serper", endpoint or address, secret=self.api_key, fetcher=fetcher
        )

    def forward(self, query: str, filter_year: int | None = None) -> str:
        """The results, or a sentence that says that there are none.

        Raises:
            NoResultsError: The service has no list of results.
            FetchError: It cannot be reached or refuses to answer.
        """
        params: dict[str, Any] = {"q": query}
        if filter_year is not None:
            params["tbs"] = f"cdr:1,cd_min:01/01/{filter_year:d},cd_max:12/31/{filter_year:d}"
        if self.provider == "serpapi":
            params |= {"engine": "google", "google_domain": "google.com", "api_key": self.api_key}
            answer = self._service.ask_json(params)
        else:
            answer = self._service.ask_json(headers={"X-API-KEY": self.api_key}, json=params)
        results = answer.get(self.organic_key)
        year = f" in the year {filter_year}" if filter_year is not None else ""
        if not isinstance(results, list):
            without = ", or search without a year" if year else ""
            raise NoResultsError(f"No results found for '{query}'{year}. Try a more general query{without}.")
        text = listed(cast("list[Any]", results), address="link", text="snippet", first=0, gap="\n")
        return text or f"No results found for '{query}'{year}. Try a more general query."


class ApiWebSearchTool(Tool):
    """Searches the web through a service with an HTTP interface; Brave's, unless another one is named.

    For a service whose answers look otherwise, override `extract_results`.

    Args:
        endpoint: Address of the service.
        api_key: The key for it.
        api_key_name: Environment variable that holds the key, if it is not given; "BRAVE_API_KEY" by default.
        headers: Headers of the requests; by default the one in which Brave expects its key.
        params: Query parameters besides "q"; ten results by default.
        rate_limit: Queries a second; None for no limit.
        fetcher: Fetches the answers.
    """

    name = "web_search"
    description = "Searches the web and returns the best results as Markdown, with titles, addresses and descriptions."
    inputs = _QUERY
    output_type = "string"

    def __init__(
        self,
        endpoint: str = "",
        api_key: str = "",
        api_key_name: str = "",
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, Any] | None = None,
        rate_limit: float | None = 1.0,
        *,
        fetcher: Fetcher | None = None,
    ) -> None:
        super().__init__()
        self.endpoint = endpoint or "https://api.search.brave.com/res/v1/web/search"
        self.api_key_name = api_key_name or "BRAVE_API_KEY"
        self.api_key = api_key or os.getenv(self.api_key_name)
        self.headers = dict(headers) if headers else {"X-Subscription-Token": self.api_key} if self.api_key else {}
        self.params = dict(params) if params else {"count": 10}
        self.rate_limit = rate_limit
        self._needs_key = not endpoint and not headers
        name = "Brave Search" if not endpoint else "the search service"
        self._service = Service(name, self.endpoint, rate_limit=rate_limit, secret=self.api_key, fetcher=fetcher)

    def forward(self, query: str) -> str:
        """The results, or a sentence that says that there are none.

        Raises:
            ValueError: The API key is missing.
            FetchError: The service cannot be reached or refuses to answer.
        """
        if self._needs_key and not self.api_key:
            raise ValueError(_missing_key(self.api_key_name))
        data = self._service.ask_json({**self.params, "q": query}, headers=self.headers)
        return self.format_markdown(self.extract_results(data))

    def extract_results(self, data: dict[str, Any]) -> list[Any]:
        """The results in an answer: mappings with "title", "url" and "description"."""
        web = data.get("web")
        results: Any = cast("dict[str, Any]", web).get("results") if isinstance(web, dict) else None
        return cast("list[Any]", results) if isinstance(results, list) else []

    def format_markdown(self, results: list[Any]) -> str:
        """Results as text."""
        return listed(results, address="url", text="description", first=1) or "No results found."


def _some(text: str) -> str:
    if not text:
        raise NoResultsError(_NOTHING)
    return text


def _key_of(variable: str) -> str:
    key = os.getenv(variable)
    if not key:
        raise ValueError(_missing_key(variable))
    return key


def _missing_key(variable: str) -> str:
    return f"Missing API key: set the environment variable {variable}, or give the key when the tool is made"
