"""Python's own reading of source text, made fit for many threads."""

from __future__ import annotations

import ast
import inspect
import re
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_TRIES = 50

_PART = 1 << 13
"""Characters that are read at once: some ten milliseconds, in which no other thread gets its turn."""

_MOST_PARTS = 64
_MOST_LONGER = 4
_STATEMENT = re.compile(r"\n(?=(?!(?:else|elif|except|finally)\b)[\w@])")


@overload
def syntax_tree(source: str, mode: Literal["exec"] = "exec") -> ast.Module: ...
@overload
def syntax_tree(source: str, mode: Literal["eval"]) -> ast.Expression: ...
def syntax_tree(source: str, mode: Literal["exec", "eval"] = "exec") -> ast.AST:
    """As `ast.parse`, also while other threads do the same; of a long source, these get their turns meanwhile.

    Raises:
        SyntaxError: The source is not Python.
        ValueError, RecursionError, MemoryError: It cannot be read.
    """
    if mode == "exec" and len(source) > 2 * _PART and "\r" not in source:
        with suppress(SyntaxError, ValueError, RecursionError, MemoryError):  # the whole says what is wrong with it
            return _in_parts(source)
    return _again(lambda: ast.parse(source, mode=mode))


def _in_parts(source: str) -> ast.Module:
    """The tree of a source whose statements are read some at a time. Each part is a program of its own.

    Raises:
        SyntaxError: A part is none; the whole may be.
    """
    least = max(_PART, len(source) // _MOST_PARTS)
    whole = ast.Module(body=[], type_ignores=[])
    start = lines = 0
    while start < len(source):
        tree, end = _next_part(source, start, lines, least)
        whole.body += tree.body
        lines += source.count("\n", start, end)
        start = end
    return whole


def _next_part(source: str, start: int, lines: int, least: int) -> tuple[ast.Module, int]:
    """The tree of the part that begins here, after so many lines, and its end."""
    for longer in range(_MOST_LONGER):  # what looks like a statement's beginning may be in a text or in brackets
        border = _STATEMENT.search(source, start + (least << longer))
        end = len(source) if border is None else border.end()
        part = "\n" * lines + source[start:end]
        try:
            return _again(partial(ast.parse, part)), end
        except SyntaxError:
            if border is None:
                raise
    raise SyntaxError("no statement ends near")


def source_of(definition: Any) -> str:
    """As `inspect.getsource`, also while other threads do the same.

    Raises:
        OSError, TypeError: There is no source.
    """
    return _again(lambda: inspect.getsource(definition))


def _again(read: Callable[[], T]) -> T:
    """CPython 3.11 counts the depth of the tree it builds for all threads together: where another thread gets its turn
    in the middle, it may raise SystemError, and the next try is as good as new.
    """
    for _ in range(_TRIES - 1):
        try:
            return read()
        except SystemError:
            continue
    return read()
