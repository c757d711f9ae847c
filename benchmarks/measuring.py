"""Stopwatches and scales. Standard library only: both sides use them, each in its own environment."""

from __future__ import annotations

import ctypes
import gc
import os
import statistics
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

MILLI = 1e3
"""Milliseconds in a second."""

MIB = 1 << 20
"""Bytes in a mebibyte."""


def seconds(work: Callable[[], Any]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def median_seconds(work: Callable[[], Any], times: int, warm_up: int = 1) -> float:
    """Median seconds of a call.

    Args:
        work: What to call.
        times: How often it is measured.
        warm_up: How often it is called before.
    """
    for _ in range(warm_up):
        work()
    return statistics.median(seconds(work) for _ in range(times))


def output_of(command: Sequence[str], limit: float = 120.0) -> str:
    """Standard output of a program that must succeed.

    Raises:
        RuntimeError: It failed or took more than `limit` seconds; with the end of its standard error.
    """
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=limit)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"{command[:4]} took more than {limit:g} seconds") from error
    if ended.returncode:
        raise RuntimeError(f"{command[:4]} ended with status {ended.returncode}: {ended.stderr[-2000:]}")
    return ended.stdout


def settled_memory() -> int:
    """Bytes of memory, shared libraries and files not counted, of this process and those below it, after a clean-up."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return sum(own_memory(process) for process in with_descendants(os.getpid()))


def with_descendants(process: int) -> list[int]:
    """Process ids of a process and of all that are below it."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(int(parent), []).append(int(entry.name))
    found = [process]
    for one in found:
        found.extend(children.get(one, []))
    return found


def own_memory(process: int) -> int:
    """Bytes of a process's own memory; what it shares with others since a fork is divided among them."""
    try:
        return _kibibytes(Path(f"/proc/{process}/smaps_rollup"), "Pss_Anon")
    except PermissionError:  # a sandbox of an unprivileged user: what is shared counts in full
        return _kibibytes(Path(f"/proc/{process}/status"), "RssAnon")
    except OSError:  # it has ended meanwhile
        return 0


def _kibibytes(table: Path, field: str) -> int:
    """A size from a table of the kernel's, in bytes; 0 where it has none."""
    for line in table.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return 0
