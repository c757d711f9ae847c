"""What a step costs besides the model: without a program, and with one; and a whole run of one step."""

from __future__ import annotations

import statistics
import time
from typing import TYPE_CHECKING, Any

from benchmarks.frameworks import answering, framework, program
from benchmarks.measuring import MILLI, median_seconds
from benchmarks.rows import Figure, Line, below

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.frameworks import Framework, Side

LENGTHS = (10, 100, 400)
MISREAD = "I think about it, and I will write the program next time."
PROGRAM = program("value = 17 * 23\nprint(value)")

LINES = (
    *(Line(f"own_{n}", f"a step without a program, in a run of {n} steps", "ms", below(0.3)) for n in LENGTHS),
    *(Line(f"unrecorded_{n}", f"the same, without our journal, {n} steps", "ms") for n in LENGTHS),
    *(Line(f"program_{n}", f"a step that runs a tiny program, in a run of {n} steps", "ms") for n in LENGTHS),
    Line("run", "a whole run of one step, with a sandbox session of its own", "ms"),
)


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Mean of a run's steps, median of several runs, in milliseconds."""
    ours = framework(side)
    figures: dict[str, Figure] = {}
    kinds: list[tuple[str, str, dict[str, Any]]] = [("own", MISREAD, {}), ("program", PROGRAM, {})]
    if side == "actloop":
        kinds.append(("unrecorded", MISREAD, {"journal": None}))
    for name, reply, options in kinds:
        for length in LENGTHS[:1] if quick else LENGTHS:
            times = 2 if quick else max(5, 200 // length)
            costs = [_step(ours, reply, length, options) for _ in range(times + 1)][1:]
            figures[f"{name}_{length}"] = statistics.median(costs) * MILLI
    agent = ours.agent(lambda _: answering("1"))
    figures["run"] = median_seconds(lambda: agent.run("Answer."), 3 if quick else 50, warm_up=3) * MILLI
    return figures


def _step(ours: Framework, reply: str, length: int, options: dict[str, Any]) -> float:
    """Mean seconds of a step: from the first reply to the one after the last step."""
    replied: list[float] = []
    agent = ours.agent(timed_script(reply, length, replied), **options)
    agent.run("Take your time.")
    return (replied[-1] - replied[0]) / length


def timed_script(reply: str, length: int, replied: list[float]) -> Callable[[list[Any]], str]:
    """A script of `length` times the same reply, then the answer; notes when each was given."""

    def next_reply(messages: list[Any]) -> str:
        replied.append(time.perf_counter())
        return reply if len(replied) <= length else answering("1")

    return next_reply
