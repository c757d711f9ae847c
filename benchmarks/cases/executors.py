"""Every executor that is ready here: how long it takes to begin, to answer, and how much memory a session holds.

Theirs are measured beside ours where they can run without an account and without fetching an image.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.frameworks import framework
from benchmarks.measuring import MIB, MILLI, median_seconds
from benchmarks.rows import Figure, Line, below

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.frameworks import Framework, Side

NAMES = ("local", "monty", "wasm", "docker")
"""Those that need no account of a service's."""

THEIRS = {"local": "LocalPythonExecutor", "wasm": "WasmExecutor", "docker": "DockerExecutor"}
GOALS = {"local.session": below(6), "local.snippet": below(0.15), "local.call": below(0.1)}
FIGURES = (
    ("cold", "first session and its first snippet", "ms"),
    ("session", "further session and its first snippet", "ms"),
    ("snippet", "round trip of a snippet", "ms"),
    ("call", "round trip of a tool call from a snippet", "ms"),
    ("memory", "memory of a session", "MiB"),
)
LINES = tuple(
    Line(f"{name}.{key}", f"`{name}`: {what}", unit, GOALS.get(f"{name}.{key}"))
    for name in NAMES
    for key, what, unit in FIGURES
)


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Times in milliseconds, memory in mebibytes; what cannot run here says why."""
    ours = framework(side)
    figures: dict[str, Figure] = {}
    for name in NAMES:
        make = _maker(ours, name)
        if isinstance(make, str):
            figures[f"{name}.cold"] = make
            continue
        try:
            found = _measured(make, sessions=3 if quick else 10, times=10 if quick else 300)
        except Exception as error:
            figures[f"{name}.cold"] = f"fails: {type(error).__name__}: {' '.join(str(error).split())[:80]}"
        else:
            figures |= {f"{name}.{key}": figure for key, figure in found.items()}
    return figures


def _maker(ours: Framework, name: str) -> Callable[[], Any] | str:
    """Makes an executor; or says why there is none."""
    if ours.side == "actloop":
        from actloop.executors.registry import executor_class, make_executor

        reason = executor_class(name).why_unavailable()
        return reason or (lambda: make_executor(name, [], None, {}))
    if name not in THEIRS:
        return "has none"
    made = getattr(ours.package, THEIRS[name])
    if name == "local":
        return lambda: made([])
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # where it looks for Deno
    logger = ours.package.AgentLogger(level=ours.package.LogLevel.OFF)
    return lambda: made([], logger)


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
        before = set(_processes())
        held = _memory(_processes())
        session = median_seconds(open_one, sessions, warm_up=0)
        memory = (_memory(_processes()) - held) / sessions if set(_processes()) - before else 0.0
        calls = f"for number in range({times}):\n    same(number)"
        call = median_seconds(lambda: first(calls), 5) / times
        return {
            "cold": cold * MILLI,
            "session": session * MILLI,
            "snippet": median_seconds(lambda: first("1"), times, warm_up=5) * MILLI,
            "call": call * MILLI,
            "memory": memory / MIB,
        }
    finally:
        for executor in opened:
            if hasattr(executor, "cleanup"):
                executor.cleanup()


def _same(number: int) -> int:
    return number


def _processes() -> list[int]:
    """Process ids of everything that runs here: a container's processes are not below this one."""
    gc.collect()
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _memory(processes: list[int]) -> int:
    """Bytes of memory that processes hold by themselves."""
    total = 0
    for process in processes:
        try:
            status = (Path("/proc") / str(process) / "status").read_text()
        except OSError:  # it has ended meanwhile
            continue
        total += sum(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("RssAnon:"))
    return total
