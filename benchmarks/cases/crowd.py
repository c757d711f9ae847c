"""Many agents at once, whose model takes 0.2 s; and one agent shared by many threads."""

from __future__ import annotations

import asyncio
import re
import resource
import threading
import time
from typing import TYPE_CHECKING, Any

from benchmarks.frameworks import answering, framework, program
from benchmarks.measuring import MIB, settled_memory
from benchmarks.rows import Figure, Line, exactly

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.frameworks import Framework, Side

AGENTS = 1000
SHARERS = 20
DELAY = 0.2

LINES = (
    Line("built", "1,000 agents: building them", "s"),
    Line("seconds", "1,000 agents at once, two replies of 0.2 s each: last answer after", "s"),
    Line("memory", "1,000 agents: memory held after their runs, sandboxes included", "MiB"),
    Line("wrong", "1,000 agents: wrong or missing answers", "answers", exactly(0)),
    Line("shared_wrong", "one agent used from 20 threads: wrong or missing answers", "answers", exactly(0)),
)


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Times in seconds, memory in MiB."""
    # Every sandbox needs a few descriptors, as a server's connections do.
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    ours = framework(side)
    count = 10 if quick else AGENTS
    _threads([ours.agent(_reply)], [0])
    before = settled_memory()
    start = time.perf_counter()
    agents = [ours.agent(_reply, delay=DELAY) for _ in range(count)]
    built = time.perf_counter() - start
    start = time.perf_counter()
    answers = _tasks(agents) if side == "actloop" else _threads(agents, range(count))
    took = time.perf_counter() - start
    figures: dict[str, Figure] = {
        "built": built,
        "seconds": took,
        "memory": (settled_memory() - before) / MIB,
        "wrong": _wrong(answers, count),
    }
    del agents
    figures["shared_wrong"] = _shared(ours, 5 if quick else SHARERS)
    return figures


def task(number: int) -> str:
    """A task that no other agent has."""
    return f"Double the number {number}."


def _reply(messages: list[Any]) -> str:
    """First a program, then the answer, from what the messages say."""
    told = " ".join(str(message.content) for message in messages)
    number = re.findall(r"Double the number (\d+)", told)[-1]
    return answering("double") if "double = 2 *" in told else program(f"double = 2 * {number}")


def _tasks(agents: list[Any]) -> list[Any]:
    """All at once on one event loop."""

    async def all_of_them() -> list[Any]:
        runs = [agent.arun(task(number)) for number, agent in enumerate(agents)]
        return await asyncio.gather(*runs, return_exceptions=True)

    return asyncio.run(all_of_them())


def _threads(agents: list[Any], numbers: Any) -> list[Any]:
    """A thread for each task, as the peer's documentation advises. A single agent is shared by all of them."""
    answers: list[Any] = [None] * len(numbers)

    def work(number: int) -> None:
        agent = agents[number % len(agents)]
        try:
            answers[number] = agent.run(task(number))
        except Exception as error:
            answers[number] = error

    _all(work, numbers)
    return answers


def _all(work: Callable[[int], None], numbers: Any) -> None:
    workers = [threading.Thread(target=work, args=(number,)) for number in numbers]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


def _shared(ours: Framework, count: int) -> int:
    return _wrong(_threads([ours.agent(_reply, delay=0.02)], range(count)), count)


def _wrong(answers: list[Any], count: int) -> int:
    return sum(answer != 2 * number for number, answer in zip(range(count), answers, strict=True))
