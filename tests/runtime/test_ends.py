"""However a run ends, what works for it has ended by then, and all that it held is freed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.runtime.gates import Gate

from actloop import CodeAgent
from actloop.executors.waiting import run_now
from actloop.journal.base import MemoryJournal
from actloop.loop.effects import CallUser
from actloop.memory.memory import AgentMemory
from actloop.memory.steps import SystemPromptStep
from actloop.models.scripted import ScriptedModel
from actloop.runtime.gateway import Gateway
from actloop.runtime.perform import drive
from actloop.runtime.ports import Asyncio, Blocking, Interrupt
from actloop.runtime.run import Run
from actloop.values.events import RunFinished
from actloop.values.messages import ChatMessage
from actloop.values.usage import TokenUsage

if TYPE_CHECKING:
    from actloop.loop.effects import Loop


async def cancel_again_and_again(task: asyncio.Task[Any]) -> None:
    """Cancel a task in several turns of the loop."""
    for _ in range(3):
        task.cancel()
        for _ in range(5):
            await asyncio.sleep(0)


async def test_computing_that_is_cancelled_again_is_waited_for_nevertheless() -> None:
    gate, port = Gate(), Asyncio(Interrupt())

    def work(_: str) -> None:
        gate.pass_through()

    task = asyncio.create_task(port.compute(work, "x" * 100_000))
    assert await asyncio.to_thread(gate.reached.wait, 60)
    await cancel_again_and_again(task)
    ended = task.done()
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended


class Held(CodeAgent):
    """Its loop is held up while it reads a reply."""

    def __init__(self, gate: Gate, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.gate = gate

    def _make_loop(self, *args: Any, **kwargs: Any) -> Loop:
        loop, outcome = super()._make_loop(*args, **kwargs), None
        while True:
            if isinstance(outcome, ChatMessage):
                self.gate.pass_through()
            try:
                outcome = yield loop.send(outcome)
            except StopIteration as end:
                return end.value


async def test_a_run_that_is_cancelled_again_while_a_reply_is_read_ends_as_cancelled() -> None:
    reply = "Thought: all\n<code>\n" + "x = 1  # one\n" * 10_000 + "final_answer(x)\n</code>"
    gate, journal = Gate(), MemoryJournal()
    agent = Held(gate, tools=[], model=ScriptedModel([reply]), journal=journal, verbosity_level=0)
    task = asyncio.create_task(agent.arun("x"))
    assert await asyncio.to_thread(gate.reached.wait, 60)
    await cancel_again_and_again(task)
    gate.opened.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    [run] = journal.runs()
    assert run.state == "interrupted"
    agent.cleanup()


def a_run(**fields: Any) -> Run:
    memory, model = AgentMemory(SystemPromptStep("")), ScriptedModel([])
    return Run(agent=None, agent_name="", task="", model=model, memory=memory, gateway=Gateway({}), **fields)


class Closing(Blocking):
    closed = False

    def close(self) -> None:
        self.closed = True
        super().close()


def test_all_that_a_run_held_is_freed_though_its_loop_cannot_be_closed() -> None:
    def refuse() -> None:
        raise KeyError("refused")

    def loop() -> Loop:
        try:
            yield CallUser(function=refuse)
        finally:
            raise ValueError("not to be closed")

    journal, parent = MemoryJournal(), a_run()
    run = a_run(parent=parent, sinks=[journal])
    run.ledger.add(TokenUsage(3, 4))
    port = Closing(run.interrupt)

    async def performed() -> None:
        async for _ in drive(run, loop(), None, port):
            pass

    with pytest.raises(ValueError, match="not to be closed"):
        run_now(performed())
    assert port.closed
    assert parent.ledger.called == TokenUsage(3, 4)
    parent.interrupt.set()
    assert not run.interrupt.is_set
    [ended] = journal.events(run.id)
    assert isinstance(ended, RunFinished)
    assert ended.error_kind == "KeyError"
