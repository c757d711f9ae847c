"""Drives a loop: performs each effect, notes each fact, hands out the items of the stream."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, aclosing
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from actloop.errors import AgentError, AgentGenerationError, AgentInterruptedError, message_of
from actloop.executors.waiting import BlockingWaiter
from actloop.loop.effects import Answer, CallTools, CallUser, Check, Execute, Generate, Overflow
from actloop.models.overflow import overflow_of
from actloop.runtime import calls, execution
from actloop.tools.types import handle_agent_output_types
from actloop.values.cuts import cut
from actloop.values.events import Delta, Event, ModelReplied, RunFinished
from actloop.values.messages import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, StreamedReply
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from actloop.executors.session import Waiter
    from actloop.loop.effects import Effect, Loop
    from actloop.memory.fold import StreamItem
    from actloop.runtime.ports import Port
    from actloop.runtime.run import Run


async def drive(run: Run, loop: Loop, begun: Event | None, port: Port) -> AsyncGenerator[StreamItem]:
    """Run a loop to its end.

    Args:
        run: The run's state.
        loop: A fresh loop.
        begun: The event that opens the run; None for a single step, which is no run of its own.
        port: Waits and calls, blocking or on asyncio.

    Yields:
        Deltas, calls, outputs and finished steps as they come; the last is a `FinalAnswerStep`.

    Raises:
        AgentGenerationError: The model could not reply.
        AgentInterruptedError: The run was interrupted.
    """
    if run.parent is not None:
        run.parent.interrupt.add_waker(run.interrupt.set)
    try:
        if begun is not None:
            await port.compute(run.emit, begun)
        await execution.prepare(run, port)
        performed = _Performed()
        async with aclosing(_steps(run, loop, port, performed)) as items:
            async for item in items:
                yield item
        answer: Answer = performed.outcome
        value = handle_agent_output_types(answer.value)
        await _rest(run, port)
        ended = RunFinished(state=answer.state, answer=value, usage=run.ledger.total())
        item = await port.compute(run.emit, ended)
        if item is not None and begun is not None:
            await _finished(run, item, port)
            yield item
    except BaseException as error:
        await _note_end(run, error, port)
        raise
    finally:
        _end(run, loop, port)


async def _note_end(run: Run, error: BaseException, port: Port) -> None:
    """A run that ended without an answer says why."""
    if run.state != "running":
        return
    stopped = (AgentInterruptedError, KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError)
    try:
        # One that is cancelled or closed may not suspend any more.
        await _rest(run, port if isinstance(error, Exception) else BlockingWaiter())
    finally:
        run.emit(
            RunFinished(
                state="interrupted" if isinstance(error, stopped) else "failed",
                usage=run.ledger.total(),
                error_kind=type(error).__name__,
                error=message_of(error),
            )
        )


async def _rest(run: Run, waiter: Waiter) -> None:
    """The sandbox may serve a next run: what its requests move by then is no more this one's to tell."""
    if run.session is not None:
        await run.session.rest(waiter)


def _end(run: Run, loop: Loop, port: Port) -> None:
    """Free what a run held; all of it, though one of these should fail."""
    with ExitStack() as ending:
        if run.parent is not None:
            ending.callback(run.parent.ledger.add_called, run.ledger.total())
            ending.callback(run.parent.interrupt.remove_waker, run.interrupt.set)
        ending.callback(port.close)
        loop.close()


class _Performed:
    """The outcome of an effect, beside the items that performing it hands out."""

    outcome: Any = None


async def _steps(run: Run, loop: Loop, port: Port, result: _Performed) -> AsyncGenerator[StreamItem]:
    performed = _Performed()
    while True:
        run.interrupt.check()
        outcome = performed.outcome
        # A reply may hold a large program, and an outcome a large value: to read one takes long.
        matter: Any = outcome.content if isinstance(outcome, ChatMessage) else outcome
        asked = await port.compute(partial(_send, loop, outcome), matter)
        performed = _Performed()
        match asked:
            case Answer():
                result.outcome = asked
                return
            case Event():
                item = await port.compute(run.emit, asked)
                if item is not None:
                    await _finished(run, item, port)
                    yield item
            case Generate():
                async with aclosing(_generate(run, asked, port, performed)) as items:
                    async for item in items:
                        yield item
            case Execute():
                performed.outcome, item = await execution.execute(run, asked, port)
                if item is not None:
                    yield item
            case CallTools():
                entered = await port.compute(partial(calls.enter, run), asked)
                for call in entered:
                    if call.item is not None:
                        yield call.item
                performed.outcome = await calls.perform(run, asked, entered, port)
            case Check():
                performed.outcome = await port.call(partial(_refusal, run, asked.answer)) if run.checks else None
            case CallUser():
                performed.outcome = await port.call(partial(_called, run, asked.function))


