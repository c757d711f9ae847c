"""The tool that reads web pages."""

from __future__ import annotations

from typing import Any

from actloop.errors import MissingExtraError
from actloop.tools.base import Tool
from actloop.tools.web.errors import ContentTypeError, FetchError, FetchTimeoutError
from actloop.tools.web.fetch import Fetched, Fetcher
from actloop.tools.web.markdown import to_markdown

_HTML = ("text/html", "application/xhtml+xml")
_READABLE = (
    "text/*", "*+json", "*+xml", "application/json", "application/xml", "application/javascript", "application/yaml",
    "application/x-yaml", "application/x-ndjson", "application/octet-stream", "application/toml",
)  # fmt: skip
_PAGE_BYTES = 2_000_000
_SNIFFED = 1024


class VisitWebpageTool(Tool):
    """Reads a web page as Markdown, and JSON and plain text as they are.

    What cannot be read is said in the text that it returns, since a model can act on that.

    Args:
        max_output_length: Characters of a page that are returned.
        main_content: Leave out navigation and the like, where the page says which part is the main one.
        fetcher: Fetches the pages; its limits and its allow-list hold. One that reaches public addresses only, if None.
    """

    name = "visit_webpage"
    description = "Fetches the web page at a URL and returns what it says as Markdown text. Use it to read pages."
    inputs: dict[str, dict[str, Any]] = {  # noqa: RUF012
        "url": {"type": "string", "description": "The address of the page, starting with https:// or http://."}
    }
    output_type = "string"

    def __init__(
        self, max_output_length: int = 40000, *, main_content: bool = True, fetcher: Fetcher | None = None
    ) -> None:
        super().__init__()
        self.max_output_length = max_output_length
        self.main_content = main_content
        self.fetcher = fetcher or Fetcher(max_bytes=_PAGE_BYTES)

    def forward(self, url: str) -> str:
        """The page, or a sentence that says why it cannot be had.

        Raises:
            MissingExtraError: The packages are not installed.
        """
        try:
            fetched = self.fetcher.fetch(url, accept=_READABLE, truncate=True)
            fetched.raise_for_status()
            text = self._readable(fetched)
        except MissingExtraError:
            raise
        except FetchTimeoutError as error:
            return f"Error fetching the webpage: the request timed out ({error}). Try again later, or another address."
        except ContentTypeError as error:
            return f"Error fetching the webpage: {error}. Only pages and texts can be read."
        except FetchError as error:
            return f"Error fetching the webpage: {error}"
        if not text.strip():
            return "The page has no readable text; it may need a browser that runs its scripts."
        return _cut(text, self.max_output_length, more=fetched.is_truncated)

    def _readable(self, fetched: Fetched) -> str:
        kind, head = fetched.content_type, fetched.body[:_SNIFFED]
        if head.startswith(b"%PDF-"):
            raise ContentTypeError(f"{fetched.url} is a PDF document")
        if b"\0" in head and not head.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise ContentTypeError(f"{fetched.url} is a binary file")
        is_unsaid = kind in ("", "application/octet-stream")
        if kind in _HTML or (is_unsaid and b"<html" in head.lower()):
            return to_markdown(fetched.text(), fetched.url, main_content=self.main_content)
        return fetched.text()


def _cut(text: str, length: int, *, more: bool) -> str:
    if len(text) <= length and not more:
        return text
    of = f" of {len(text):,}" if len(text) > length and not more else ""
    return (
        f"{text[:length]}...\n\n[The page is longer: this is its beginning, {min(length, len(text)):,}{of} characters.]"
    )
