"""Limits and ends: time, memory, output, interrupts, crashes, and what is there afterwards."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.executors.driving import WAITER, Driver

from actloop import CodeAgent, LogLevel, ScriptedModel
from actloop.executors.session import Finished, Printed, SandboxLimits
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.timeout(120)

STUBBORN = """
n = 0
while True:
    try:
        n += 1
        while True:
            try:
                n += 1
                while True: n += 1
            except BaseException: n += 1
    except BaseException: n += 1
"""
IN_C = "x = 10 ** 10 ** 8\ny = str(x)"


def limits(**fields: Any) -> dict[str, Any]:
    return {"limits": SandboxLimits(**fields)}


@pytest.mark.parametrize("code", ["while True:\n    pass", STUBBORN, IN_C, "sum(n * n for n in range(10 ** 12))"])
def test_a_program_that_takes_too_long_is_ended(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=1.0))
    ended = driver.run("print('begun')\n" + code)
    assert ended.failure is not None
    assert ended.failure.kind == "TimeoutError"
    assert ended.logs == "begun\n"
    assert driver.session.alive is not ended.failure.lost
    if driver.session.alive:
        assert driver.value("1 + 1") == 2


def test_a_session_of_which_the_guest_died_says_so(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=0.5))
    failure = driver.run(STUBBORN).failure
    assert failure is not None
    assert failure.lost
    assert "gone" in failure.hint
    assert not driver.session.alive


def test_time_that_the_host_takes_is_not_counted(open_driver: Callable[..., Driver]) -> None:
    import time

    driver = open_driver(limits(wall=1.0), slow=lambda: time.sleep(1.5))
    assert driver.value("slow()\n'done'") == "done"


@pytest.mark.needs("cpu")
def test_processor_time_is_limited(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=30.0, cpu=0.5))
    failure = driver.run("while True:\n    pass").failure
    assert failure is not None
    assert failure.kind == "TimeoutError"
    assert "processor" in failure.message or "CPU" in failure.message


@pytest.mark.needs("memory")
@pytest.mark.parametrize(
    "code", ["x = []\nwhile True:\n    x.append('x' * 1_000_000 + str(len(x)))", "y = 'x' * 10 ** 10"]
)
def test_memory_is_limited(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(memory=128 << 20, wall=20.0))
    failure = driver.run(code).failure
    assert failure is not None
    assert failure.kind in ("MemoryError", "OverflowError", "SandboxCrash")  # OverflowError: beyond 32 bits
    if driver.session.alive:
        assert driver.value("x = None\n1 + 1") == 2


@pytest.mark.needs("crash")
def test_a_guest_that_ends_itself_is_lost_and_the_next_session_works(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"imports": ["*"]})
    failure = driver.run("print('before')\nimport os\nos._exit(3)").failure
    assert failure is not None
    assert (failure.kind, failure.lost) == ("SandboxCrash", True)
    assert not driver.session.alive
    assert open_driver().value("1") == 1


@pytest.mark.needs("crash")
def test_an_agent_goes_on_after_a_crash(make: Callable[..., Any]) -> None:
    replies = ["x = 1\nimport os\nos._exit(3)", "final_answer('x' in globals())"]
    programs = [f"<code>\n{reply}\n</code>" for reply in replies]
    with CodeAgent(
        [],
        ScriptedModel(programs),
        executor=make(["*"]),
        additional_authorized_imports=["*"],
        verbosity_level=LogLevel.OFF,
        journal=None,
    ) as agent:
        assert agent.run("go") is False
        assert "variables" in str(getattr(agent.memory.steps[1], "error", ""))


def interrupted(driver: Driver, code: str) -> Finished:
    """Run a program and interrupt it when it has printed something."""
    run_now(driver.session.start(code, WAITER))
    timer: threading.Timer | None = None
    try:
        while True:
            event = run_now(driver.session.receive(WAITER))
            if isinstance(event, Finished):
                return event
            if isinstance(event, Printed) and timer is None:
                timer = threading.Timer(0.05, driver.session.interrupt)
                timer.start()
    finally:
        if timer is not None:
            timer.join()


@pytest.mark.needs("interrupt")
def test_an_interrupt_ends_a_program_and_keeps_the_session(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    ended = interrupted(driver, "x = 1\nprint('b' * 9000)\nwhile True:\n    x += 1")
    assert ended.failure is not None
    assert (ended.failure.kind, ended.failure.lost) == ("KeyboardInterrupt", False)
    assert driver.value("x > 0") is True


def test_an_interrupt_ends_the_most_stubborn_program(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    ended = interrupted(driver, "print('b' * 9000)" + STUBBORN)
    assert ended.failure is not None
    assert ended.failure.kind == "KeyboardInterrupt"


def test_closing_a_session_that_runs(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    run_now(driver.session.start("while True:\n    pass", WAITER))
    timer = threading.Timer(0.2, driver.session.close)
    timer.start()
    ended = run_now(driver.session.receive(WAITER))
    timer.join()
    assert isinstance(ended, Finished)
    assert ended.failure is not None
    assert ended.failure.lost
    driver.session.close()


def test_output_that_never_ends(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(limits(wall=1.5, output=10_000))
    ended = driver.run("while True:\n    print('x' * 100_000)")
    assert ended.failure is not None
    assert ended.failure.kind == "TimeoutError"
    assert len(ended.logs) < 10_400
