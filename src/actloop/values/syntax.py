"""Python's own reading of source text, made fit for many threads."""

from __future__ import annotations

import ast
import inspect
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_TRIES = 50


@overload
def syntax_tree(source: str, mode: Literal["exec"] = "exec") -> ast.Module: ...
@overload
def syntax_tree(source: str, mode: Literal["eval"]) -> ast.Expression: ...
def syntax_tree(source: str, mode: Literal["exec", "eval"] = "exec") -> ast.AST:
    """As `ast.parse`, also while other threads do the same.

    Raises:
        SyntaxError: The source is not Python.
        ValueError, RecursionError, MemoryError: It cannot be read.
    """
    return _again(lambda: ast.parse(source, mode=mode))


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
