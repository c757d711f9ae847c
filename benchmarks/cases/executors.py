"""Every executor that is ready here: how long it takes to begin, to answer, and how much memory a session holds.

Theirs are measured beside ours where they can run without an account and without fetching an image.
"""

from __future__ import annotations

import gc
import os
import re
import sys
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.frameworks import framework
from benchmarks.measuring import MIB, MILLI, median_seconds, own_memory, with_descendants
from benchmarks.rows import Figure, Line, below

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.frameworks import Framework, Side

NAMES = ("local", "monty", "wasm", "docker")
SERVICES = ("e2b", "modal", "blaxel")
"""Not measured: each session costs its user money, and most of its time is the network's."""

THEIRS = {"local": "LocalPythonExecutor", "wasm": "WasmExecutor", "docker": "DockerExecutor"}
IMAGE = "ACTLOOP_BENCH_IMAGE"
"""Environment variable with the image that containers are measured with; by default the one that tests make."""

_PAUSE = 0.02
"""Seconds between two sessions of which one follows the other."""

_LONGEST_REASON = 40
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
"""What programs such as Deno colour their messages with."""

GOALS = {
    "local.session": below(6),
    "local.snippet": below(0.15),
    "local.call": below(0.1),
    "local.snapshot": below(5),
    "local.restore": below(5),
}
FIGURES = (
    ("cold", "first session and its first snippet", "ms"),
    ("session", "further session and its first snippet", "ms"),
    ("again", "session after one that was closed, and its first snippet", "ms"),
    ("snippet", "round trip of a snippet", "ms"),
    ("call", "round trip of a tool call from a snippet", "ms"),
    ("memory", "memory of a session", "MiB"),
    ("snapshot", "snapshot of a small session", "ms"),
    ("restore", "giving it to another session", "ms"),
)
LINES = tuple(
    Line(f"{name}.{key}", f"`{name}`: {what}", unit, GOALS.get(f"{name}.{key}"))
    for name in (*NAMES, *SERVICES)
    for key, what, unit in FIGURES
)

SMALL = """
import math
numbers, names, found = list(range(100)), {"a": 1.5, "b": "text"}, None
def area(radius): return math.pi * radius * radius
"""
"""What the session holds that a snapshot is taken of."""


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Times in milliseconds, memory in mebibytes; what cannot run here says why."""
    ours = framework(side)
    figures: dict[str, Figure] = {f"{name}.cold": "needs an account" for name in SERVICES}
    for name in NAMES:
        make = _maker(ours, name)
        if isinstance(make, str):
            figures[f"{name}.cold"] = _short(make)
            continue
        try:
            found = _measured(make, sessions=3 if quick else 10, times=10 if quick else 300)
        except Exception as error:
            figures[f"{name}.cold"] = _short(f"fails: {error or type(error).__name__}")
        else:
            figures |= {f"{name}.{key}": figure for key, figure in found.items()}
    return figures


def _short(reason: str) -> str:
    """A reason that fits into the table."""
    text = " ".join(_COLOUR.sub("", reason).split())
    return text if len(text) <= _LONGEST_REASON else f"{text[: _LONGEST_REASON - 1]}…"


def _maker(ours: Framework, name: str) -> Callable[[], Any] | str:
    """Makes an executor; or says why there is none."""
    if ours.side == "actloop":
        from actloop.executors.registry import executor_class, make_executor

        reason = executor_class(name).why_unavailable()
        if name != "docker":
            return reason or (lambda: make_executor(name, [], None, {}))
        options = _container_options(reason)
        return options if isinstance(options, str) else lambda: make_executor(name, [], None, options)
    if name not in THEIRS:
        return "has none"
    made = getattr(ours.package, THEIRS[name])
    if name == "local":
        return lambda: made([])
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where it looks for Deno
    logger = ours.package.AgentLogger(level=ours.package.LogLevel.OFF)
    return lambda: made([], logger)


def _container_options(reason: str) -> dict[str, str] | str:
    """Which engine and image containers are measured with; or why with none.

    Args:
        reason: Why there is no engine where the executor looks for one; empty where there is.
    """
    image = os.environ.get(IMAGE)
    if image and not reason:
        return {"image": image}
    try:
        from tests.executors import engine
    except ImportError:
        return reason or f"no image: set {IMAGE}"
    if why := engine.why_no_engine():
        return reason or why
    return {"base_url": engine.engine_url(), "image": image or engine.image_of_tests()}


def _measured(make: Callable[[], Any], *, sessions: int, times: int) -> dict[str, Figure]:
    opened: list[Any] = []

    def open_one() -> Any:
        executor = make()
        opened.append(executor)
        executor.send_tools({"same": _same})
        executor("1")
        return executor

    try:
        start = time.perf_counter()
        first = open_one()
        cold = time.perf_counter() - start
        before = _processes(first)
        held = _memory(before)
        session = median_seconds(open_one, sessions, warm_up=0)
        after = _processes(first)
        memory = (_memory(after) - held) / sessions if after - before else 0.0
        again = _one_after_another(make, sessions)
        calls = f"for number in range({times}):\n    same(number)"
        call = median_seconds(lambda: first(calls), 5) / times
        return _snapshots(first, open_one(), times) | {
            "cold": cold * MILLI,
            "session": session * MILLI,
            "again": again * MILLI,
            "snippet": median_seconds(lambda: first("1"), times, warm_up=5) * MILLI,
            "call": call * MILLI,
            "memory": memory / MIB,
        }
    finally:
        for executor in opened:
            if hasattr(executor, "cleanup"):
                executor.cleanup()


def _one_after_another(make: Callable[[], Any], sessions: int) -> float:
    """Seconds until a session has run its first snippet, when the one before was closed a moment ago."""
    seconds: list[float] = []
    for _ in range(sessions):
        start = time.perf_counter()
        executor = make()
        executor.send_tools({"same": _same})
        executor("1")
        seconds.append(time.perf_counter() - start)
        if hasattr(executor, "cleanup"):
            executor.cleanup()
        time.sleep(_PAUSE)
    return median(seconds)


def _snapshots(first: Any, other: Any, times: int) -> dict[str, Figure]:
    """The times of snapshots; none where there are no snapshots, as in theirs."""
    if not hasattr(first, "snapshot"):
        return {}
    first(SMALL)
    taken = first.snapshot()
    return {
        "snapshot": median_seconds(first.snapshot, times // 5, warm_up=2) * MILLI,
        "restore": median_seconds(lambda: other.restore(taken), times // 5, warm_up=2) * MILLI,
    }


def _same(number: int) -> int:
    return number


def _processes(executor: Any) -> set[int]:
    """Process ids of all that is below this process, and of what runs in its containers, which is not."""
    gc.collect()
    found = set(with_descendants(os.getpid()))
    engine = getattr(executor, "_engine", None)  # of ours alone: theirs is not measured with containers here
    if engine is None:
        return found
    from actloop.executors.containers.engine import OWNER, owner

    for container in engine.api.containers(filters={"label": f"{OWNER}={owner()}"}):
        state = engine.api.inspect_container(container["Id"])["State"]
        found |= set(with_descendants(int(state["Pid"])))
    return found


def _memory(processes: set[int]) -> int:
    """Bytes of memory that processes hold by themselves."""
    return sum(own_memory(process) for process in processes)
