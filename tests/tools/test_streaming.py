"""Tools whose function is a generator."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from actloop.agents.code import CodeAgent
from actloop.errors import AgentInterruptedError
from actloop.executors.waiting import run_now
from actloop.journal.base import MemoryJournal
from actloop.models.scripted import ScriptedModel
from actloop.runtime.gateway import Gateway
from actloop.runtime.ports import Blocking, Interrupt
from actloop.tools.base import Tool
from actloop.tools.decorator import tool
from actloop.tools.streaming import tell, watched
from actloop.values.events import Event, ToolReturned, ToolYielded

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterable, Iterator


@tool
def words(text: str) -> Iterator[str]:
    """Gives the words."""
    yield from text.split()


@tool
def countdown(start: int) -> Generator[int]:
    """Counts down."""
    yield from range(start, 0, -1)


@tool
def search(pages: int) -> Generator[str, None, dict[str, int]]:
    """Reads pages."""
    for page in range(pages):
        yield f"page {page}"
    return {"pages": pages}


@tool
async def awords(text: str) -> AsyncIterator[str]:
    """Gives the words."""
    for word in text.split():
        await asyncio.sleep(0)
        yield word


@tool
async def acount(start: int) -> AsyncGenerator[int]:
    """Counts down."""
    for number in range(start, 0, -1):
        yield number


class Lines(Tool):
    name = "lines"
    description = "Gives lines."
    inputs = {"count": {"type": "integer", "description": "How many."}}
    output_type = "array"

    def forward(self, count: int) -> Iterable[str]:
        for number in range(count):
            yield f"line {number}"


def test_pieces_are_put_together() -> None:
    assert words("a b c") == "abc"
    assert words("") == ""
    assert countdown(3) == [3, 2, 1]
    assert countdown(0) == []
    assert search(2) == {"pages": 2}
    assert Lines()(2) == ["line 0", "line 1"]
    assert words("a b", sanitize_inputs_outputs=True) == "ab"


async def test_async_generators_are_awaited() -> None:
    assert awords.is_async
    assert await awords("a b c") == "abc"
    assert await acount(2) == [2, 1]
    assert await awords("a b", sanitize_inputs_outputs=True) == "ab"


def test_the_model_is_shown_what_it_gets() -> None:
    shown = {one.name: one.to_code_prompt().splitlines()[0] for one in (words, countdown, search, awords, acount)}
    assert shown == {
        "words": "def words(text: str) -> str:",
        "countdown": "def countdown(start: int) -> list[int]:",
        "search": "def search(pages: int) -> dict[str, int]:",
        "awords": "async def awords(text: str) -> str:",
        "acount": "async def acount(start: int) -> list[int]:",
    }
    assert (words.output_type, countdown.output_type, search.output_type) == ("string", "array", "object")
    assert Lines().to_code_prompt().startswith("def lines(count: int) -> list:")


def test_a_generator_that_raises_raises() -> None:
    closed: list[bool] = []

    @tool
    def breaks() -> Iterator[int]:
        """Breaks."""
        try:
            yield 1
            raise ValueError("broken")
        finally:
            closed.append(True)

    with pytest.raises(ValueError, match="broken"):
        breaks()
    assert closed == [True]


def test_a_watcher_that_raises_ends_the_tool() -> None:
    closed: list[bool] = []

    @tool
    def endless() -> Iterator[int]:
        """Never ends by itself."""
        try:
            while True:
                yield 1
        finally:
            closed.append(True)

    def hear(piece: Any) -> None:
        raise KeyError(piece)

    with watched(hear), pytest.raises(KeyError):
        endless()
    assert closed == [True]


def agent_for(tools: list[Any], code: str, sink: Any) -> CodeAgent:
    return CodeAgent(tools, ScriptedModel([f"<code>\n{code}\n</code>"]), journal=sink, verbosity_level=0)


class Heard(MemoryJournal):
    """A journal that hears what is passing, too."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[Event] = []

    def append(self, run_id: str, event: Event) -> None:
        self.heard.append(event)
        super().append(run_id, event)


