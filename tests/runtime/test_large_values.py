"""Large values are encoded, decoded and masked while the event loop goes on."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.runtime.gates import Held

from actloop import CodeAgent, MontyExecutor, tool
from actloop.executors.guest_session import GuestSession
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.protocol import HostProtocol
from actloop.executors.session import Call, Finished, RemoteTool, SandboxLimits, Session
from actloop.guest import Decoder, Encoder, pack
from actloop.guest.encode import dumps
from actloop.journal.base import MemoryJournal
from actloop.journal.sqlite import SQLiteJournal
from actloop.memory.memory import AgentMemory
from actloop.memory.steps import SystemPromptStep
from actloop.models.scripted import ScriptedModel
from actloop.runtime.gateway import Gateway
from actloop.runtime.ports import Asyncio, Interrupt
from actloop.runtime.run import Run
from actloop.values.events import ToolReturned
from actloop.values.messages import ChatMessage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from actloop.loop.effects import Loop

COUNT = 500_000
TURNS = 3
"""Turns that the loop must have had; a value that is worked on for long enough leaves it many more."""

MANY_TURNS = 12
"""More than it has before, between and after the few calls that would write or read JSON at once."""

ATTEMPTS = 60
"""On a machine that has much else to do, a loop may get fewer than it is left."""


class Heart:
    """Counts the turns of a loop."""

    def __init__(self) -> None:
        self.turns = 0
        self.starved = False
        self._changed = threading.Condition()

    async def beat(self) -> None:
        while True:
            with self._changed:
                self.turns += 1
                self._changed.notify_all()
            await asyncio.sleep(0.0005)

    def wait(self) -> None:
        """Wait for turns: in the loop's own thread, none come."""
        with self._changed:
            until = self.turns + TURNS
            if not self._changed.wait_for(lambda: self.turns >= until, 10):
                self.starved = True


class Patient:
    """Its `repr`, which encoding and masking need, is there once the loop has had turns."""

    def __init__(self, heart: Heart) -> None:
        self._heart = heart

    def __repr__(self) -> str:
        self._heart.wait()
        return "<patient>"


class Port(Asyncio):
    """Notes the turns that the loop had while large values were worked on."""

    def __init__(self, heart: Heart) -> None:
        super().__init__(Interrupt())
        self.heart = heart
        self.begun = asyncio.Event()
        self.ended: list[tuple[str, int]] = []

    async def compute(self, function: Callable[..., Any], *arguments: Any) -> Any:
        def counted(*arguments: Any) -> Any:
            before = self.heart.turns
            result = function(*arguments)
            self.ended.append((getattr(function, "__name__", ""), self.heart.turns - before))
            return result

        self.begun.set()
        return await super().compute(counted, *arguments)

    def most(self, name: str) -> int:
        """Most turns during one call of a function."""
        return max((turns for called, turns in self.ended if called == name), default=0)


@pytest.fixture
async def heart() -> AsyncIterator[Heart]:
    heart, interval = Heart(), sys.getswitchinterval()
    sys.setswitchinterval(0.001)
    task = asyncio.create_task(heart.beat())
    yield heart
    task.cancel()
    sys.setswitchinterval(interval)
    assert not heart.starved


@pytest.fixture
async def port(heart: Heart) -> AsyncIterator[Port]:
    port = Port(heart)
    yield port
    port.close()


@pytest.fixture(params=["local", "monty"])
async def session(request: pytest.FixtureRequest, port: Port) -> AsyncIterator[Session]:
    if request.param == "monty" and (reason := MontyExecutor.why_unavailable()):
        pytest.skip(reason)
    executor = MontyExecutor() if request.param == "monty" else LocalPythonExecutor([])
    session = await executor.open_session(port)
    await session.define(port, tools=[RemoteTool("ask"), RemoteTool("later", is_async=True)])
    yield session
    session.close()
    executor.cleanup()


async def called(session: Session, port: Port, code: str) -> Call:
    """Start a program; its first call."""
    await session.start(code, port)
    event = await session.receive(port)
    assert isinstance(event, Call), event
    return event


async def finished(session: Session, port: Port) -> Any:
    """What the program ends with."""
    event = await session.receive(port)
    assert isinstance(event, Finished), event
    assert event.failure is None, event.failure
    return event.output


