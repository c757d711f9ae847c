"""What is left after many steps: in memory, and written down."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from benchmarks.cases.steps import PROGRAM, timed_script
from benchmarks.frameworks import answering, framework
from benchmarks.measuring import MIB, settled_memory
from benchmarks.rows import Figure, Line, about, below

if TYPE_CHECKING:
    from benchmarks.frameworks import Framework, Side

LINES = (
    Line("memory", "memory held after 400 steps that run a tiny program", "MiB", below(5)),
    Line("journal", "record of these 400 steps (theirs: the memory as JSON)", "MiB", below(2)),
    Line("growth", "record of 400 steps against that of 200 (2 is linear)", "times", about(2, 0.1)),
)


def measure(side: Side, *, quick: bool) -> dict[str, Figure]:
    """Sizes in MiB."""
    ours = framework(side)
    length = 20 if quick else 400
    held = _held(ours, length)
    half, whole = _record(ours, length // 2), _record(ours, length)
    return {"memory": held / MIB, "journal": whole / MIB, "growth": whole / half}


def _held(ours: Framework, length: int) -> int:
    """Bytes that steps add to the memory of the process and of its sandbox."""
    replies: list[str] = []
    agent = ours.agent(lambda _: replies.pop())
    grown = 0
    for steps in (3, length):  # what is loaded and made once is not the steps'
        before = settled_memory()
        replies = [answering("1"), *[PROGRAM] * steps]
        agent.run("Take your time.", reset=False)
        if ours.side == "actloop":
            agent.model.requests.clear()  # the scripted model's own record, which no other model keeps
        grown = settled_memory() - before
    return grown


def _record(ours: Framework, length: int) -> int:
    """Bytes that the record of a run takes on disk."""
    if ours.side == "smolagents":
        agent = ours.agent(timed_script(PROGRAM, length, []))
        agent.run("Take your time.")
        return len(json.dumps(agent.memory.get_full_steps(), default=str))
    import tempfile
    from pathlib import Path

    from actloop.journal.sqlite import SQLiteJournal

    with tempfile.TemporaryDirectory() as folder:
        journal = SQLiteJournal(Path(folder, "journal.db"))
        with ours.agent(timed_script(PROGRAM, length, []), journal=journal) as agent:
            agent.run("Take your time.")
        journal.close()
        return sum(file.stat().st_size for file in Path(folder).iterdir())
