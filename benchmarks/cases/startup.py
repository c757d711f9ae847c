"""Import of the package; from the start of a process to the first answer."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from typing import TYPE_CHECKING

from benchmarks.frameworks import answering, framework
from benchmarks.measuring import MIB, output_of
from benchmarks.rows import Figure, Line, below

if TYPE_CHECKING:
    from benchmarks.frameworks import Side

LINES = (
    Line("import", "import of the package", "s", below(0.1)),
    Line("memory", "memory of a process that imported it", "MiB", below(30)),
    Line("modules", "modules that the import loads", "modules"),
    Line("import_agent", "import of CodeAgent and tool from it", "s", below(0.1)),
    Line("memory_agent", "memory of a process that did so", "MiB", below(30)),
    Line("modules_agent", "modules that this loads", "modules"),
    Line("answer", "process start to the first answer of a scripted model", "s", below(0.3)),
)

_IMPORT = """
import sys, time
before, start = len(sys.modules), time.perf_counter()
{statement}
seconds, modules = time.perf_counter() - start, len(sys.modules) - before
rss = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmRSS"))
print("[%r, %r, %r]" % (seconds, rss * 1024, modules))
"""


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Times in seconds, memory in MiB."""
    times = 2 if quick else 9
    figures: dict[str, Figure] = {}
    for suffix, statement in (("", f"import {side}"), ("_agent", f"from {side} import CodeAgent, tool")):
        command = [sys.executable, "-c", _IMPORT.format(statement=statement)]
        output_of(command)  # writes byte code and fills the caches of files
        taken = [json.loads(output_of(command)) for _ in range(times)]
        took, memory, modules = (statistics.median(values) for values in zip(*taken, strict=True))
        figures |= {f"import{suffix}": took, f"memory{suffix}": memory / MIB, f"modules{suffix}": modules}
    _first_answer(side)
    figures["answer"] = statistics.median(_first_answer(side) for _ in range(times))
    return figures


def _first_answer(side: Side) -> float:
    """Seconds until a fresh process has printed the answer."""
    start = time.perf_counter()
    command = [sys.executable, "-m", "benchmarks.cases.startup", side]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        took = time.perf_counter() - start
        process.stdout.read()
    if said != "42\n" or process.returncode:
        raise RuntimeError(f"the answer was {said!r}, and the process ended with status {process.returncode}")
    return took


def answer_once(side: Side) -> None:
    """Run a scripted agent on one task, and print its answer."""
    print(framework(side).agent(lambda _: answering("6 * 7")).run("How much is 6 times 7?"), flush=True)


if __name__ == "__main__":
    answer_once("actloop" if sys.argv[1] == "actloop" else "smolagents")
