"""Snapshots from one session to another: their tools, what was there before, and forks."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver

from actloop.errors import InterpreterError
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import run_now

from .kit import CLASSES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from actloop.executors.base import GuestExecutor


def first_search(text: str) -> str:
    return f"first {text}"


def second_search(text: str) -> str:
    return f"second {text}"


def double(n: int) -> int:
    return 2 * n


def test_tools_stay_with_their_session(make: Callable[..., Any]) -> None:
    first = make()
    first.send_tools({"search": first_search, "only_here": lambda: 1})
    first(
        "find = search\ndef ask(text): return search(text)\ntools = {'s': search}\nlost = only_here\nsearch_count = 1"
    )
    snapshot = first.snapshot()
    assert set(snapshot.names) == {"find", "ask", "tools", "lost", "search_count"}
    second = make()
    second.send_tools({"search": second_search})
    second.restore(snapshot)
    assert second("ask('a'), find('b'), tools['s']('c')").output == ("second a", "second b", "second c")
    with pytest.raises(InterpreterError, match="no tool 'only_here'"):
        second("lost()")
    second.send_tools({"only_here": lambda: 2})
    assert second("lost()").output == 2


def test_a_variable_does_not_take_the_place_of_a_tool(make: Callable[..., Any]) -> None:
    other = make()
    other.send_tools({"search": lambda: "found"})
    other.restore(make("search, x = 5, 1").snapshot())
    assert other("search(), x").output == ("found", 1)


def test_the_snapshots_variables_come_to_those_that_are_there_and_replace_their_namesakes(
    make: Callable[..., Any],
) -> None:
    snapshot = make("a, b = 1, [2]\ndef f(): return a, c").snapshot()
    other = make("b, c = 'old', 3")
    other.restore(snapshot)
    assert other("a, b, c, f()").output == (1, [2], 3, (1, 3))


def test_going_back_to_an_earlier_moment(make: Callable[..., Any]) -> None:
    executor = make("class A:\n    n = 1\nitems, a = [1], A()")
    snapshot = executor.snapshot()
    executor("old, A.n = a, 2\nitems.append(2)\na.extra = 1")
    executor.restore(snapshot)
    assert executor("items, A.n, hasattr(a, 'extra'), isinstance(a, A), old.n, isinstance(old, A)").output == (
        *([1], 1, False, True),
        *(2, False),
    )


def test_a_snapshot_changes_nothing(make: Callable[..., Any]) -> None:
    executor = make(CLASSES + "\ngenerator = (n for n in range(3))\nprint('x')")
    ids = "[id(value) for value in (Shape, Shape.made, Square.area, square, points)]"
    before = executor(ids).output
    assert executor.snapshot().names == executor.snapshot().names
    assert executor(ids).output == before


def test_what_is_printed_meanwhile_is_dropped(make: Callable[..., Any]) -> None:
    executor = make("class A:\n    def __getstate__(self):\n        print('taken')\n        return {}\na = A()")
    executor.snapshot()
    assert executor("print('mine')").logs == "mine\n"


def test_many_snapshots_in_a_row_leave_nothing_behind(make: Callable[..., Any]) -> None:
    executor = make(CLASSES + "\nimport gc\nbig = bytearray(3_000_000)\ngenerator = (n for n in [1])")
    seen: list[tuple[int, int]] = []
    for _ in range(20):
        snapshot = executor.snapshot()
        executor.restore(snapshot)
        count = executor("gc.collect()\nlen(gc.get_objects())").output
        seen.append((len(snapshot.data), count))
    assert {size for size, _ in seen[1:]} == {seen[1][0]}
    assert seen[-1][1] - seen[2][1] < 200, seen


def test_snapshots_are_as_large_as_their_parts_need(make: Callable[..., Any]) -> None:
    code = "import random\nrandom.seed(1)\nblob = random.randbytes(5_000_000)\ntotal = sum(blob)"
    executor = make(code, limits=SandboxLimits(value=1 << 20) if make("").enforced > {"memory"} else None)
    snapshot = executor.snapshot()
    assert len(snapshot.data) > 5_000_000
    executor("blob = None")
    executor.restore(snapshot)
    assert executor("sum(blob) == total").output is True


@pytest.mark.parametrize("kind", ["kernel"], indirect=True)
def test_a_snapshot_is_restored_in_another_process(make: Callable[..., Any], tmp_path: Path) -> None:
    file = tmp_path / "snapshot"
    file.write_bytes(make(CLASSES + "\nrate = 2\ndef price(n): return n * rate").snapshot().to_bytes())
    program = (
        "import sys\nfrom pathlib import Path\nfrom actloop.executors.local import LocalPythonExecutor\n"
        "from actloop.executors.session import Snapshot\nwith LocalPythonExecutor([]) as executor:\n"
        "    executor.restore(Snapshot.from_bytes(Path(sys.argv[1]).read_bytes()))\n"
        "    print(executor('price(4), square.area(), red.name').output)"
    )
    done = subprocess.run([sys.executable, "-c", program, file], capture_output=True, text=True, check=True)
    assert done.stdout == "(8, 9, 'RED')\n"


def test_a_fork_goes_its_own_way(make: Callable[..., Any], made: list[GuestExecutor]) -> None:
    executor = make("x = [1]\ngenerator = (n for n in [1])")
    executor.send_tools({"double": double})
    other = executor.fork()
    made.append(other)
    third = other.fork()
    made.append(third)
    assert other("x.append(double(4))\nx").output == [1, 8]
    other.send_tools({"triple": double})
    assert executor("x").output == third("x").output == [1]
    with pytest.raises(InterpreterError, match="triple"):
        executor("triple(1)")
    executor.cleanup()
    assert other("x").output == [1, 8]
    assert type(other) is type(executor)


def test_a_fork_of_an_executor_that_was_never_called(make: Callable[..., Any], made: list[GuestExecutor]) -> None:
    executor = make()
    executor.send_variables({"x": 1})
    other = executor.fork()
    made.append(other)
    executor.send_variables({"x": 2})
    assert (executor("x").output, other("x").output) == (2, 1)


def test_a_session_opens_with_a_snapshot(make: Callable[..., Any]) -> None:
    executor = make("x = 5")
    session = run_now(executor.open_session(WAITER, executor.snapshot()))
    assert Driver(session).value("x") == 5
    session.close()
