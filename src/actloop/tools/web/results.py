"""Search results as text, in which no result can pose as another one."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_HEADING = "## Search Results"
_TITLE_LIMIT = 300
_TEXT_LIMIT = 1_500
_URL_LIMIT = 2_000
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")
_TAG = re.compile(r"</?[a-zA-Z][^<>]{0,300}>")


def one_line(text: Any, limit: int = _TEXT_LIMIT) -> str:
    """A service's text on one line, without markup, invisible characters and links; "" if it is no text.

    On one line, since a line of its own could pose as the next result, or as the framework's own words.
    """
    if not isinstance(text, str):
        return ""
    plain = unescape(_TAG.sub("", text[: 4 * limit]))
    plain = " ".join(_UNSEEN.sub("", plain).split()).replace("](", "] (")
    return plain if len(plain) <= limit else f"{plain[: limit - 3]}..."


def web_address(text: Any) -> str:
    """An address that leads to the web, safe inside Markdown's parentheses; "" if it is none."""
    if not isinstance(text, str):
        return ""
    address = text.strip()
    if len(address) > _URL_LIMIT or not re.match(r"https?://[^\s/]", address, re.IGNORECASE):
        return ""
    address = _UNSEEN.sub("", address)
    return re.sub(r"[\s()<>\"\\`]", lambda match: "".join(f"%{byte:02X}" for byte in match[0].encode()), address)


def link(title: Any, address: Any) -> str:
    """A result's title, linked; "" if it leads nowhere."""
    target = web_address(address)
    words = one_line(title, _TITLE_LIMIT).replace("[", "(").replace("]", ")")
    return f"[{words or target}]({target})" if target else ""


def listed(
    results: Iterable[Any],
    *,
    address: str,
    text: str,
    first: int | None = None,
    gap: str = "\n\n",
    most: int | None = None,
) -> str:
    """Results as the tools give them; "" if none of them can be used.

    Args:
        results: What the service found: mappings with "title" and the keys below. Others are left out.
        address: Key of the address.
        text: Key of the text.
        first: Number of the first result; None for no numbers.
        gap: What stands between the heading and the first result.
        most: Results at most.
    """
    shown: list[str] = []
    for result in results:
        if not isinstance(result, dict) or (most is not None and len(shown) >= most):
            continue
        entry = cast("Mapping[str, Any]", result)
        head = link(entry.get("title"), entry.get(address))
        if head:
            number = "" if first is None else f"{first + len(shown)}. "
            shown.append(f"{number}{head}{_details(entry)}\n{_space(entry, text)}{one_line(entry.get(text))}".rstrip())
    return f"{_HEADING}{gap}" + "\n\n".join(shown) if shown else ""


def _details(entry: Mapping[str, Any]) -> str:
    date, source = one_line(entry.get("date"), 80), one_line(entry.get("source"), 200)
    return (f"\nDate published: {date}" if date else "") + (f"\nSource: {source}" if source else "")


def _space(entry: Mapping[str, Any], text: str) -> str:
    """Google's results have an empty line before their text."""
    return "\n" if text == "snippet" and entry.get(text) else ""
