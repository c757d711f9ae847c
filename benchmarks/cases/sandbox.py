"""The way into the sandbox and back; theirs runs in the caller's process."""

from __future__ import annotations

import statistics
import threading
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from benchmarks.frameworks import answering, framework, program
from benchmarks.measuring import MILLI, median_seconds, seconds
from benchmarks.rows import Figure, Line, below

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.frameworks import Framework, Side

LINES = (
    Line("session", "new session (theirs: new interpreter in the process)", "ms", below(6)),
    Line("snippet", "round trip of a snippet", "ms", below(0.15)),
    Line("call", "round trip of a tool call from a snippet", "ms", below(0.1)),
    Line("recorded_call", "the same in an agent's run: checked, recorded, counted", "ms"),
    Line("rate", "sessions opened, used and closed one after another", "per s"),
    Line("rate_4", "the same from four threads", "per s"),
)


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Times in milliseconds."""
    ours = framework(side)
    times = 10 if quick else 500
    opened = open_session if side == "actloop" else _new_interpreter
    keeper = ours.executor()
    sessions: list[Any] = []

    def open_one() -> None:
        sessions.append(opened(ours, keeper))

    figures: dict[str, Figure] = {"session": _paused(open_one, sessions, 5 if quick else 100) * MILLI}
    keeper("1")
    figures["snippet"] = median_seconds(lambda: keeper("1"), times, warm_up=10) * MILLI
    figures["call"] = _call(ours, times) * MILLI
    figures["recorded_call"] = _recorded_call(ours, times) * MILLI
    duration = 0.2 if quick else 2.0
    figures["rate"] = _rate(ours, duration, threads=1)
    figures["rate_4"] = _rate(ours, duration, threads=4)
    if side == "actloop":
        keeper.cleanup()
    return figures


def open_session(ours: Framework, keeper: Any) -> Any:
    """A new sandbox session, ready for a program."""
    from actloop.executors.waiting import BlockingWaiter, run_now

    return run_now(keeper.open_session(BlockingWaiter()))


def _new_interpreter(ours: Framework, keeper: Any) -> Any:
    return ours.executor()


def _paused(open_one: Callable[[], None], sessions: list[Any], times: int) -> float:
    """Median seconds to open a session; closing it is not counted."""
    took: list[float] = []
    for _ in range(times + 3):
        took.append(seconds(open_one))
        session = sessions.pop()
        if hasattr(session, "close"):
            session.close()
    return statistics.median(took[3:])


def _call(ours: Framework, times: int) -> float:
    """Seconds of one of many calls that a snippet makes to a function of the host."""

    def same(value: int) -> int:
        return value

    executor = ours.executor()
    executor.send_tools({"same": same})
    calls = f"for number in range({times}):\n    same(number)"
    took = [seconds(lambda: executor(calls)) / times for _ in range(4)]
    if hasattr(executor, "cleanup"):
        executor.cleanup()
    return statistics.median(took[1:])


def _recorded_call(ours: Framework, times: int) -> float:
    """As `_call`, within the run of an agent; the tool itself tells when it was called."""
    called: list[float] = []

    def same(value: int) -> int:
        """Gives a number back.

        Args:
            value: Any number.
        """
        called.append(time.perf_counter())
        return value

    script = iter([program(f"for number in range({times}):\n    same(number)"), answering("1")])
    agent = ours.agent(lambda _: next(script), tools=[ours.package.tool(same)])
    agent.run("Call it.")
    return statistics.median(after - before for before, after in pairwise(called))


def _rate(ours: Framework, duration: float, threads: int) -> float:
    """Sessions a second: opened, used for one snippet, closed."""
    counts = [0] * threads
    until = time.perf_counter() + duration

    def work(number: int) -> None:
        while time.perf_counter() < until:
            executor = ours.executor()
            if executor("6 * 7").output != 42:
                raise RuntimeError("a session gave a wrong result")
            if hasattr(executor, "cleanup"):
                executor.cleanup()
            counts[number] += 1

    start = time.perf_counter()
    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts) / (time.perf_counter() - start)
