"""Looks at program text without running it: is it Python, does it look like code, can small damage be repaired."""

from __future__ import annotations

import ast
import html
import re
import textwrap
from typing import TYPE_CHECKING

from actloop.values.syntax import syntax_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

_PARSED_AT_MOST = 200_000  # characters given to Python's parser for one reply; it reads half a million a second
_LONGEST_LINE = 300  # characters of a line that are looked at
_MOST_LINES = 200
_MOST_LEFTOVERS = 4

_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_OPENED = re.compile(r"\s*(?:`{3,20}|~{3,20}|<code>)[ \t]*(?:python|py)?[ \t]*\n", re.IGNORECASE)
_LEFTOVER = re.compile(
    r"(?:</?(?:code|python|py|execute|execute_python|tool_code)>|\[/PYTHON\]|<end_code>|<end_action>|</s>"
    r"|<\|\w{1,20}\|>|`{3,20}|~{3,20}|\n[ \t]{0,9}</?\w{0,16}|\n[ \t]{0,9}`{1,2})\Z",
    re.IGNORECASE,
)
_PROMPTED = re.compile(r"^[ \t]*>>> ", re.MULTILINE)
_ENTITY = re.compile(r"&(?:lt|gt|amp|quot|#39|#x27|apos);")
_TYPOGRAPHIC = str.maketrans(
    {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00a0": " ", "\u202f": " ", "\u3000": " "}
    | dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff", "")
)
_CODE_LINE = re.compile(
    r"\s*(?:(?:import|from|def|class|async|await|for|while|if|elif|with|try|return|raise|del|assert|global|match)"
    r"\b[^.!?]*$|from [\w.]+ import|import [\w., ]+$|[^!?]*[({\[:,]$|(?:else|try|finally)\s*:|except\b|@\w|#"
    r"|>>> |\.\.\. "
    r"|[A-Za-z_][\w.]*(?:\[[^\]]*\])?(?:\s*,\s*[A-Za-z_]\w*)*\s*(?:[-+*/%|&^@]|//|\*\*|<<|>>)?=(?!=)\s*\S"
    r"|[A-Za-z_][\w.]*\(|[\"'\w].*[)\]},]$|[)\]}]+\s*$|pass$|break$|continue$|return$)"
)


def parsed(code: str) -> ast.Module | SyntaxError | None:
    """The syntax tree of a program, its `SyntaxError`, or None when it cannot be read at all.

    Only fit for looking at structure: escapes in strings are blanked, since Python warns about unknown ones, and the
    warnings would be printed on the host. Of a text too long to be a reply's program, None.
    """
    if len(code) > _PARSED_AT_MOST:
        return None
    blanked = _ESCAPE.sub(lambda m: m[0] if m[1] in "\n'\"\\" else "__", code) if "\\" in code else code
    try:
        return syntax_tree(blanked)
    except SyntaxError as error:
        return error
    except (ValueError, RecursionError, MemoryError, OverflowError):
        return None


class Parser:
    """Python's parser under a budget of characters, so that a hostile reply cannot keep it busy."""

    def __init__(self) -> None:
        self._left = _PARSED_AT_MOST

    @property
    def spent(self) -> bool:
        """Whether nothing more will be parsed."""
        return self._left <= 0

    def tree(self, code: str) -> ast.Module | None:
        """The syntax tree, or None when it is not Python or the budget is used up."""
        if len(code) > self._left:
            self._left = 0
            return None
        self._left -= len(code) + 100
        tree = parsed(code)
        return tree if isinstance(tree, ast.Module) else None

    def accepted(self, text: str) -> str | None:
        """The text, repaired where it is damaged in a known way, if Python accepts it; else None."""
        if len(text) > self._left:
            self._left = 0
            return None
        return next((code for code in _readings(text) if self.tree(code) is not None), None)


def tidied(text: str) -> str:
    """A program that Python does not accept, without what plainly is not part of it."""
    return textwrap.dedent(_stripped(text))


def _stripped(text: str) -> str:
    """The text without blank lines around it, and without the leftovers of a closing mark."""
    text = text.rstrip()
    for _ in range(_MOST_LEFTOVERS):
        match = _LEFTOVER.search(text, max(0, len(text) - 20))
        if match is None:
            break
        text = text[: match.start()].rstrip()
    start = len(text) - len(text.lstrip())
    return text[text.rfind("\n", 0, start) + 1 :] if start else text


def _readings(text: str) -> Iterator[str]:
    """Ways to read a text as a program, the most literal first."""
    raw = text.strip("\n")
    if raw.strip() and not raw[0].isspace():
        yield raw.rstrip()
    base = _stripped(text)
    seen = {raw.rstrip()}
    for reading in _shapes(base):
        if reading not in seen:
            seen.add(reading)
            yield reading
    if not base.isascii() or "&" in base:
        repaired = html.unescape(base) if _ENTITY.search(base) else base
        for reading in _shapes(repaired.translate(_TYPOGRAPHIC)):
            if reading not in seen:
                seen.add(reading)
                yield reading


def _shapes(base: str) -> Iterator[str]:
    yield base
    if base[:1].isspace():
        yield textwrap.dedent(base)
        yield base.lstrip()
    elif "\n" in base:
        head, rest = base.split("\n", 1)
        if rest[:1].isspace() and not head.rstrip().endswith(":"):
            yield f"{head}\n{textwrap.dedent(rest)}"
    inner = _OPENED.match(base)
    if inner is not None:
        yield textwrap.dedent(base[inner.end() :])
    if _PROMPTED.search(base):
        lines = [line.lstrip() for line in base.split("\n")]
        yield "\n".join(line[4:] for line in lines if line.startswith((">>> ", "... ", ">>>", "...")))


def looks_like_code(text: str, share: float = 0.5) -> bool:
    """Whether at least this share of the lines look like Python; only the first lines are looked at."""
    lines = [line[:_LONGEST_LINE] for line in text[: _MOST_LINES * _LONGEST_LINE].split("\n") if line.strip()]
    lines = lines[:_MOST_LINES]
    return bool(lines) and sum(1 for line in lines if _CODE_LINE.match(line)) >= share * len(lines)
