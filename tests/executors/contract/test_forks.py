"""Forks of sessions and executors: neither sees what is done in the other, or ends what the other has."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, cast

import pytest
from tests.executors.driving import WAITER, Driver

from actloop.errors import InterpreterError
from actloop.executors.reaper import REAPER
from actloop.executors.registry import options_of
from actloop.executors.session import Call, Finished
from actloop.executors.waiting import run_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actloop.executors.session import Session

pytestmark = [pytest.mark.needs("snapshot")]

AHEAD: dict[str, Any] = {"spare": True, "warm": 1}
"""Options by which executors start sandboxes before they are asked for."""


def let_it_get_ready() -> None:
    """Wait until what is started ahead is there."""
    assert REAPER.flush(60)
    for thread in threading.enumerate():
        if thread.name == "actloop-spare":
            thread.join()


def ahead_of(executor: Any) -> dict[str, Any]:
    """Those of these options that its class knows."""
    known = options_of(cast("type[Any]", type(executor)))
    return {name: value for name, value in AHEAD.items() if name in known}


@pytest.fixture
def executor(make: Callable[..., Any]) -> Any:
    """One that keeps sandboxes ready, where its class does that."""
    return make(**ahead_of(make()))


def test_a_fork_tries_an_alternative(executor: Any) -> None:
    executor("x = [1]")
    let_it_get_ready()
    with executor.fork() as other:
        assert other("x.append(2)\nx").output == [1, 2]
    assert executor("x").output == [1]


def test_a_fork_outlives_its_origin(executor: Any) -> None:
    executor("x = [1]")
    let_it_get_ready()
    with executor.fork() as other:
        assert other("x").output == [1]
        let_it_get_ready()
        executor.cleanup()
        assert other("x.append(2)\nx").output == [1, 2]


def test_what_is_kept_ready_outlives_a_fork(executor: Any) -> None:
    executor("x = 1")
    let_it_get_ready()
    with executor.fork() as other:
        assert other("x").output == 1
        let_it_get_ready()
    assert kept_ready(executor) == [True] * len(ahead_of(executor))


def kept_ready(executor: Any) -> list[bool]:
    """Whether each sandbox that an executor has started ahead still lives."""
    spare = getattr(executor, "_spare", None)
    pool = getattr(executor, "_pool", None)
    ready: list[Any] = [*([spare[1]] if spare is not None else []), *getattr(pool, "_ready", ())]
    return [process.alive for process in ready]


@pytest.fixture
def fork() -> Iterator[Callable[..., Driver]]:
    """Forks a session: `fork(driver, **options)`."""
    forks: list[Session] = []

    def fork(driver: Driver, **options: Any) -> Driver:
        forks.append(run_now(driver.session.fork(WAITER, **options)))
        return Driver(forks[-1], **driver.tools)

    yield fork
    for session in forks:
        session.close()


def test_a_session_is_forked_to_try_an_alternative(
    open_driver: Callable[..., Driver], fork: Callable[..., Driver]
) -> None:
    driver = open_driver()
    driver.value("x = [1]\ny = {'same': x}\ndef grow(n):\n    x.append(n)\n    return x")
    first, second = fork(driver), fork(driver)
    assert first.value("grow(2)\ny['same']") == [1, 2]
    assert second.value("grow(3)") == [1, 3]
    of_first = fork(first)
    driver.session.close()
    assert of_first.value("grow(4)") == [1, 2, 4]
    first.session.close()
    assert (second.value("x"), of_first.value("x")) == ([1, 3], [1, 2, 4])


def test_a_forked_session_has_the_tools_and_its_calls_come_to_whoever_drives_it(
    open_driver: Callable[..., Driver],
) -> None:
    driver = open_driver(None, who=lambda: "first")
    driver.value("def ask():\n    return who()")
    other = run_now(driver.session.fork(WAITER))
    try:
        run_now(other.start("ask()", WAITER))
        while not isinstance(call := run_now(other.receive(WAITER)), Call):
            assert not isinstance(call, Finished)
        run_now(other.answer(call.id, "second", WAITER))
        while not isinstance(ended := run_now(other.receive(WAITER)), Finished):
            pass
    finally:
        other.close()
    assert (call.name, ended.output, driver.calls) == ("who", "second", [])
    assert driver.value("ask()") == "first"


def test_variables_that_are_not_wanted_are_not_in_a_fork(
    open_driver: Callable[..., Driver], fork: Callable[..., Driver]
) -> None:
    driver = open_driver()
    driver.value("kept, token = 1, 'secret'")
    other = fork(driver, without=["token"])
    assert other.value("kept") == 1
    failed = other.run("assert token is not None")
    assert failed.failure is not None
    assert driver.value("token") == "secret"


def test_a_session_is_not_forked_while_a_program_runs(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver(None, wait=lambda: 1)
    run_now(driver.session.start("x = wait()\nx", WAITER))
    with pytest.raises(InterpreterError):
        run_now(driver.session.fork(WAITER))
    assert driver.finish().output == 1


def test_packages_of_one_are_not_those_of_the_other(make: Callable[..., Any]) -> None:
    executor = make()
    if not hasattr(executor, "install_packages") or getattr(executor, "_given", None):
        pytest.skip(f"{executor.kind} has no packages: none are installed in its sessions")
    other = executor.fork()
    assert other.install_packages(["attrs"]) == ["attrs"]
    assert (executor.additional_imports, "attr" in executor.authorized_imports) == ([], False)
    assert executor.install_packages(["attrs"]) == ["attrs"]
    assert executor.authorized_imports == other.authorized_imports
