"""The single place through which every tool call of every agent passes."""

from __future__ import annotations

import asyncio
import inspect
import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from actloop.errors import AgentInterruptedError, AgentToolCallError, message_of
from actloop.tools.names import python_names
from actloop.tools.validation import bind_arguments
from actloop.values.events import Event, ToolCalled, ToolReturned

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actloop.runtime.ports import Port

FINAL_ANSWER = "final_answer"


@dataclass(frozen=True, slots=True)
class Returned:
    """A call's result. `final` marks the run's answer."""

    value: Any
    final: bool = False


@dataclass(frozen=True, slots=True)
class Raised:
    """A call's error, as the caller sees it: name of the exception's class, and its message."""

    kind: str
    message: str


class Gateway:
    """Validates, performs and records tool calls.

    Args:
        tools: Everything that may be called, by name; managed agents are tools here.
    """

    def __init__(self, tools: Mapping[str, Any]) -> None:
        self.tools = tools
        self.code_names = python_names(list(tools))
        """The name under which a program calls each tool; its own, unless that is no Python name."""
        self._own_names = {alias: name for name, alias in self.code_names.items()}
        self.emit: Callable[[Event], Any] = _unheard
        self._calls = 0

    async def call(
        self,
        port: Port,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        origin: Literal["code", "message"] = "code",
        within: Callable[[], Any],
    ) -> Returned | Raised:
        """Perform one call.

        Args:
            port: Waits for the tool.
            name: Name of the tool.
            args: Positional arguments.
            kwargs: Named arguments.
            origin: Whether a program or a message of the model made the call.
            within: Gives the context manager under which the tool runs.

        Returns:
            The result, or the error: whatever a tool raises is an answer to its caller, not the end of the run.
        """
        self._calls += 1
        name = self._own_names.get(name, name)
        call_id = f"call_{self._calls}"
        self.emit(ToolCalled(id=call_id, name=name, args=list(args), kwargs=dict(kwargs), origin=origin))
        start = time.perf_counter()
        try:
            value = await self._perform(port, name, args, kwargs, within)
        except (AgentInterruptedError, KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a tool that calls sys.exit must not end its caller's program
            raised = Raised(type(error).__name__, message_of(error))
            seconds = time.perf_counter() - start
            self.emit(ToolReturned(id=call_id, error_kind=raised.kind, error=raised.message, seconds=seconds))
            if isinstance(error, asyncio.CancelledError) and port.is_cancelled():
                raise
            return raised
        self.emit(ToolReturned(id=call_id, result=value, seconds=time.perf_counter() - start))
        return Returned(value, final=name == FINAL_ANSWER)

    async def _perform(
        self,
        port: Port,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        within: Callable[[], Any],
    ) -> Any:
        tool = self.tools.get(name)
        if tool is None:
            raise AgentToolCallError(f"there is no tool named {name!r}; there are: {', '.join(sorted(self.tools))}")
        if name == FINAL_ANSWER:
            args, kwargs = _one_answer(tool, args, kwargs)
        # A plain function that the user's executor offers says nothing of its arguments.
        bound = bind_arguments(tool, args, kwargs) if hasattr(tool, "inputs") else dict(kwargs)
        positional = () if hasattr(tool, "inputs") else args

        async def awaited(make: Callable[[], Any]) -> Any:
            with within():
                return await make()

        def called() -> Any:
            with within():
                return tool(*positional, **bound)

        if is_async(tool):
            return await port.wait_for(partial(awaited, partial(tool, *positional, **bound)))
        value = await port.call(called)
        if inspect.isawaitable(value):
            return await port.wait_for(partial(awaited, lambda: value))
        return value


def _one_answer(
    tool: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Several values given as the answer are one: a question that asks for two things is often answered so."""
    inputs = list(getattr(tool, "inputs", ()))
    if len(inputs) != 1 or not (args or kwargs):
        return args, kwargs
    if len(args) > 1 and not kwargs:
        return (args,), kwargs
    if not args and inputs[0] not in kwargs:
        return (dict(kwargs),), {}
    return args, kwargs


def _unheard(event: Event) -> None:
    """Until a run listens."""


def is_async(tool: Any) -> bool:
    """Whether calling the tool gives an awaitable."""
    if hasattr(tool, "is_async"):
        return bool(tool.is_async)
    return inspect.iscoroutinefunction(tool) or inspect.iscoroutinefunction(getattr(tool, "forward", None))
