"""Forks of several executors as one."""

from __future__ import annotations

import pytest
from tests.executors.driving import WAITER, Driver

from actloop.executors.fallback import FallbackExecutor
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.monty import MontyExecutor
from actloop.executors.waiting import run_now

pytest.importorskip("pydantic_monty")


def test_the_end_of_a_fork_leaves_the_executors_of_its_origin_alone() -> None:
    with LocalPythonExecutor() as first, FallbackExecutor([first]) as executor:
        executor("x = 1")
        first("y = 2")
        with executor.fork() as other:
            assert other("x").output == 1
        assert (executor("x").output, first("y").output) == (1, 2)


def test_a_forked_executor_moves_on_its_own_with_what_was_defined() -> None:
    with FallbackExecutor([MontyExecutor(), LocalPythonExecutor()]) as executor:
        executor("x = [1]\ndef total():\n    return sum(x)")
        with executor.fork() as other:
            assert other("import statistics\nx.append(3)\n[statistics.mean(x), total()]").output == [2, 4]
            kinds = [one.snapshot().kind for one in (executor, other)]
        assert (kinds, executor("total()").output) == (["monty", "local"], 1)


def test_a_forked_session_moves_on_its_own_with_what_was_defined() -> None:
    with FallbackExecutor([MontyExecutor(), LocalPythonExecutor()]) as executor:
        driver = Driver(run_now(executor.open_session(WAITER)))
        driver.value("x = [1]\ndef total():\n    return sum(x)")
        other = Driver(run_now(driver.session.fork(WAITER)))
        assert other.value("import statistics\nx.append(3)\n[statistics.mean(x), total()]") == [2, 4]
        kinds = [run_now(one.session.snapshot(WAITER)).kind for one in (driver, other)]
        assert (kinds, driver.value("total()")) == (["monty", "local"], 1)
        again = Driver(run_now(other.session.fork(WAITER)))
        other.session.close()
        assert again.value("total()") == 4
        driver.session.close()
        again.session.close()


def test_a_forked_session_moves_without_what_was_not_wanted() -> None:
    with FallbackExecutor([MontyExecutor(), LocalPythonExecutor()]) as executor:
        driver = Driver(run_now(executor.open_session(WAITER)))
        driver.value("def secret():\n    return 1")
        other = Driver(run_now(driver.session.fork(WAITER, without=["secret"])))
        assert other.value("import statistics\nglobals().get('secret')") is None
        driver.session.close()
        other.session.close()
