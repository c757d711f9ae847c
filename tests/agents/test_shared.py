"""One agent used by many at once, and interrupted."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from actloop import AgentInterruptedError, ChatMessage, CodeAgent, LogLevel, MemoryJournal, ScriptedModel, TaskStep


def number_of(messages: list[ChatMessage]) -> str:
    """The number that the latest task names."""
    return next(m.text for m in reversed(messages) if "number=" in m.text).rpartition("number=")[2].split()[0]


def two_steps(messages: list[ChatMessage]) -> str:
    """Stores the task's number in a variable, then answers with it."""
    number = number_of(messages)
    if messages[-1].text.startswith("Observation"):
        return "<code>\nfinal_answer(mine)\n</code>"
    return f"<code>\nmine = {number}\nprint(mine)\n</code>"


def shared(reply: Any, **options: Any) -> CodeAgent:
    return CodeAgent(
        [],
        ScriptedModel(reply),
        verbosity_level=LogLevel.OFF,
        journal=MemoryJournal(),
        code_block_tags=("<code>", "</code>"),
        **options,
    )


def in_threads(one: CodeAgent, threads: int, runs: int, **options: Any) -> list[Any]:
    """Results of runs that are under way at the same time, in order of their numbers."""
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(one.run, f"number={number}", **options) for number in range(runs)]
        return [run.result() for run in running]


def test_twenty_threads() -> None:
    with shared(two_steps) as one:
        results = in_threads(one, 20, 100, return_full_result=True)
        assert [result.output for result in results] == list(range(100))
        assert all(len(result.steps) == 3 for result in results)
        assert len({result.run_id for result in results}) == 100


async def test_two_hundred_tasks() -> None:
    with shared(two_steps) as one:
        results = await asyncio.gather(*[one.arun(f"number={i}", return_full_result=True) for i in range(200)])
        assert [result.output for result in results] == list(range(200))
        assert all(result.token_usage.total_tokens == results[0].token_usage.total_tokens for result in results[:10])


def test_a_conversation_continued_in_threads_stays_apart() -> None:
    with shared(two_steps) as one:
        one.run("number=1")
        assert in_threads(one, 8, 16, reset=False) == list(range(16))


def test_interrupting_between_steps() -> None:
    def stop(step: Any, agent: CodeAgent) -> None:
        agent.interrupt()

    with shared(two_steps, step_callbacks=[stop]) as one:
        with pytest.raises(AgentInterruptedError):
            one.run("number=1")
        assert len(one.memory.steps) == 2
        one.step_callbacks = type(one.step_callbacks)()
        assert one.run("number=2", reset=False) == 2


@pytest.mark.parametrize("code", ["while True: pass", "import time\ntime.sleep(60)"])
def test_interrupting_a_program_keeps_the_sandbox(code: str) -> None:
    replies = ["<code>\nkept = 3\n</code>", f"<code>\n{code}\n</code>", "<code>\nfinal_answer(kept)\n</code>"]
    with shared(replies) as one:
        timer = threading.Timer(0.5, one.interrupt)
        timer.start()
        with pytest.raises(AgentInterruptedError):
            one.run("number=1")
        timer.join()
        assert one.run("go on", reset=False) == 3
        told = "\n".join(message.text for message in one.memory.messages())
        assert code in told
        assert "interrupted here" in told


def test_interrupting_a_program_that_will_not_end() -> None:
    stubborn = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    with shared([f"<code>\n{stubborn}\n</code>", "<code>\nfinal_answer(1)\n</code>"]) as one:
        timer = threading.Timer(0.5, one.interrupt)
        timer.start()
        with pytest.raises(AgentInterruptedError):
            one.run("number=1")
        timer.join()
        assert one.run("go on", reset=False) == 1


async def test_interrupting_an_asynchronous_run() -> None:
    with shared(["<code>\nwhile True: pass\n</code>"]) as one:
        running = asyncio.create_task(one.arun("number=1"))
        await asyncio.sleep(0.5)
        one.interrupt()
        with pytest.raises(AgentInterruptedError):
            await running


async def test_cancelling_an_asynchronous_run() -> None:
    with shared(["<code>\nwhile True: pass\n</code>", "<code>\nfinal_answer(1)\n</code>"]) as one:
        running = asyncio.create_task(one.arun("number=1"))
        await asyncio.sleep(0.5)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert await one.arun("again") == 1


def test_ctrl_c_ends_a_program_and_the_conversation_goes_on() -> None:
    replies = ["<code>\nkept = 5\nwhile True: pass\n</code>", "<code>\nfinal_answer(kept)\n</code>"]
    with shared(replies) as one:
        timer = threading.Timer(0.7, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            one.run("number=1")
        timer.join()
        assert one.run("go on", reset=False) == 5


def test_the_memory_of_another_thread_is_not_shown_to_a_callback() -> None:
    wrong: list[str] = []

    def check(step: Any, agent: CodeAgent) -> None:
        time.sleep(0.01)
        task = agent.memory.steps[0]
        assert isinstance(task, TaskStep)
        if str(step.code_action).startswith("mine") and number_of_text(task.task) not in str(step.code_action):
            wrong.append(task.task)

    with shared(two_steps, step_callbacks=[check]) as one:
        in_threads(one, 10, 30)
    assert wrong == []


def number_of_text(task: str) -> str:
    return task.rpartition("number=")[2]
