"""How programs in Monty end, and snapshots of their sessions."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver
from tests.executors.monty.helpers import failed, twice, with_worker

from actloop.errors import InterpreterError
from actloop.executors.session import Call, Finished, Printed, SandboxLimits, Snapshot
from actloop.executors.waiting import BlockingWaiter, run_now
from actloop.guest import Record

if TYPE_CHECKING:
    from collections.abc import Callable


pytest.importorskip("pydantic_monty")


def test_hints(driver: Driver) -> None:
    driver.value("total = 1")
    expected = {
        "totl": "total",
        "math.pi": "import math",
        "vars(total)": "Monty has no vars",
        "import statistics": "modules",
        "None.x": "None",
        "int('abc')": "no number",
        "open('/etc/passwd')": "No files",
        "del total": "another way",
        "next(n for n in [1])": "iter",
        "def f():\n    return f()\nf()": "loop",
    }
    for code, text in expected.items():
        assert text in failed(driver, code).hint, code


def test_a_traceback_has_the_programs_lines_only(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(fail=lambda: 1 / 0)
    driver.value("def inner():\n    fail()")
    failure = failed(driver, "x = 1\n(inner(),\n  2)")
    assert failure.traceback == (
        'Traceback (most recent call last):\n  File "<step 2>", line 2, in <module>\n    (inner(),\n'
        '  File "<step 1>", line 2, in inner\n    fail()\nZeroDivisionError: division by zero\n'
    )
    assert (failure.line, failure.source) == (2, "(inner(),")


def test_errors_of_tools_keep_their_class_where_there_is_one(open_driver: Callable[..., Driver]) -> None:
    class OddError(Exception):
        pass

    def fail(kind: str) -> None:
        raise {"key": KeyError("k"), "odd": OddError("so odd"), "net": ConnectionResetError("gone")}[kind]

    driver = open_driver(fail=fail)
    assert failed(driver, "fail('key')").kind == "KeyError"
    assert failed(driver, "fail('odd')").message == "OddError: so odd"
    code = "try:\n    fail('net')\nexcept OSError as error:\n    text = str(error)\ntext"
    assert driver.value(code) == "ConnectionResetError: gone"


def test_names_that_nothing_defines_are_not_called(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(real=lambda: 1)
    for code in ("unreal()", "__actloop_call()", "__actloop_use('unreal', (), {})"):
        assert failed(driver, code).kind in ("NameError", "RuntimeError")
    assert driver.calls == []


def test_sleep_takes_time_and_gathered_sleeps_overlap(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(SandboxLimits(wall=5.0))
    began = time.monotonic()
    assert (
        driver.value("import asyncio, time\ntime.sleep(0.1)\nawait asyncio.gather(*[asyncio.sleep(0.2)] * 1)\n5") == 5
    )
    assert time.monotonic() - began >= 0.3
    assert driver.value("await asyncio.gather(*[asyncio.sleep(0.4) for _ in range(5)])\n6") == 6
    failure = failed(driver, "time.sleep(60)")
    assert (failure.kind, failure.lost) == ("TimeoutError", True)


def test_asynchronous_tools_give_their_value_at_once_where_nothing_awaits(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(a_twice=twice)
    assert driver.value("a_twice(3) + 1") == 7
    assert driver.value("import asyncio\nasync def f():\n    return await a_twice(1)\nasyncio.run(f())") == 2
    assert driver.value("await a_twice(2)") == 4


@pytest.mark.parametrize(
    "code",
    [
        "print('x')\nimport time\ntime.sleep(30)",
        "print('x')\nwait()",
        "print('x')\nimport asyncio\nawait asyncio.gather(asyncio.sleep(30), a_wait())",
    ],
)
def test_an_interrupt_is_heard_where_a_program_sleeps_or_calls(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(wait=None, a_wait=None)
    driver.value("kept = 1")
    run_now(driver.session.start(code, WAITER))
    while not isinstance(run_now(driver.session.receive(WAITER)), Printed):
        pass
    timer = threading.Timer(0.1, driver.session.interrupt)
    timer.start()
    while not isinstance(event := run_now(driver.session.receive(WAITER)), Finished):
        assert isinstance(event, (Call, Printed))
    timer.join()
    assert event.failure is not None
    assert (event.failure.kind, event.failure.lost) == ("KeyboardInterrupt", False)
    assert driver.value("kept") == 1


def test_an_interrupt_is_heard_where_a_program_is_still_read(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    refusals: list[str] = []

    class Meanwhile(BlockingWaiter):
        async def compute(self, function: Callable[..., Any], *arguments: Any) -> Any:
            for act in (
                driver.session.interrupt,
                lambda: run_now(driver.session.start("2", WAITER)),
                lambda: driver.define(x=1),
            ):
                try:
                    act()
                except InterpreterError as error:
                    refusals.append(str(error))
            return await super().compute(function, *arguments)

    run_now(driver.session.start("import time\ntime.sleep(600)", Meanwhile()))
    event = driver.finish()
    assert event.failure is not None
    assert (event.failure.kind, event.failure.lost) == ("KeyboardInterrupt", False)
    assert refusals == [
        "The sandbox cannot start a program now: another program runs",
        "The sandbox cannot take variables now: another program runs",
    ]
    assert driver.value("1") == 1


def test_a_worker_that_is_killed_is_lost_and_replaced(open_driver: Callable[..., Driver]) -> None:
    driver, worker = with_worker(open_driver, wait=lambda: None)
    run_now(driver.session.start("print('x')\nwhile True:\n    pass", WAITER))
    assert isinstance(run_now(driver.session.receive(WAITER)), Printed)
    os.kill(worker, signal.SIGKILL)
    event = run_now(driver.session.receive(WAITER))
    assert isinstance(event, Finished)
    assert event.failure is not None
    assert (event.failure.kind, event.failure.lost) == ("SandboxCrash", True)
    assert "gone" in event.failure.hint
    assert open_driver().value("1") == 1


def test_full_memory_ends_the_program_and_only_the_session_at_worst(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(SandboxLimits(memory=64 << 20))
    driver.value("kept = 1")
    assert failed(driver, "'x' * 10**12").kind == "MemoryError"
    assert driver.value("kept") == 1
    failure = failed(driver, "x = []\nwhile True:\n    x.append('x' * 1000 + str(len(x)))")
    assert failure.kind == "MemoryError"
    assert failure.lost is not driver.session.alive


def test_recursion_is_limited(driver: Driver) -> None:
    assert failed(driver, "def f(n):\n    return f(n + 1)\nf(0)").kind == "RecursionError"
    assert len(failed(driver, "f(0)").traceback) < 10_100


def test_closing_wakes_whoever_waits_for_a_call(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(wait=None)
    run_now(driver.session.start("wait()", WAITER))
    assert isinstance(run_now(driver.session.receive(WAITER)), Call)
    timer = threading.Timer(0.1, driver.session.close)
    timer.start()
    event = run_now(driver.session.receive(WAITER))
    timer.join()
    assert isinstance(event, Finished)
    assert event.failure is not None
    assert event.failure.lost


def test_a_snapshot_holds_functions_objects_and_tools_values(open_driver: Callable[..., Driver]) -> None:
    one, other = open_driver(), open_driver()
    one.define(r=Record("P", {"x": [1]}))
    one.value(
        "class A:\n    def __init__(self, n):\n        self.n = n\na = A(3)\nnext_one = iter([1, 2, 3])\nnext(next_one)"
    )
    other.value("own = 5\ndef gone():\n    pass")
    snapshot = Snapshot.from_bytes(run_now(one.session.snapshot(WAITER)).to_bytes())
    assert set(snapshot.names) == {"r", "A", "a", "next_one"}
    run_now(other.session.restore(snapshot, WAITER))
    assert other.value("[a.n, next(next_one), r.x, own]") == [3, 2, [1], 5]
    assert other.value("a") == Record("A", {"n": 3})
    assert failed(other, "x = 1\na.missing").line == 2


def test_secrets_are_left_out_of_a_snapshot(driver: Driver) -> None:
    driver.define(TOKEN="hush-hush-hush", x=1)
    snapshot = run_now(driver.session.snapshot(WAITER, without=["TOKEN"]))
    assert b"hush-hush" not in snapshot.data
    assert "TOKEN" not in snapshot.names
    assert driver.value("TOKEN") == "hush-hush-hush"


def test_a_snapshot_does_not_bring_more_memory_along(open_driver: Callable[..., Driver]) -> None:
    snapshot = run_now(open_driver().session.snapshot(WAITER))
    small = open_driver(SandboxLimits(memory=64 << 20))
    with pytest.raises(InterpreterError, match="memory"):
        run_now(small.session.restore(snapshot, WAITER))
    for data in (b"", b"{}\nx", snapshot.data[:-9], snapshot.data.partition(b"\n")[0] + b"\n"):
        with pytest.raises(InterpreterError):
            run_now(small.session.restore(Snapshot("monty", snapshot.python, data), WAITER))
    assert small.value("1") == 1