@pytest.mark.parametrize(
    "value",
    [
        list(range(COUNT)),
        [number / 7 for number in range(COUNT)],
        {str(number): number / 7 for number in range(COUNT // 4)},
        [[number / 7, True] for number in range(COUNT // 4)],
    ],
    ids=["integers", "floats", "dict", "rows"],
)
async def test_the_loop_goes_on_while_json_is_written_and_read(port: Port, value: Any) -> None:
    def write(data: Any) -> str:
        return dumps(data)

    for _ in range(ATTEMPTS):
        text = await port.compute(write, Encoder().value(value))
        assert await port.compute(Decoder().decode, text) == value
        if min(port.most("write"), port.most("decode")) >= MANY_TURNS:
            break
    assert port.most("write") >= MANY_TURNS
    assert port.most("decode") >= MANY_TURNS


async def test_what_a_tool_returns_is_encoded_while_the_loop_goes_on(session: Session, port: Port) -> None:
    call = await called(session, port, "x = ask()\nlen(x)")
    await session.answer(call.id, [Patient(port.heart), *range(1000)], port)
    assert await finished(session, port) == 1001


async def test_a_variable_is_encoded_while_the_loop_goes_on(session: Session, port: Port) -> None:
    await session.define(port, variables={"x": [Patient(port.heart), *range(1000)]})
    await session.start("len(x)", port)
    assert await finished(session, port) == 1001


async def test_what_a_guest_is_asked_is_encoded_while_the_loop_goes_on(port: Port) -> None:
    session = await LocalPythonExecutor([]).open_session(port)
    assert isinstance(session, GuestSession)
    try:
        unwanted = [Patient(port.heart), *map(str, range(3000))]
        said = await session.ask("snapshot", port, bound=1 << 20, part=1 << 18, without=unwanted, library=None)
        assert "size" in said or "needs" in said
    finally:
        session.close()


async def test_what_a_program_sends_and_gives_is_decoded_while_the_loop_goes_on(port: Port) -> None:
    session = await LocalPythonExecutor([]).open_session(port)
    try:
        await session.define(port, tools=[RemoteTool("ask")])
        call = await called(session, port, f"x = ask(list(range({COUNT})))\nlist(range(x))")
        assert call.args == (list(range(COUNT)),)
        assert port.most("read") >= TURNS
        port.ended.clear()
        await session.answer(call.id, COUNT + 1, port)
        assert await finished(session, port) == list(range(COUNT + 1))
        assert port.most("read") >= TURNS
    finally:
        session.close()


async def test_variables_that_are_read_are_decoded_while_the_loop_goes_on(session: Session, port: Port) -> None:
    await session.define(port, variables={"x": list(range(COUNT))})
    assert (await session.read(port))["x"] == list(range(COUNT))
    assert max(port.most("read"), port.most("value")) >= TURNS


async def test_an_answer_that_is_cancelled_while_it_is_encoded_can_be_given_anew(session: Session, port: Port) -> None:
    call = await called(session, port, "x = ask()\nlen(x)")
    held = Held()
    answer = asyncio.create_task(session.answer(call.id, [held], port))
    assert await asyncio.to_thread(held.reached.wait, 60)
    answer.cancel()
    await asyncio.sleep(0)
    held.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await answer
    await session.answer(call.id, [1, 2, 3], port)
    assert await finished(session, port) == 3


async def test_a_session_whose_message_is_cancelled_while_it_is_decoded_ends(port: Port) -> None:
    session = await LocalPythonExecutor([]).open_session(port)
    await session.start(f"list(range({COUNT}))", port)
    port.begun.clear()
    receiving = asyncio.create_task(session.receive(port))
    await port.begun.wait()
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    assert not session.alive


async def test_small_answers_overtake_a_large_one_and_each_gets_to_its_call(session: Session, port: Port) -> None:
    code = "import asyncio\nx = await asyncio.gather(later(0), later(1), later(2))\n[len(x[0]), x[1], x[2]]"
    await session.start(code, port)
    calls: list[Call] = []
    while len(calls) < 3:
        event = await session.receive(port)
        assert isinstance(event, Call), event
        calls.append(event)
    large = [Patient(port.heart), *range(1000)]
    answers = [
        asyncio.create_task(session.answer(call.id, large if call.args == (0,) else call.args[0], port))
        for call in calls
    ]
    assert await finished(session, port) == [1001, 1, 2]
    await asyncio.gather(*answers)


async def test_a_result_is_not_answered_to_a_program_that_has_ended_meanwhile(port: Port) -> None:
    session = await LocalPythonExecutor([], limits=SandboxLimits(wall=30)).open_session(port)
    try:
        await session.define(port, tools=[RemoteTool("ask")])
        code = (
            "import threading, time\ndef asking():\n    try: ask()\n    except RuntimeError: pass\n"
            "threading.Thread(target=asking, daemon=True).start()\ntime.sleep(0.2)\n5"
        )
        call = await called(session, port, code)
        held = Held()
        answer = asyncio.create_task(session.answer(call.id, [held], port))
        assert await finished(session, port) == 5
        held.opened.set()
        await answer
        await session.start("6", port)
        assert await finished(session, port) == 6
    finally:
        session.close()


async def test_small_values_are_worked_on_at_once(port: Port) -> None:
    def where(_: Any) -> int:
        return threading.get_ident()

    here = threading.get_ident()
    small = [{"a": 1, "b": ["x", 1.5, None]}, "x" * 1000, b"", (1, 2), {3}, list(range(1000))]
    for value in small:
        assert await port.compute(where, value) == here
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    loop: list[Any] = []
    loop.append(loop)
    for value in ["x" * 100_000, b"x" * 100_000, list(range(3000)), [["x" * 1000] * 100], deep, loop, 1 << (1 << 20)]:
        assert await port.compute(where, value) != here


async def test_values_that_cannot_be_sent_keep_their_handles_in_several_threads(port: Port) -> None:
    protocol = HostProtocol(SandboxLimits())
    values = [object() for _ in range(400)]
    parts = [values[place : place + 100] for place in range(0, 400, 100)]
    await asyncio.gather(*(port.compute(protocol.variable, "x", part) for part in parts))
    again = pack({"t": "define", "tools": [], "variables": {"x": values}}, keep=protocol.keep)
    for handle in range(1, 401):
        assert b'"h":%d}' % handle in again


@pytest.mark.parametrize("secrets", [{}, {"TOKEN": "hunter2-hunter2"}], ids=["no secrets", "secrets"])
async def test_a_run_notes_and_masks_large_values_while_the_loop_goes_on(heart: Heart, secrets: dict[str, str]) -> None:
    @tool
    def many() -> list[Any]:
        """Many."""
        return [Patient(heart), *range(1000)]

    @tool
    async def more(values: list[Any]) -> list[Any]:
        """More.

        Args:
            values: What they come to.
        """
        return [*values, 1]

    code = "x = await more(many())\nfinal_answer(x)"
    model = ScriptedModel([f"Thought: all\n<code>\n{code}\n</code>"])
    agent = CodeAgent(tools=[many, more], model=model, secrets=secrets, journal=MemoryJournal(), verbosity_level=0)
    answer = await agent.arun("How many?")
    assert len(answer) == 1002
    agent.cleanup()


def test_an_event_waits_for_no_other_that_is_encoded(tmp_path: Path) -> None:
    journal, held = SQLiteJournal(tmp_path / "journal.db"), Held()
    memory, gateway = AgentMemory(SystemPromptStep("")), Gateway({})
    run = Run(
        agent=None, agent_name="", task="", model=ScriptedModel([]), memory=memory, gateway=gateway, sinks=[journal]
    )
    first = threading.Thread(target=run.emit, args=(ToolReturned(id="1", result=[held]),), daemon=True)
    first.start()
    assert held.reached.wait(60)
    second = threading.Thread(target=run.emit, args=(ToolReturned(id="2", result=2),), daemon=True)
    second.start()
    second.join(60)
    waited = second.is_alive()
    held.opened.set()
    first.join(60)
    second.join(60)
    assert not waited
    ids = [event.id for event in journal.events(run.id) if isinstance(event, ToolReturned)]
    assert ids == ["2", "1"]
    journal.close()


async def test_large_variables_of_a_task_are_masked_while_the_loop_goes_on(heart: Heart) -> None:
    agent = CodeAgent(
        tools=[],
        model=ScriptedModel(["Thought: all\n<code>\nfinal_answer(len(x))\n</code>"]),
        secrets={"TOKEN": "hunter2-hunter2"},
        journal=MemoryJournal(),
        verbosity_level=0,
    )
    assert await agent.arun("How many?", additional_args={"x": [Patient(heart), *range(1000)]}) == 1001
    agent.cleanup()


class Watched(CodeAgent):
    """Notes in which threads its loop reads replies, by the length of these."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.threads: dict[int, int] = {}

    def _make_loop(self, *args: Any, **kwargs: Any) -> Loop:
        loop, outcome = super()._make_loop(*args, **kwargs), None
        while True:
            if isinstance(outcome, ChatMessage):
                self.threads[len(outcome.text)] = threading.get_ident()
            try:
                outcome = yield loop.send(outcome)
            except StopIteration as end:
                return end.value


async def test_a_large_reply_is_read_beside_the_event_loop() -> None:
    small = "Thought: one\n<code>\n1\n</code>"
    large = "Thought: all\n<code>\n" + "x = 1  # one\n" * 10_000 + "final_answer(x)\n</code>"
    agent = Watched(tools=[], model=ScriptedModel([small, large]), journal=None, verbosity_level=0)
    assert await agent.arun("x") == 1
    assert agent.threads[min(agent.threads)] == threading.get_ident()
    assert agent.threads[max(agent.threads)] != threading.get_ident()
    agent.cleanup()
