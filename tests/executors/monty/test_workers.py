"""Workers that serve one session after another: they are used again, carry nothing over, and do not pile up."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest
from tests.executors.driving import WAITER
from tests.executors.monty.helpers import echo, failed, ready, twice, with_worker
from tests.waiting import eventually, lives

from actloop.errors import InterpreterError
from actloop.executors.monty.workers import KEPT, WORKERS
from actloop.executors.session import SandboxLimits, Snapshot
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.driving import Driver

pytest.importorskip("pydantic_monty")
pytestmark = pytest.mark.timeout(180)

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what a worker holds")


def same_worker(
    open_driver: Callable[..., Driver], use: Callable[[Driver], object], *limits: SandboxLimits | None
) -> Driver:
    """A session in the worker that another one, with the first limits, was used in and left."""
    given = {"echo": echo, "twice": twice}
    for _ in range(50):  # whatever ran before, a worker is replaced now and then
        first, worker = with_worker(open_driver, limits[0] if limits else None, **given)
        use(first)
        first.session.close()
        second, other = with_worker(open_driver, *limits[1:])
        if worker == other:
            return second
        second.session.close()
    raise AssertionError("no worker is used again")


def test_a_worker_that_is_given_back_lives_on(open_driver: Callable[..., Driver]) -> None:
    used: list[int] = []
    for _ in range(8):
        driver, worker = with_worker(open_driver)
        assert driver.value("1") == 1
        driver.session.close()
        used.append(worker)
    assert len(set(used)) < len(used)


def test_nothing_of_a_session_is_known_to_the_next_one(open_driver: Callable[..., Driver]) -> None:
    def use(driver: Driver) -> None:
        driver.define(given="secret")
        driver.value(
            "import json, random\nclass P:\n    def __init__(self):\n        self.inner = 'secret'\n"
            "random.seed(5)\nx = 'secret'\nlist = dict = str = 7\np = P()\nprint('secret')\np"
        )
        driver.run("json.dumps = None\n__actloop_settings['limit'] = 7\n__actloop_waits = True")
        driver.run("import sys\nprint('unfinished secret', end='', file=sys.stderr)\nprint('more', end='')\n1 / 0")

    driver = same_worker(open_driver, use)
    for name in ("given", "x", "P", "p", "json", "random", "echo", "twice"):
        assert failed(driver, f"print({name})").kind == "NameError"
    assert driver.value("str([list('ab'), dict(a=1)])") == "[['a', 'b'], {'a': 1}]"
    assert driver.value("import json\njson.dumps('x' * 100)") == '"' + "x" * 100 + '"'
    assert driver.value("class P:\n    def __init__(self):\n        self.outer = 1\nP()").record_fields == {"outer": 1}
    assert "secret" not in json.dumps([driver.printed, sorted(run_now(driver.session.read(WAITER)))])
    assert driver.printed == []


def test_each_session_has_a_mark_of_its_own(open_driver: Callable[..., Driver]) -> None:
    marks = [open_driver().value("__actloop_settings['mark']")]
    driver = same_worker(open_driver, lambda driver: marks.append(driver.value("__actloop_settings['mark']")))
    marks.append(driver.value("__actloop_settings['mark']"))
    assert len(set(marks)) == len(marks)


FILL = "kept = 'x' * (100 << 20)\nlen(kept)"
LOOP = "while True:\n    pass"


def test_limits_are_those_of_the_session_that_has_the_worker(open_driver: Callable[..., Driver]) -> None:
    small, large = SandboxLimits(memory=32 << 20, wall=3.0, value=1 << 20), SandboxLimits(value=1 << 24)

    def use(driver: Driver) -> None:
        assert driver.value("1") == 1

    widened = same_worker(open_driver, use, small, large)
    assert widened.value("len('x' * (1 << 22) + '')") == 1 << 22
    assert len(widened.value("'x' * (1 << 22)")) == 1 << 22
    assert widened.value(FILL) == 100 << 20
    widened.session.close()
    narrowed = same_worker(open_driver, use, large, small)
    assert len(str(narrowed.value("'x' * (1 << 22)"))) < 1 << 20
    assert failed(narrowed, FILL).kind == "MemoryError"
    if not narrowed.session.alive:
        narrowed = same_worker(open_driver, use, large, small)
    assert failed(narrowed, LOOP).kind == "TimeoutError"


def test_a_program_that_was_stopped_says_nothing_in_the_next_session(open_driver: Callable[..., Driver]) -> None:
    def use(driver: Driver) -> None:
        driver.run("async def late():\n    print('late')\npending = late()\nprint('begun', end='')\nunknown()")

    driver = same_worker(open_driver, use)
    assert driver.value("1 + 1") == 2
    assert driver.printed == []


@on_linux
def test_a_worker_that_has_grown_is_not_kept(open_driver: Callable[..., Driver]) -> None:
    driver, worker = with_worker(open_driver)
    assert driver.value("kept = [str(n) for n in range(500_000)]\nlen(kept)") == 500_000
    driver.session.close()
    assert eventually(lambda: not lives(worker))
    assert eventually(lambda: len(ready()) == KEPT)
    assert open_driver().value("1") == 1


@on_linux
def test_a_worker_that_was_killed_is_replaced_before_it_is_asked_for(open_driver: Callable[..., Driver]) -> None:
    driver, worker = with_worker(open_driver, SandboxLimits(wall=0.5))
    assert failed(driver, LOOP).kind == "TimeoutError"
    assert eventually(lambda: not lives(worker))
    assert eventually(lambda: len(ready()) == KEPT)
    assert worker not in ready()


@on_linux
def test_workers_of_sessions_side_by_side_end_after_them(open_driver: Callable[..., Driver]) -> None:
    drivers = [open_driver() for _ in range(6)]
    assert [driver.value("7") for driver in drivers] == [7] * 6
    held = len(WORKERS.lent())
    assert eventually(lambda: len(ready()) == 1)  # the next one is there before it is asked for
    for driver in drivers:
        driver.session.close()
    assert len(WORKERS.lent()) == held - 6
    assert eventually(lambda: len(ready()) == KEPT)
    assert eventually(lambda: not any("monty-keeper" in thread.name for thread in threading.enumerate()))


@on_linux
def test_a_worker_that_ends_while_it_is_ready_is_not_given(open_driver: Callable[..., Driver]) -> None:
    open_driver().session.close()
    for worker in ready():
        os.kill(worker, signal.SIGKILL)
    for _ in range(3):
        driver = open_driver()
        assert driver.value("1") == 1
        driver.session.close()


def test_sessions_that_open_and_close_all_at_once(open_driver: Callable[..., Driver]) -> None:
    wrong: list[object] = []

    def work(number: int) -> None:
        try:
            for turn in range(5):
                driver = open_driver(SandboxLimits(wall=60.0 + number % 3), twice=twice)
                assert driver.value(f"x = {number}\ntwice(x + {turn})") == 2 * (number + turn)
                driver.session.close()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize("state", ["used", "unused"])
def test_a_snapshot_that_cannot_be_loaded_costs_neither_the_session_nor_a_worker(
    state: str, open_driver: Callable[..., Driver]
) -> None:
    first, driver = open_driver(), open_driver(twice=twice)
    first.value("x = 1")
    taken = run_now(first.session.snapshot(WAITER))
    held = len(WORKERS.lent())
    if state == "used":
        driver.value("kept = 3")
    head = taken.data.partition(b"\n")[0]
    for _ in range(3):
        with pytest.raises(InterpreterError, match="restore"):
            run_now(driver.session.restore(Snapshot(taken.kind, taken.python, head + b"\nx", ("x",)), WAITER))
    assert driver.value("twice(1)" if state == "unused" else "twice(kept)") == (2 if state == "unused" else 6)
    assert len(WORKERS.lent()) == held
    run_now(driver.session.restore(taken, WAITER))
    run_now(driver.session.snapshot(WAITER, without=["x"]))
    assert driver.value("twice(x)") == 2
    assert len(WORKERS.lent()) == held


def test_a_session_that_is_opened_from_a_snapshot_needs_no_second_worker(open_driver: Callable[..., Driver]) -> None:
    first = open_driver(twice=twice)
    first.value("def f(n):\n    return twice(n) + x\nx = 1")
    taken = run_now(first.session.snapshot(WAITER))
    other, worker = with_worker(open_driver, twice=twice)
    run_now(other.session.restore(taken, WAITER))
    assert worker in {checkout.worker for checkout in WORKERS.lent()}
    assert other.value("f(4)") == 9
    other.value("x = 2")
    run_now(other.session.restore(taken, WAITER))
    assert other.value("f(4)") == 9


_HOST = """
import os, sys, threading
from actloop.executors.monty import MontyExecutor
for _ in range(3):
    executors = [MontyExecutor() for _ in range(3)]
    assert [executor("1").output for executor in executors] == [1, 1, 1]
    if sys.argv[1] == "closed":
        for executor in executors:
            executor.cleanup()
    if sys.argv[1] == "forked":
        child = os.fork()
        if not child:
            os._exit(0)
        os.waitpid(child, 0)
"""


@pytest.mark.parametrize("how", ["closed", "dropped", "forked"])
def test_an_interpreter_ends_while_workers_are_made_ready(how: str) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _HOST, how],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
