"""Conversations that go on in another sandbox: snapshots of an agent's latest run."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from actloop import (
    CodeAgent,
    LogLevel,
    MemoryJournal,
    ScriptedModel,
    Secret,
    ToolCallingAgent,
    UnsafeInProcessExecutor,
    tool,
)
from actloop.errors import InterpreterError
from actloop.executors.session import Snapshot
from actloop.journal.sqlite import SQLiteJournal
from actloop.values.events import SnapshotTaken

if TYPE_CHECKING:
    from pathlib import Path


def agent(*programs: str, tools: list[Any] | None = None, **options: Any) -> CodeAgent:
    replies = [f"<code>\n{program}\n</code>" for program in programs]
    options = {"verbosity_level": LogLevel.OFF, "journal": MemoryJournal()} | options
    return CodeAgent(tools or [], ScriptedModel(replies), **options)


@tool
def double(n: int) -> int:
    """Doubles a number.

    Args:
        n: The number.
    """
    return 2 * n


FIRST = (
    "x = [1]\ndef grow():\n    x.append(double(len(x)))\n    return x\ngenerator = (n for n in x)\nfinal_answer(grow())"
)


def test_a_conversation_goes_on_in_another_agent() -> None:
    with agent(FIRST, tools=[double]) as first:
        assert first.run("go") == [1, 2]
        snapshot = Snapshot.from_bytes(first.snapshot().to_bytes())
        memory = first.memory
    assert set(snapshot.left_out) == {"generator"}
    with agent("final_answer(grow())", "final_answer(grow())", tools=[double]) as second:
        second.memory = memory
        second.restore(snapshot)
        assert second.run("on", reset=False) == [1, 2, 4]
        assert second.run("on", reset=False) == [1, 2, 4, 6]
        assert len([step for step in second.memory.steps if type(step).__name__ == "TaskStep"]) == 3


def test_a_conversation_goes_on_in_another_process(tmp_path: Path) -> None:
    with agent("x = 5\ndef f(): return x + 1\nfinal_answer(1)") as first:
        first.run("go")
        (tmp_path / "snapshot").write_bytes(first.snapshot().to_bytes())
    program = (
        "import sys\nfrom pathlib import Path\nfrom actloop import CodeAgent, LogLevel, ScriptedModel\n"
        "from actloop.executors.session import Snapshot\n"
        "agent = CodeAgent([], ScriptedModel(['<code>\\nfinal_answer(f())\\n</code>']), journal=None,\n"
        "                  verbosity_level=LogLevel.OFF)\n"
        "with agent:\n    agent.restore(Snapshot.from_bytes(Path(sys.argv[1]).read_bytes()))\n"
        "    print(agent.run('on', reset=False))"
    )
    command = [sys.executable, "-c", program, tmp_path / "snapshot"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "6\n"


def test_going_back_to_an_earlier_moment() -> None:
    with agent("final_answer(data)", "data.append(2)\nfinal_answer(data)", "final_answer(data)", "data") as one:
        assert one.run("go", additional_args={"data": [1]}) == [1]
        snapshot = one.snapshot()
        assert one.run("on", reset=False) == [1, 2]
        one.restore(snapshot)
        assert one.run("back", reset=False) == [1]
        one.model = ScriptedModel(["<code>\nfinal_answer(data)\n</code>"])
        one.restore(snapshot)
        assert one.run("with other data", reset=False, additional_args={"data": [9]}) == [9]


def test_variables_of_the_conversation_that_the_program_changed_are_not_sent_again() -> None:
    with agent("data.append(2)\nfinal_answer(data)", "final_answer(data)") as one:
        assert one.run("go", additional_args={"data": [1]}) == [1, 2]
        one.restore(one.snapshot())
        assert one.run("on", reset=False) == [1, 2]


def test_a_new_conversation_begins_without_the_snapshot() -> None:
    with agent("x = 1\nfinal_answer(1)", "final_answer('x' in globals())", "final_answer('x' in globals())") as one:
        one.run("go")
        one.restore(one.snapshot())
        assert one.run("anew") is False
        assert one.run("on", reset=False) is False


def test_secrets_of_programs_are_not_in_it_but_are_placed_again() -> None:
    secrets = {"TOKEN": Secret("hunter2hunter2", place="sandbox")}
    with agent("x = len(TOKEN)\nfinal_answer(x)", secrets=secrets) as first:
        assert first.run("go") == 14
        snapshot = first.snapshot()
    assert set(snapshot.names) == {"x"}
    assert b"hunter2" not in snapshot.to_bytes()
    with agent("final_answer([x, len(TOKEN)])", secrets={"TOKEN": Secret("another one", place="sandbox")}) as second:
        second.restore(snapshot)
        assert second.run("on", reset=False) == [14, 11]


def test_asynchronous_runs_go_on_too() -> None:
    with agent("x = 1\nfinal_answer(1)", "final_answer(x + 1)") as one:

        async def both() -> Any:
            await one.arun("go")
            one.restore(one.snapshot())
            return await one.arun("on", reset=False)

        assert asyncio.run(both()) == 2


def test_the_journal_says_that_a_snapshot_was_taken(tmp_path: Path) -> None:
    journal = SQLiteJournal(tmp_path / "journal")
    with agent(FIRST, tools=[double], journal=journal) as one:
        result = one.run("go", return_full_result=True)
        data = one.snapshot().to_bytes()
    found = [event for event in journal.events(result.run_id) if isinstance(event, SnapshotTaken)]
    journal.close()
    assert [(event.reference, event.size, event.left_out) for event in found] == [
        (f"sha256:{hashlib.sha256(data).hexdigest()}", len(data), ["generator"])
    ]


def test_a_callback_takes_a_snapshot_between_two_steps() -> None:
    taken: list[Snapshot] = []

    def take(step: Any, agent: CodeAgent) -> None:
        taken.append(agent.snapshot())

    with agent("x = 1", "x = 2\nfinal_answer(x)", "final_answer(x)", step_callbacks=[take]) as one:
        assert one.run("go") == 2
        one.step_callbacks = type(one.step_callbacks)()
        one.restore(taken[0])
        assert one.run("back", reset=False) == 1


def test_what_cannot_be_said_plainly() -> None:
    with agent("final_answer(1)", "final_answer(1)") as one:
        with pytest.raises(InterpreterError, match="no sandbox to take"):
            one.snapshot()
        one.restore(Snapshot("WasmExecutor", "3.11.1", b"x"))
        with pytest.raises(InterpreterError, match="WasmExecutor"):
            one.run("go", reset=False)
        assert one.run("go", reset=False) == 1
    with ToolCallingAgent([], ScriptedModel([]), verbosity_level=LogLevel.OFF) as calling:
        with pytest.raises(InterpreterError, match="ToolCallingAgent has no executor"):
            calling.restore(Snapshot("local", "3.11.1", b"x"))
        with pytest.raises(InterpreterError, match="no sandbox to take"):
            calling.snapshot()


def test_the_kind_of_executor_counts() -> None:
    with agent("x = 1\nfinal_answer(1)") as one:
        one.run("go")
        snapshot = one.snapshot()
    with agent("final_answer(x)", executor=UnsafeInProcessExecutor()) as other:
        other.restore(snapshot)
        with pytest.raises(InterpreterError, match="of the kind 'local'"):
            other.run("on", reset=False)
