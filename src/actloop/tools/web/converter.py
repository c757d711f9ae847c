"""How single elements of a page become Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from bs4.element import PreformattedString
from markdownify import MarkdownConverter

if TYPE_CHECKING:
    from bs4 import Tag
    from bs4.element import NavigableString

_UNSEEN = frozenset({
    "script", "style", "noscript", "template", "svg", "canvas", "iframe", "object", "embed", "audio", "video", "head",
    "link", "meta", "select", "textarea", "input", "button", "dialog", "map",
})  # fmt: skip
_HIDING = re.compile(r"(?:^|[;\s])(?:display\s{0,9}:\s{0,9}none|visibility\s{0,9}:\s{0,9}hidden)", re.IGNORECASE)
_SPACES = re.compile(r"\s{64,}")


_LIBRARY: Any = MarkdownConverter  # its methods that are overridden below are not in its type stubs


class PageConverter(MarkdownConverter):
    """Writes down what a visitor sees, with absolute links; in a time that grows with the page, not with its square.

    Args:
        base: What links are relative to.
    """

    def __init__(self, base: str) -> None:
        super().__init__(
            heading_style="ATX",
            bullets="-",
            escape_asterisks=False,
            escape_underscores=False,
            table_infer_header=True,
            strip_pre=None,  # its own patterns take quadratic time
            code_language_callback=_language,
        )
        self._base = base
        self._numbers: dict[int, int] = {}

    def process_tag(self, node: Tag, parent_tags: set[str] | None = None) -> str:
        """An element; nothing of one that is hidden from people, though not from models."""
        return "" if _is_unseen(node) else str(_LIBRARY.process_tag(self, node, parent_tags=parent_tags))

    def process_text(self, el: NavigableString, parent_tags: set[str] | None = None) -> str:
        """A text, with long runs of spaces shortened."""
        if isinstance(el, PreformattedString):  # comments and the like
            return ""
        if _SPACES.search(el):
            short = type(el)(_SPACES.sub(lambda match: "\n" if "\n" in match[0] else " ", el))
            short.parent, short.previous_sibling, short.next_sibling = el.parent, el.previous_sibling, el.next_sibling
            el = short
        return str(_LIBRARY.process_text(self, el, parent_tags=parent_tags))

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A link; only its text, if it leads nowhere on the web."""
        target = _absolute(self._base, el.get("href"))
        if target is None or "_noformat" in parent_tags or not text.strip():
            return text
        inner = text.strip()
        before, after = text[: text.index(inner)], text[text.index(inner) + len(inner) :]
        return f"{before and ' '}[{inner}]({target}){after and ' '}"

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:  # noqa: ARG002
        """A picture; only its description, if it has no address of its own."""
        words = " ".join(str(el.get("alt") or "").split()).replace("[", "(").replace("]", ")")
        source = _absolute(self._base, el.get("src"))
        return words if source is None or "_inline" in parent_tags else f"![{words}]({source})"

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """A block of code."""
        return str(_LIBRARY.convert_pre(self, el, text.strip("\n"), parent_tags))

    def convert_li(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        """An entry of a list."""
        parent = el.parent
        if parent is None or parent.name != "ol":
            return str(_LIBRARY.convert_li(self, el, text, parent_tags))
        start = str(parent.get("start") or "")
        first = int(start) if re.fullmatch(r"\d{1,9}", start) else 1
        number = self._numbers.get(id(parent), first)
        self._numbers[id(parent)] = number + 1
        bullet = f"{number}. "
        lines = (text or "").strip().split("\n")
        return bullet + "\n".join([lines[0], *(" " * len(bullet) + line if line else "" for line in lines[1:])]) + "\n"


def _is_unseen(tag: Tag) -> bool:
    return (
        tag.name in _UNSEEN
        or tag.has_attr("hidden")
        or tag.get("aria-hidden") == "true"
        or bool(_HIDING.search(str(tag.get("style") or "")))
    )


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
