"""Runs that are interrupted or cancelled, and that leave no thread and no task."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest
from tests.waiting import eventually

from actloop import AgentInterruptedError, tool

from .kit import action_steps, agent, answer, call, calls


def waiting(started: threading.Event, release: threading.Event) -> Any:
    @tool
    def wait(n: int) -> int:
        """Waits.

        Args:
            n: A number.
        """
        started.set()
        assert release.wait(60)
        return n

    return wait


def endless(started: threading.Event | asyncio.Event) -> Any:
    @tool
    async def forever(n: int) -> int:
        """Never returns.

        Args:
            n: A number.
        """
        started.set()
        await asyncio.sleep(3600)
        return n

    return forever


def no_call_threads() -> bool:
    """Whether every thread of a call ends."""
    return eventually(lambda: not any(thread.name.startswith("actloop-call") for thread in threading.enumerate()))


def test_an_interrupt_drops_what_is_not_begun_and_leaves_no_thread() -> None:
    started, release = threading.Event(), threading.Event()
    one = agent(
        [calls(*[call("wait", str(n), n=n) for n in range(6)])], [waiting(started, release)], max_tool_threads=2
    )

    def stop() -> None:
        started.wait(60)
        one.interrupt()
        release.set()

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(AgentInterruptedError):
        one.run("go")
    thread.join()
    assert no_call_threads()
    step = action_steps(one)[-1]
    turn, *results = step.to_messages()
    assert len(turn.tool_calls or ()) == len(results) == 6


@pytest.mark.parametrize("count", [1, 2])
async def test_an_interrupt_ends_an_asynchronous_run_at_once(count: int) -> None:
    started = asyncio.Event()

    one = agent([calls(*[call("forever", n=n) for n in range(count)])], [endless(started)])
    running = asyncio.create_task(one.arun("go"))
    await started.wait()
    one.interrupt()
    with pytest.raises(AgentInterruptedError):
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_cancelling_an_asynchronous_run_leaves_no_task() -> None:
    started = asyncio.Event()

    one = agent([calls(call("forever", n=1), call("forever", n=2)), answer(1)], [endless(started)])
    running = asyncio.create_task(one.arun("go"))
    await started.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert await one.arun("again") == 1


@pytest.mark.parametrize("count", [1, 2])
def test_asynchronous_tools_of_a_blocking_run_are_ended_by_an_interrupt(count: int) -> None:
    started = threading.Event()

    one = agent([calls(*[call("forever", n=n) for n in range(count)])], [endless(started)])
    thread = threading.Thread(target=lambda: (started.wait(60), one.interrupt()))
    thread.start()
    with pytest.raises(AgentInterruptedError):
        one.run("go")
    thread.join()
    assert no_call_threads()


@pytest.mark.parametrize("count", [1, 3])
def test_ctrl_c_waits_for_the_calls_under_way_and_leaves_no_thread(count: int) -> None:
    ended: list[int] = []

    @tool
    def work(n: int) -> int:
        """Works.

        Args:
            n: A number.
        """
        if n == 0:
            os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        ended.append(n)
        return n

    one = agent([calls(*[call("work", n=n) for n in range(count)]), answer(1)], [work])
    with pytest.raises(KeyboardInterrupt):
        one.run("go")
    assert no_call_threads()
    assert len(ended) <= count
    assert one.run("again", reset=False) == 1