CODE = "final_answer([words('a b'), countdown(2), search(1), lines(1)])"
ACODE = "import asyncio\nx = await asyncio.gather(awords('a b'), acount(2))\nfinal_answer(x)"


@pytest.mark.parametrize("run", ["run", "arun"])
@pytest.mark.parametrize(
    ("tools", "code", "answer", "pieces"),
    [
        (
            [words, countdown, search, Lines()],
            CODE,
            ["ab", [2, 1], {"pages": 1}, ["line 0"]],
            [("words", ["a", "b"]), ("countdown", [2, 1]), ("search", ["page 0"]), ("lines", ["line 0"])],
        ),
        ([awords, acount], ACODE, ["ab", [2, 1]], [("awords", ["a", "b"]), ("acount", [2, 1])]),
    ],
)
def test_each_piece_is_an_event_and_the_result_is_whole(
    run: str, tools: list[Any], code: str, answer: Any, pieces: list[tuple[str, list[Any]]]
) -> None:
    heard = Heard()
    with agent_for(tools, code, heard) as agent:
        assert (agent.run("go") if run == "run" else asyncio.run(agent.arun("go"))) == answer
    yielded = [event for event in heard.heard if isinstance(event, ToolYielded)]
    assert [(name, [e.piece for e in yielded if e.name == name]) for name, _ in pieces] == pieces
    for event in yielded:  # before the call's result
        ended = next(e for e in heard.heard if isinstance(e, ToolReturned) and e.id == event.id)
        assert heard.heard.index(event) < heard.heard.index(ended)


def test_an_interrupt_ends_a_tool_between_two_pieces() -> None:
    begun, closed = threading.Event(), threading.Event()

    @tool
    def endless() -> Iterator[int]:
        """Never ends by itself."""
        try:
            while True:
                begun.set()
                time.sleep(0.001)
                yield 1
        finally:
            closed.set()

    with agent_for([endless], "endless()", None) as agent:

        def stop() -> None:
            begun.wait()
            agent.interrupt()

        stopper = threading.Thread(target=stop)
        stopper.start()
        with pytest.raises(AgentInterruptedError):
            agent.run("go")
        stopper.join()
    assert closed.is_set()


async def test_a_tool_that_nobody_waits_for_ends_at_its_next_piece() -> None:
    begun, closed = threading.Event(), threading.Event()

    @tool
    def endless() -> Iterator[int]:
        """Never ends by itself."""
        try:
            while True:
                begun.set()
                time.sleep(0.001)
                yield 1
        finally:
            closed.set()

    with agent_for([endless], "endless()", None) as agent:
        task = asyncio.create_task(agent.arun("go"))
        await asyncio.to_thread(begun.wait)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(closed.wait, 20)


def test_a_tool_may_tell_of_its_progress_without_being_a_generator() -> None:
    @tool
    def work() -> str:
        """Works."""
        tell("half")
        return "done"

    heard = Heard()
    with agent_for([work], "final_answer(work())", heard) as agent:
        assert agent.run("go") == "done"
    assert [e.piece for e in heard.heard if isinstance(e, ToolYielded)] == ["half"]
    assert work() == "done"


async def unbound(text: str) -> AsyncIterator[str]:
    for word in text.split():
        yield word


def plain(text: str) -> Iterator[str]:
    yield from text.split()


@pytest.mark.parametrize("function", [plain, unbound])
def test_a_plain_function_streams_too(function: Callable[..., Any]) -> None:
    gateway = Gateway({"f": function})
    heard: list[Event] = []
    gateway.emit = heard.append
    port = Blocking(Interrupt())
    outcome: Any = run_now(gateway.call(port, "f", ("a b",), {}, within=nullcontext))
    port.close()
    assert outcome.value == "ab"
    assert [event.piece for event in heard if isinstance(event, ToolYielded)] == ["a", "b"]
