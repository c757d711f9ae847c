"""Tools of MCP servers in the hands of agents: programs in the kernel's sandbox, tool calls by message, interrupts."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest

from actloop import CodeAgent, ScriptedModel
from actloop.agents.tool_calling import ToolCallingAgent
from actloop.errors import AgentInterruptedError
from actloop.journal import MemoryJournal
from actloop.mcp.client import MCPClient
from actloop.ui.logger import LogLevel
from actloop.values.events import ToolYielded
from mcp import StdioServerParameters

from .conftest import HERE

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.values.events import Event

    from .conftest import Diary

PROGRAM = """<code>
from concurrent.futures import ThreadPoolExecutor
import asyncio

direct = add(1, b=2)
with ThreadPoolExecutor(4) as pool:
    threads = list(pool.map(lambda number: add(a=number, b=0), range(8)))

async def main():
    return await asyncio.gather(*(add(a=number, b=100) for number in range(8)))

gathered = asyncio.run(main())
try:
    add(a="many", b=2)
    refused = "no"
except Exception as error:
    refused = str(error)
final_answer([direct, threads, gathered, refused])
</code>"""


def coder(tools: list[Any], *replies: str, **options: Any) -> CodeAgent:
    return CodeAgent(
        tools=tools,
        model=ScriptedModel(list(replies)),
        verbosity_level=LogLevel.OFF,
        journal=MemoryJournal(),
        **options,
    )


@pytest.fixture
def tools(raw: Callable[..., Any]) -> Any:
    client = MCPClient(raw())
    yield client.get_tools()
    client.disconnect()


def checked(answer: Any) -> None:
    direct, threads, gathered, refused = answer
    assert direct == "3"
    assert threads == [str(number) for number in range(8)]
    assert gathered == [str(number + 100) for number in range(8)]
    assert "argument 'a' must be int" in refused


def test_programs_call_tools_directly_from_threads_and_with_gather(tools: list[Any]) -> None:
    with coder(tools, PROGRAM) as agent:
        checked(agent.run("Add."))


async def test_programs_of_an_asynchronous_run_call_them_too(tools: list[Any]) -> None:
    with coder(tools, PROGRAM) as agent:
        checked(await agent.arun("Add."))


def test_interrupting_a_run_cancels_the_request_on_the_server(tools: list[Any], diary: Diary) -> None:
    with coder(tools, "<code>wait()</code>") as agent:
        outcome: list[BaseException] = []

        def run() -> None:
            try:
                agent.run("Wait.")
            except BaseException as error:
                outcome.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        diary.wait_for("call wait")
        agent.interrupt()
        thread.join(60)
        assert isinstance(outcome[0], AgentInterruptedError)
        diary.wait_for("cancelled")


async def test_interrupting_an_asynchronous_run_cancels_it_too(tools: list[Any], diary: Diary) -> None:
    with coder(tools, "<code>wait()</code>") as agent:
        task = asyncio.create_task(agent.arun("Wait."))
        await asyncio.to_thread(diary.wait_for, "call wait")
        agent.interrupt()
        with pytest.raises(AgentInterruptedError):
            await task
        await asyncio.to_thread(diary.wait_for, "cancelled")


async def test_cancelling_an_asynchronous_run_cancels_it_too(tools: list[Any], diary: Diary) -> None:
    with coder(tools, "<code>wait()</code>") as agent:
        task = asyncio.create_task(agent.arun("Wait."))
        await asyncio.to_thread(diary.wait_for, "call wait")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(diary.wait_for, "cancelled")


def test_a_failing_tool_is_an_exception_in_the_program(tools: list[Any]) -> None:
    program = "<code>\ntry:\n    die()\nexcept Exception as error:\n    final_answer(type(error).__name__)\n</code>"
    with coder(tools, program) as agent:
        assert agent.run("Die.") == "MCPConnectionError"


def test_tools_are_told_of_in_the_prompt(tools: list[Any]) -> None:
    with coder(tools, "<code>final_answer(1)</code>") as agent:
        agent.run("Anything.")
        told = "\n".join(message.text for message in agent.write_memory_to_messages())
        assert "def add(a: int | None = None, b: int | None = None) -> str:" in told
        assert agent.managed_agents == {}


class Pieces(MemoryJournal):
    """Keeps what tools tell while they are at work."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[str] = []

    def append(self, run_id: str, event: Event) -> None:
        if isinstance(event, ToolYielded):
            self.heard.append(f"{event.name} {event.piece}")
        super().append(run_id, event)


def test_progress_is_an_event_of_the_run() -> None:
    pieces = Pieces()
    server = StdioServerParameters(command=sys.executable, args=[str(HERE / "example_server.py"), "stdio"])
    with MCPClient(server) as tools:
        model = ScriptedModel(["<code>final_answer(count(2))</code>"])
        with CodeAgent(tools, model, verbosity_level=LogLevel.OFF, journal=pieces) as agent:
            assert agent.run("Count.") == "counted"
    assert pieces.heard == ["count 1/2 at 1", "count 2/2 at 2"]


def test_agents_that_call_tools_by_message_use_them(tools: list[Any]) -> None:
    calls = [
        '{"name": "add", "arguments": {"a": 2, "b": "5"}}',
        '{"name": "final_answer", "arguments": {"answer": "done"}}',
    ]
    agent = ToolCallingAgent(tools, ScriptedModel(calls), verbosity_level=LogLevel.OFF, journal=MemoryJournal())
    assert agent.run("Add.") == "done"
    assert "7" in [getattr(step, "observations", None) for step in agent.memory.steps]
