"""`python -m benchmarks.run`: one table, ours beside smolagents in the same run on the same machine."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.rows import as_data, markdown, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.rows import Figure, Line, Row

CASES = ("startup", "building", "steps", "records", "sandbox", "executors", "programs", "crowd", "deadline")
ROOT = Path(__file__).resolve().parent.parent
PATIENCE = 900.0
"""Seconds that one benchmark of one side may take."""


@dataclass(frozen=True, slots=True)
class Contender:
    """A side, and the interpreter whose environment holds it."""

    side: str
    label: str
    python: Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks and print their table.

    Returns:
        1 when a benchmark of ours failed, else 0; goals that were missed do not count.
    """
    options = _options(arguments)
    contenders = [Contender("actloop", "actloop", Path(sys.executable))]
    if options.peer:
        from benchmarks.peer import PEER, peer_python

        contenders.append(Contender("smolagents", PEER, options.peer_python or peer_python()))
    begun = machine()
    _tell(describe(begun))
    table: list[Row] = []
    failed = False
    for case in options.only or CASES:
        figures = [_figures(case, contender, quick=options.quick) for contender in contenders]
        failed = failed or figures[0] is None
        lines: tuple[Line, ...] = import_module(f"benchmarks.cases.{case}").LINES
        theirs = figures[1] if len(figures) > 1 else None
        table += rows(case, lines, figures[0] or {}, theirs)
    if options.json:
        print(json.dumps({"machine": begun, "quick": options.quick, "rows": as_data(table)}, indent=2))
    else:
        theirs = contenders[1].label if len(contenders) > 1 else "peer"
        print(describe(begun), markdown(table, "actloop", theirs), sep="\n\n")
    return int(failed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions; the figures mean little")
    parser.add_argument("--only", action="append", choices=CASES, metavar="NAME", help=f"one of {', '.join(CASES)}")
    parser.add_argument("--no-peer", dest="peer", action="store_false", help="measure actloop alone")
    parser.add_argument("--peer-python", type=Path, help="interpreter of an environment that has smolagents")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    return parser.parse_args(arguments)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    try:
        load = round(os.getloadavg()[0], 1)
    except OSError:
        load = None
    return {
        "cores": len(os.sched_getaffinity(0)),
        "architecture": platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load": load,
    }


def describe(facts: dict[str, Any]) -> str:
    """The machine in one line."""
    return (
        f"{facts['cores']} cores, {facts['architecture']}, {facts['kernel']}, {facts['python']}; "
        f"load when the run began: {facts['load']}"
    )


def _figures(case: str, contender: Contender, *, quick: bool) -> dict[str, Figure] | None:
    """One benchmark's figures of one side, taken in its environment; None when it failed, after saying why."""
    _tell(f"{case}: {contender.label} ... ", end="")
    start = time.monotonic()
    command = [contender.python, "-m", "benchmarks.child", case, contender.side, *(["quick"] if quick else [])]
    paths = [ROOT, ROOT / "src"] if contender.side == "actloop" else [ROOT]
    with tempfile.TemporaryDirectory(prefix="actloop-bench-") as home:
        environment = os.environ | {"ACTLOOP_HOME": home, "PYTHONPATH": os.pathsep.join(map(str, paths))}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed package has its byte code
        try:
            ended = subprocess.run(
                command,
                cwd=home,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=PATIENCE,
            )
        except subprocess.TimeoutExpired:
            _tell(f"given up after {PATIENCE:g} s")
            return None
    if ended.returncode:
        _tell(f"failed with status {ended.returncode}:\n{ended.stderr[-3000:]}")
        return None
    _tell(f"{time.monotonic() - start:.1f} s")
    return json.loads(ended.stdout.splitlines()[-1])


def _tell(message: str, end: str = "\n") -> None:
    print(message, end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
