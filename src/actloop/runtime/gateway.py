"""The single place through which every tool call of every agent passes."""

from __future__ import annotations

import asyncio
import inspect
import time
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from actloop.errors import AgentInterruptedError, AgentToolCallError, message_of
from actloop.tools.names import python_names
from actloop.tools.results import check_result
from actloop.tools.streaming import gathered, is_async_function, watched
from actloop.tools.validation import bind_arguments
from actloop.values.events import Event, ToolCalled, ToolReturned, ToolYielded
from actloop.values.secrets import Vault

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

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


@dataclass(frozen=True, slots=True)
class Entered:
    """A call that was noted and is to be performed; `item` is what the run's stream hands out for it."""

    id: str
    name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    item: Any = None
    by_program: bool = True


_Outcome = TypeVar("_Outcome", Returned, Raised)


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
        self.vault = Vault()
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
        entered = await port.compute(partial(self.enter, origin=origin), name, args, kwargs)
        return await self.perform(port, entered, within=within)

    def enter(
        self,
        name: str,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        origin: Literal["code", "message"] = "code",
        call_id: str | None = None,
    ) -> Entered:
        """Note a call, for `perform` or `refuse`: so the calls of one message are noted in order, then made at once.

        Args:
            name: Name of the tool.
            args: Positional arguments.
            kwargs: Named arguments.
            origin: Whether a program or a message of the model made the call.
            call_id: Id of the call, unique within the run; made here by default.
        """
        self._calls += 1
        name, known = self._own_names.get(name, name), call_id or f"call_{self._calls}"
        item = self.emit(ToolCalled(id=known, name=name, args=list(args), kwargs=dict(kwargs), origin=origin))
        return Entered(known, name, args, kwargs, item, by_program=origin == "code")

    def refuse(self, call: Entered, message: str) -> Raised:
        """Answer a call without performing it."""
        raised = Raised(AgentToolCallError.__name__, message)
        self.emit(ToolReturned(id=call.id, error_kind=raised.kind, error=raised.message))
        return raised

    async def perform(self, port: Port, call: Entered, *, within: Callable[[], Any]) -> Returned | Raised:
        """Perform a call that was noted; its arguments may have been replaced since. See `call`."""
        start = time.perf_counter()
        watch = _Watch(self.emit, port, call.id, call.name, within)
        try:
            value = await self._perform(port, call.name, call.args, call.kwargs, watch.active)
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as error:  # a tool that calls sys.exit must not end its caller's program
            if isinstance(error, AgentInterruptedError) and port.interrupt.is_set:
                raise  # this run was interrupted, and not only the agent that it called
            raised = self._concealed(call, self._as_left(call, Raised(type(error).__name__, message_of(error))))
            seconds = time.perf_counter() - start
            self.emit(ToolReturned(id=call.id, error_kind=raised.kind, error=raised.message, seconds=seconds))
            if isinstance(error, asyncio.CancelledError) and port.is_cancelled():
                raise
            return raised
        finally:
            watch.over = True
        return await port.compute(partial(self._note, call, time.perf_counter() - start), value)

    def _note(self, call: Entered, seconds: float, value: Any) -> Returned:
        """Note a result; what the caller gets of it."""
        returned = self._as_left(call, Returned(value, final=call.name == FINAL_ANSWER))
        self.emit(ToolReturned(id=call.id, result=returned.value, seconds=seconds))
        return self._concealed(call, returned)

    def _as_left(self, call: Entered, outcome: _Outcome) -> _Outcome:
        """What comes of calling an agent, without the secrets of its own: here they are not known."""
        tool = self.tools.get(call.name)
        vault = getattr(getattr(tool, "agent", tool), "vault", None)
        return vault.masked(outcome) if isinstance(vault, Vault) and vault else outcome

    def _concealed(self, call: Entered, outcome: _Outcome) -> _Outcome:
        """What comes of a call, without secrets that the caller does not have: a model has none."""
        if not self.vault:
            return outcome
        return self.vault.without_tools_own(outcome) if call.by_program else self.vault.masked(outcome)

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
        if hasattr(tool, "inputs"):
            positional, bound = (), await port.compute(partial(bind_arguments, tool), args, kwargs)
        else:
            positional, bound = args, dict(kwargs)

        output_type = getattr(tool, "output_type", "any")
        set_up = getattr(tool, "ensure_setup", None)

        async def awaited(make: Callable[[], Any]) -> Any:
            with within():
                value = gathered(make(), output_type)
                while inspect.isawaitable(value):
                    value = gathered(await value, output_type)
                return value

        def called(function: Callable[[], Any]) -> Any:
            with within():
                return gathered(function(), output_type)

        call = partial(tool, *positional, **bound)
        if hasattr(tool, "acall"):  # an agent: it works in the caller's way, whichever that is
            acall = partial(tool.acall, *positional, **bound)
            value = await port.call_either(partial(called, call), partial(awaited, acall))
        elif is_async(tool):
            if set_up is not None and not tool.is_initialized:
                await port.call(partial(called, set_up))  # it may be slow, which the event loop must not feel
            value = await port.wait_for(partial(awaited, call))
        else:
            value = await port.call(partial(called, call))
            if inspect.isawaitable(value):
                value = await port.wait_for(partial(awaited, lambda: value))
        await port.compute(partial(check_result, tool), value)
        return value


class _Watch:
    """Notes the pieces that a tool yields while it is at work, and ends it once nobody waits for it any more."""

    def __init__(
        self, emit: Callable[[Event], Any], port: Port, call_id: str, name: str, within: Callable[[], Any]
    ) -> None:
        self._emit = emit
        self._port = port
        self._id = call_id
        self._name = name
        self._within = within
        self.over = False

    @contextmanager
    def active(self) -> Generator[None]:
        """While the tool runs."""
        with self._within(), watched(self._hear, self._port.interrupt):
            yield

    def _hear(self, piece: Any) -> None:
        self._port.interrupt.check()
        if self.over:
            raise AgentInterruptedError(f"nobody waits for this call of {self._name} any more")
        self._emit(ToolYielded(id=self._id, name=self._name, piece=piece))


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
    """Whether a program in asynchronous code gets an awaitable from calling the tool, as it does from an agent."""
    if hasattr(tool, "acall"):
        return True
    if hasattr(tool, "is_async"):
        return bool(tool.is_async)
    return is_async_function(tool) or is_async_function(getattr(tool, "forward", None))