def _send(loop: Loop, outcome: Any, _matter: Any) -> Effect | Event | Answer:
    """What the loop asks for next, or its answer."""
    try:
        return loop.send(outcome)
    except StopIteration as end:
        return end.value


async def _finished(run: Run, item: StreamItem, port: Port) -> None:
    """Note what a stream hands out. Callbacks of the user's may block; without any, no thread is needed."""
    if run.callbacks:
        await port.call(partial(run.finished, item))
    else:
        run.finished(item)


async def _generate(run: Run, effect: Generate, port: Port, performed: _Performed) -> AsyncGenerator[StreamItem]:
    options: dict[str, Any] = {"stop_sequences": list(effect.stop) or None}
    if effect.grammar is not None and getattr(run.model, "supports_grammar", False):
        options["grammar"] = effect.grammar
    if effect.response_format is not None:
        options["response_format"] = effect.response_format
    if effect.temperature is not None:
        options["temperature"] = effect.temperature
    if effect.tools:
        options["tools_to_call_from"] = list(effect.tools)
    start = run.now()
    messages: list[ChatMessage] = (
        await port.compute(run.vault.masked, effect.messages) if run.vault else effect.messages
    )
    try:
        if run.stream:
            reply = StreamedReply()
            async for delta in port.stream(run.model, messages, **options):
                reply.add(delta)
                run.emit(Delta(delta=delta))
                yield delta
            message = reply.message()
        else:
            message: ChatMessage = await port.generate(run.model, messages, **options)
        _check_reply(run.model, message)
    except Exception as error:
        refused = overflow_of(error) if effect.may_overflow else None
        if refused is not None:
            performed.outcome = Overflow(*refused)
            return
        if isinstance(error, AgentError):
            raise
        told = f"{type(error).__name__}: {message_of(error)}"
        raise AgentGenerationError(f"Error in generating model output:\n{told}") from error
    replied = ModelReplied(purpose=effect.purpose, message=message, seconds=run.now() - start)
    await port.compute(partial(_note_reply, run, replied), message.content)
    performed.outcome = message


def _note_reply(run: Run, replied: ModelReplied, _content: Any) -> None:
    run.emit(replied)


def _check_reply(model: Any, message: Any) -> None:
    """A model of the user's may give anything; what is no message is named here, where it is plain who gave it."""
    wrong = ""
    if not isinstance(message, ChatMessage):
        wrong = f"gave {type(message).__name__} instead of a ChatMessage"
    elif not isinstance(message.content, str | list | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        wrong = f"gave a message whose content is {type(message.content).__name__} instead of text"
    elif isinstance(message.content, list) and not all(
        isinstance(part, dict) and (part.get("type") != "text" or isinstance(part.get("text"), str))  # pyright: ignore[reportUnnecessaryIsInstance]
        for part in message.content
    ):
        wrong = "gave a message with parts that are no mappings, or text parts without text"
    elif not isinstance(message.token_usage, TokenUsage | None):  # pyright: ignore[reportUnnecessaryIsInstance]
        wrong = f"gave a message whose token_usage is {type(message.token_usage).__name__} instead of a TokenUsage"
    else:
        wrong = _wrong_calls(message.tool_calls)
    if wrong:
        raise AgentGenerationError(f"The model {type(model).__name__} {wrong}.")


def _wrong_calls(given: Any) -> str:
    """What is wrong with the calls of a reply, or nothing."""
    calls = cast("list[Any]", given) if isinstance(given, list | tuple) else [] if given is None else [given]
    for call in calls:
        if not (isinstance(call, ChatMessageToolCall) and isinstance(call.function, ChatMessageToolCallFunction)):  # pyright: ignore[reportUnnecessaryIsInstance]
            return f"gave a message whose tool_calls are no tool calls, but {type(call).__name__}"
        if not isinstance(call.function.name, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            return f"gave a tool call whose name is {type(call.function.name).__name__} instead of text"
    return ""


def _called(run: Run, function: Callable[[], Any]) -> Any:
    with run.active():
        return function()


def _refusal(run: Run, answer: Any) -> str | None:
    """Why one of the user's checks refuses the answer, or None."""
    for check in run.checks:
        name = getattr(check, "__name__", type(check).__name__)
        try:
            with run.active():
                accepted = bool(check(answer, run.memory, agent=run.agent))
        except Exception as error:
            return f"Check {name} failed with error: {type(error).__name__}: {message_of(error)}"
        if not accepted:
            return cut(run.vault.masked(f"Check {name} did not accept the answer {answer!r}"), 500)
    return None
