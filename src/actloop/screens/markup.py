"""Turns text of models and tools into markup that cannot run, load or hide anything.

A chat page renders Markdown and HTML in the browser. What is handed to it here is built so that the browser's reading
of it leaves no room: Markdown is parsed on this side, and comes out as blocks of HTML without a blank line (which end
them) and as code between fences longer than any in the code.
"""

from __future__ import annotations

import html
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from actloop.ui.safe import safe_text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from markdown_it import MarkdownIt
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

_LANGUAGE = re.compile(r"[a-z0-9+#-]{1,20}")
_FENCES = re.compile(r"`{3,}")
_DRAWN = frozenset({"mermaid"})
"""Languages that the page would draw instead of showing."""

MATH = (("$$", "$$"), (r"\[", r"\]"), (r"\(", r"\)"))
"""Delimiters of LaTeX. A single `$` is none: answers speak of money more often."""


def fenced(text: str, language: str = "text") -> str:
    """Text as a block of code, whatever it holds."""
    language = language.lower()
    if not _LANGUAGE.fullmatch(language) or language in _DRAWN:
        language = "text"
    longest = max((len(fence) for fence in _FENCES.findall(text)), default=2)
    fence = "`" * (longest + 1)
    body = safe_text(text).rstrip("\n")
    return f"{fence}{language}\n{body}\n{fence}"


def plain(text: str) -> str:
    """Text as it is, line breaks included."""
    return _one_block(f'<div class="plain">{escaped(text)}</div>')


def escaped(text: str) -> str:
    """Text as HTML that shows it, in one piece: no blank line ends the block that it stands in.

    Pieces that are escaped one by one and then joined give the same as the whole.
    """
    text = html.escape(safe_text(text))
    for character, code in (("\n", "<br>"), ("\t", "&#9;"), ("$", "&#36;"), ("\\", "&#92;"), ("`", "&#96;")):
        text = text.replace(character, code)
    return text


def markdown(text: str) -> str:
    """Markdown of a model: headings, lists, tables, code, links and LaTeX. HTML is shown as text; an image becomes a
    link, so that nothing is fetched unless somebody asks for it.
    """
    parser = _parser()
    tokens = parser.parse(safe_text(text))
    parts: list[str] = []
    start = 0
    for index, token in enumerate(tokens):
        if token.level == 0 and token.type in ("fence", "code_block"):
            parts += [_rendered(parser, tokens[start:index]), fenced(token.content, token.info.split(" ")[0] or "text")]
            start = index + 1
    parts.append(_rendered(parser, tokens[start:]))
    return "\n\n".join(part for part in parts if part)


def _rendered(parser: MarkdownIt, tokens: list[Token]) -> str:
    if not tokens:
        return ""
    rendered: str = parser.renderer.render(tokens, parser.options, {})
    return _one_block(f'<div class="prose">{rendered}</div>')


def _one_block(rendered: str) -> str:
    """HTML in one block: line ends inside `pre`, where they count, become entities, all others blanks."""
    parts = re.split(r"(<pre>.*?</pre>)", rendered, flags=re.DOTALL)
    return "".join(part.replace("\n", "&#10;" if part.startswith("<pre>") else " ") for part in parts)


@cache
def _parser() -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}).enable(["table", "strikethrough"])
    parser.validateLink = _is_harmless  # pyright: ignore[reportAttributeAccessIssue]
    parser.inline.ruler.before("escape", "math", _math)
    parser.add_render_rule("image", _image)
    parser.add_render_rule("link_open", _link)
    parser.add_render_rule("math", _formula)
    return parser


def _is_harmless(url: str) -> bool:
    """Whether a link leads to where a link may: nothing that runs, and no file."""
    return re.match(r"(?:https?://|mailto:)", url.strip(), re.IGNORECASE) is not None


def _image(_: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:  # noqa: ARG001
    token = tokens[index]
    address = html.escape(str(token.attrs.get("src", "")))
    label = html.escape(token.content or address)
    return f'<a href="{address}" rel="noopener noreferrer nofollow" target="_blank">[image: {label}]</a>'


def _link(renderer: Any, tokens: Sequence[Token], index: int, options: Mapping[str, Any], env: Any) -> str:
    tokens[index].attrSet("rel", "noopener noreferrer nofollow")
    tokens[index].attrSet("target", "_blank")
    rendered: str = renderer.renderToken(tokens, index, options, env)
    return rendered


def _math(state: StateInline, silent: bool) -> bool:
    """LaTeX between its delimiters is kept as it is, for the page to set."""
    for opening, closing in MATH:
        if state.src.startswith(opening, state.pos):
            end = state.src.find(closing, state.pos + len(opening))
            if end < 0 or end >= state.posMax:
                continue
            if not silent:
                token = state.push("math", "span", 0)
                token.content = state.src[state.pos : end + len(closing)]
            state.pos = end + len(closing)
            return True
    return False


def _formula(_: Any, tokens: Sequence[Token], index: int, options: Any, env: Any) -> str:  # noqa: ARG001
    return f"<span>{html.escape(tokens[index].content)}</span>"
