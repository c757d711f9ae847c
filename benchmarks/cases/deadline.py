"""A program that computes in C for ages, with a time limit of two seconds."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.frameworks import framework
from benchmarks.measuring import MILLI
from benchmarks.rows import Figure, Line, below

if TYPE_CHECKING:
    from benchmarks.frameworks import Side

LIMIT = 2.0
PATIENCE = 16.0
"""Seconds after which we wait no longer."""

LINES = (Line("overshoot", "10**10**8 with a limit of 2 s: ended after its deadline", "ms", below(10)),)


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Milliseconds from the deadline to the error. In a process of its own, since that may never come."""
    limit, patience = (0.2, 1.5) if quick else (LIMIT, PATIENCE)
    command = [sys.executable, "-m", "benchmarks.cases.deadline", side, str(limit)]
    try:
        ended = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=patience + 2, check=True
        )
    except subprocess.TimeoutExpired:
        return {"overshoot": f"> {(patience - limit) * MILLI:,.0f}"}
    except subprocess.CalledProcessError as error:
        raise RuntimeError(error.stderr[-2000:]) from error
    return {"overshoot": float(ended.stdout)}


def overshoot(side: Side, limit: float) -> float:
    """Milliseconds from the deadline of an endless program to its error."""
    ours = framework(side)
    executor = ours.executor(timeout_seconds=limit)
    executor("1")
    start = time.perf_counter()
    try:
        executor("x = 10**10**8")
    except Exception:
        return (time.perf_counter() - start - limit) * MILLI
    raise RuntimeError("the program ended by itself")


if __name__ == "__main__":
    print(overshoot("actloop" if sys.argv[1] == "actloop" else "smolagents", float(sys.argv[2])), flush=True)
