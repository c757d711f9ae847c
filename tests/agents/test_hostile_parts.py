"""Tools, models and callers that misbehave: a run ends or goes on, and the next one works."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import pytest

from actloop import (
    AgentGenerationError,
    ChatMessage,
    ChatMessageToolCall,
    ChatMessageToolCallFunction,
    CodeAgent,
    LogLevel,
    MemoryJournal,
    MessageRole,
    ScriptedModel,
    ToolCallingAgent,
    tool,
)


def program(code: str) -> str:
    return f"<code>\n{code}\n</code>"


def agent(replies: Any, tools: list[Any] | None = None, **options: Any) -> CodeAgent:
    options = {"verbosity_level": LogLevel.OFF, "journal": None} | options
    return CodeAgent(tools or [], ScriptedModel(replies), **options)


@tool
async def never(value: int = 0) -> int:
    """Never ends."""
    await asyncio.sleep(1000)
    return value


@tool
def bare_next() -> int:
    """Asks an empty iterator."""
    return next(iter([]))


@tool
def leaves() -> int:
    """Calls sys.exit."""
    sys.exit(3)


@pytest.mark.parametrize(
    "code",
    [
        "import asyncio\ntask = asyncio.create_task(never())\nawait asyncio.sleep(0.1)\nfinal_answer(5)",
        "import asyncio\ntry:\n    await asyncio.wait_for(never(), 0.2)\nexcept TimeoutError:\n    final_answer(5)",
    ],
)
async def test_a_call_that_is_open_when_the_program_ends_is_dropped(code: str) -> None:
    with agent([program(code)] * 2, [never]) as one:
        assert await asyncio.to_thread(one.run, "blocking") == 5
        assert await one.arun("awaited") == 5


@pytest.mark.parametrize("broken", [bare_next, leaves])
async def test_a_tool_that_raises_control_flow_is_answered_with_an_error(broken: Any) -> None:
    code = f"try:\n    {broken.name}()\nexcept BaseException as error:\n    final_answer('caught')"
    with agent([program(code)] * 2 + [program("final_answer('alive')")], [broken]) as one:
        assert await asyncio.to_thread(one.run, "blocking") == "caught"
        assert await one.arun("awaited") == "caught"
        assert one.run("go on", reset=False) == "alive"


async def test_a_callback_that_raises_stop_iteration_ends_the_run_with_an_error() -> None:
    def callback(step: Any) -> None:
        next(iter([]))

    with agent([program("1")] * 2, step_callbacks=[callback]) as one:
        with pytest.raises(RuntimeError):
            await one.arun("awaited")
        with pytest.raises(RuntimeError):
            one.run("blocking")


def test_a_stream_that_is_never_read_takes_nothing_over() -> None:
    with agent([program("x = 4\nfinal_answer(1)"), program("final_answer(x)")]) as one:
        one.run("first")
        one.run("never read", stream=True, reset=False)
        assert one.run("third", reset=False) == 4


@pytest.mark.parametrize(
    "reply",
    [None, "text", 5, ChatMessage("assistant", 5), ChatMessage("assistant", [{"type": "text", "text": None}])],  # pyright: ignore[reportArgumentType]
)
def test_a_reply_that_is_no_message_is_a_generation_error(reply: Any) -> None:
    class Odd(ScriptedModel):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            return reply

    journal = MemoryJournal()
    with CodeAgent([], Odd([]), verbosity_level=LogLevel.OFF, journal=journal) as one:
        with pytest.raises(AgentGenerationError, match="Odd"):
            one.run("ask")
        assert [run.state for run in journal.runs()] == ["failed"]


@pytest.mark.parametrize("kind", [CodeAgent, ToolCallingAgent])
@pytest.mark.parametrize("name", [None, 5, ["add"], b"add"])
def test_a_call_without_a_name_is_a_generation_error(kind: type[CodeAgent | ToolCallingAgent], name: Any) -> None:
    class Odd(ScriptedModel):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            call = ChatMessageToolCall(ChatMessageToolCallFunction({}, name), id="1")
            return ChatMessage(MessageRole.ASSISTANT, "thought", tool_calls=[call])

    told = f"The model Odd gave a tool call whose name is {type(name).__name__} instead of text"
    with (
        kind([], Odd([]), verbosity_level=LogLevel.OFF, journal=None) as one,
        pytest.raises(AgentGenerationError, match=told),
    ):
        one.run("ask")


@pytest.mark.parametrize("calls", ["add", [None], [5], {"name": "add"}])
def test_calls_that_are_none_are_a_generation_error(calls: Any) -> None:
    class Odd(ScriptedModel):
        def generate(self, *args: Any, **kwargs: Any) -> Any:
            message = ChatMessage(MessageRole.ASSISTANT, "thought")
            message.tool_calls = calls
            return message

    with (
        ToolCallingAgent([], Odd([]), verbosity_level=LogLevel.OFF, journal=None) as one,
        pytest.raises(AgentGenerationError, match="The model Odd gave a message whose tool_calls are no tool calls"),
    ):
        one.run("ask")


def test_an_error_without_a_readable_message_still_ends_the_run_properly() -> None:
    class Unreadable(Exception):
        def __str__(self) -> str:
            raise ValueError("no")

    journal = MemoryJournal()
    with agent([Unreadable()], journal=journal) as one:
        with pytest.raises(AgentGenerationError, match="Unreadable"):
            one.run("ask")
        assert [run.state for run in journal.runs()] == ["failed"]


def test_a_fork_gets_a_sandbox_of_its_own_and_leaves_the_parents_alone() -> None:
    def reply(messages: list[ChatMessage]) -> str:
        told = messages[-1].text
        if "child" in told:
            return program("final_answer('x' in globals())")
        return program("x = 4\nfinal_answer(x)" if "first" in told else "final_answer(x)")

    with agent(reply) as one:
        assert one.run("first") == 4
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.write(writing, str(one.run("child", reset=False)).encode())
                one.cleanup()
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        assert os.read(reading, 100) == b"False"
        os.close(reading)
        os.close(writing)
        assert one.run("again", reset=False) == 4
