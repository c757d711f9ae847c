"""Performs the tool calls of one message: noted in order, made at once, answered in order."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from actloop.loop.effects import CallOutcome
from actloop.runtime.gateway import Raised
from actloop.runtime.ports import Blocking
from actloop.tools.types import AgentAudio, AgentType, handle_agent_output_types

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actloop.loop.effects import CallTools, ToolRequest
    from actloop.runtime.gateway import Entered, Returned
    from actloop.runtime.ports import Handle, Port
    from actloop.runtime.run import Run

_MOST_AT_ONCE = 32
_DEEPEST = 4


def enter(run: Run, effect: CallTools) -> list[Entered]:
    """Note all calls of a message, in their order."""
    calls: list[Entered] = []
    for request in effect.calls:
        args, kwargs = _named(run.gateway.tools.get(request.name), request)
        calls.append(run.gateway.enter(request.name, args, kwargs, origin="message", call_id=request.id))
    return calls


def _named(tool: Any, request: ToolRequest) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional arguments by their names, where the tool says these: services know no others."""
    names = list(getattr(tool, "inputs", None) or ())[: len(request.args)]
    if len(names) < len(request.args) or set(names) & set(request.kwargs):
        return request.args, dict(request.kwargs)
    return (), {**dict(zip(names, request.args, strict=True)), **request.kwargs}


async def perform(run: Run, effect: CallTools, noted: list[Entered], port: Port) -> list[CallOutcome]:
    """Make the calls of a message; the outcomes come in their order, whichever ended first.

    A blocking run makes a single call in its own thread. Several are made at once, each in a thread or a task, at most
    `run.max_tool_threads` at a time. When the run ends early, those that are not begun are dropped and those that
    await something are cancelled; a blocking run waits for the rest, so that no thread is left behind.
    """
    left = deque(enumerate(zip(effect.calls, noted, strict=True)))
    results: list[Returned | Raised | None] = [None] * len(left)

    async def work() -> None:
        while left and not run.interrupt.is_set:
            place, (request, call) = left.popleft()
            results[place] = await _one(run, request, call, port)

    most = min(run.max_tool_threads or _MOST_AT_ONCE, len(left))
    # A call that awaits something is made beside the run, so that an interrupt can end it.
    awaits = any(getattr(run.gateway.tools.get(call.name), "is_async", False) for call in noted)
    here = isinstance(port, Blocking) and most <= 1 and not awaits
    await (work() if here else _together(run, port, work, left, most))
    run.interrupt.check()
    return [_outcome(run, call, cast("Returned | Raised", r)) for call, r in zip(noted, results, strict=True)]


async def _together(run: Run, port: Port, work: Any, left: deque[Any], most: int) -> None:
    handles: list[Handle] = []

    def wake() -> None:
        for handle in handles.copy():
            handle.cancel()

    run.interrupt.add_waker(wake)
    try:
        handles.extend(port.start(work) for _ in range(most))  # those begun are kept when one cannot be
        if run.interrupt.is_set:
            wake()  # one that was begun just then was not in the list yet
        for handle in handles:
            await handle.wait()
    except BaseException:
        left.clear()
        wake()
        for handle in handles:
            with suppress(Exception, asyncio.CancelledError):
                await handle.wait()
        run.interrupt.check()
        raise
    finally:
        run.interrupt.remove_waker(wake)


async def _one(run: Run, request: ToolRequest, call: Entered, port: Port) -> Returned | Raised:
    if request.refusal is not None:
        return run.gateway.refuse(call, request.refusal)
    resolve = partial(resolved, variables=run.variables)
    args, kwargs = tuple(map(resolve, call.args)), {name: resolve(value) for name, value in call.kwargs.items()}
    return await run.gateway.perform(port, replace(call, args=args, kwargs=kwargs), within=run.active)


def resolved(value: Any, variables: Mapping[str, Any], depth: int = 0) -> Any:
    """An argument with the names of variables replaced by their values, also within lists and mappings."""
    if isinstance(value, str):
        known = variables.get(value, value)
        return known.to_raw() if isinstance(known, AgentType) else known
    if depth < _DEEPEST and isinstance(value, list):
        return [resolved(item, variables, depth + 1) for item in cast("list[Any]", value)]
    if depth < _DEEPEST and isinstance(value, dict):
        given = cast("dict[str, Any]", value)
        return {name: resolved(item, variables, depth + 1) for name, item in given.items()}
    return value


def _outcome(run: Run, call: Entered, result: Returned | Raised) -> CallOutcome:
    """What the loop is told; an image or a sound is stored in the run's state, under a name that the model can use."""
    if isinstance(result, Raised):
        return CallOutcome(error_kind=result.kind, error=result.message)
    if result.final:
        return CallOutcome(result.value, final=True)
    value = result.value
    with suppress(Exception):  # a tool may return anything; what is no image or sound is shown as it is
        value = handle_agent_output_types(value, getattr(run.gateway.tools[call.name], "output_type", None))
    kind = _medium(value)
    if kind is None:
        return CallOutcome(value)
    name, number = f"{kind[0]}.{kind[1]}", 1
    while name in run.variables:
        number += 1
        name = f"{kind[0]}_{number}.{kind[1]}"
    run.variables[name] = value
    return CallOutcome(value, stored=name)


def _medium(value: Any) -> tuple[str, str] | None:
    """What an image or a sound is called, and the ending of its name."""
    if isinstance(value, AgentAudio):
        return "audio", "mp3"
    return ("image", "png") if isinstance(value, AgentType) and hasattr(value, "save") else None
