"""Results that come in pieces: tools whose function is a generator, and whoever watches them at work."""

from __future__ import annotations

import inspect
import typing
from collections import abc
from contextlib import aclosing, closing, contextmanager
from contextvars import ContextVar
from types import AsyncGeneratorType, GeneratorType
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_STREAMS = (abc.Generator, abc.AsyncGenerator)
_ITERATORS = (*_STREAMS, abc.Iterator, abc.Iterable, abc.AsyncIterator, abc.AsyncIterable)

_watcher: ContextVar[Callable[[Any], None] | None] = ContextVar("actloop_tool_watcher", default=None)


class Interruptible(Protocol):
    """A request to end, which wakes whoever waits for something else."""

    is_set: bool

    def add_waker(self, wake: Callable[[], Any]) -> None:
        """Have `wake` called when the request comes; at once if it has come."""
        ...

    def remove_waker(self, wake: Callable[[], Any]) -> None:
        """Undo `add_waker`."""
        ...


_interrupt: ContextVar[Interruptible | None] = ContextVar("actloop_tool_interrupt", default=None)


@contextmanager
def watched(hear: Callable[[Any], None], interrupt: Interruptible | None = None) -> Generator[None]:
    """While a tool runs: `hear` is called with each piece of its result, in the tool's own thread.

    What `hear` raises ends the tool. `interrupt` is that of the run, for a tool that waits (`current_interrupt`).
    """
    token, other = _watcher.set(hear), _interrupt.set(interrupt)
    try:
        yield
    finally:
        _watcher.reset(token)
        _interrupt.reset(other)


def current_interrupt() -> Interruptible | None:
    """The interrupt of the run that calls the current tool, so that a tool that waits can end with it."""
    return _interrupt.get()


def tell(piece: Any) -> None:
    """Show a piece of the current tool call's result, or of its progress, to whoever watches; nobody need."""
    hear = _watcher.get()
    if hear is not None:
        hear(piece)


def gathered(value: Any, output_type: str = "any") -> Any:
    """The whole result of a tool: a generator's pieces, each told as it comes, put together; other values as they are.

    Args:
        value: What the tool returned.
        output_type: The tool's `output_type`.

    Returns:
        What the generator returned, if it is not None; else the joined text, where every piece is text and
        `output_type` is "string" or "any"; else the list of pieces. For an async generator, something to be awaited.
    """
    if isinstance(value, GeneratorType):
        return _gather(cast("GeneratorType[Any, Any, Any]", value), output_type)
    if isinstance(value, AsyncGeneratorType):
        return _agather(cast("AsyncGeneratorType[Any, Any]", value), output_type)
    return value


def _gather(stream: GeneratorType[Any, Any, Any], output_type: str) -> Any:
    pieces: list[Any] = []
    with closing(stream):
        while True:
            try:
                piece = next(stream)
            except StopIteration as end:
                return _together(pieces, output_type) if end.value is None else end.value
            pieces.append(piece)
            tell(piece)


async def _agather(stream: AsyncGeneratorType[Any, Any], output_type: str) -> Any:
    pieces: list[Any] = []
    async with aclosing(stream):
        async for piece in stream:
            pieces.append(piece)
            tell(piece)
    return _together(pieces, output_type)


def _together(pieces: list[Any], output_type: str) -> Any:
    if not pieces:
        return "" if output_type == "string" else []
    is_text = output_type in ("string", "any") and all(isinstance(piece, str) for piece in pieces)
    return "".join(pieces) if is_text else pieces


def is_async_function(function: Any) -> bool:
    """Whether calling a tool's function gives something to be awaited: a coroutine, or an async generator."""
    function = inspect.unwrap(function)
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def gathered_hint(function: Any, hint: Any) -> Any:
    """The type hint of a function's result once it is gathered: `str` for `Iterator[str]`, where it is a generator."""
    origin, args = typing.get_origin(hint) or hint, typing.get_args(hint)
    function = inspect.unwrap(function)
    is_stream = inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function) or origin in _STREAMS
    if not is_stream or origin not in _ITERATORS:
        return hint
    if len(args) == 3 and args[2] not in (None, type(None)):
        return args[2]
    if not args:
        return Any
    return args[0] if args[0] in (str, Any) else list[args[0]]
