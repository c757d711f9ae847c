"""Several executors as one: which are passed over, their options, direct calls and snapshots."""

from __future__ import annotations

import os
from typing import Any

import pytest
from tests.executors.driving import WAITER, Driver
from tests.executors.lines import Lines

from actloop.errors import InterpreterError, SandboxUnavailableError
from actloop.executors.fallback import FallbackExecutor
from actloop.executors.local import LocalPythonExecutor
from actloop.executors.monty import MontyExecutor
from actloop.executors.registry import fallback_executor, make_executor
from actloop.executors.session import SandboxLimits
from actloop.executors.waiting import run_now

from .kit import Absent, Refusing, Told, agent_of, twice

pytest.importorskip("pydantic_monty")


def test_executors_that_are_not_available_are_passed_over_with_a_line_each() -> None:
    logger = Lines()
    with FallbackExecutor([Absent(), Refusing(), MontyExecutor()], logger) as executor:
        assert executor("1 + 1").output == 2
        executor.cleanup()
        assert executor("2 + 2").output == 4
    assert len(logger.lines) == 2
    assert "no such thing here" in logger.lines[0]
    assert "would not start" in logger.lines[1]


def test_an_executor_that_was_told_what_it_needs_is_not_passed_over() -> None:
    logger = Lines()
    with FallbackExecutor([Told(), MontyExecutor()], logger) as executor:
        assert executor("import statistics\nstatistics.mean([1, 3])").output == 2
    assert logger.lines == []


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"allow_hosts": ["no host"]}, ValueError, "no host"),
        ({"workspace": "/there/is/no/such/folder"}, ValueError, "/there/is/no/such/folder"),
        ({"memroy": 5}, TypeError, "memroy"),
    ],
)
def test_a_wrong_option_is_no_reason_to_run_elsewhere(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        fallback_executor(["local", "monty"], [], None, options)


def test_options_that_nobody_else_knows_go_to_those_that_hand_them_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("E2B_API_KEY", raising=False)
    executor = fallback_executor(["e2b", "local"], [], None, {"api_key": "k", "template": "mine", "timeout_seconds": 3})
    assert [type(one).__name__ for one in executor.executors] == ["E2BExecutor", "LocalPythonExecutor"]
    assert [one.timeout_seconds for one in executor.executors] == [3, 3]
    executor.cleanup()


def test_if_none_is_available_each_says_why() -> None:
    executor = FallbackExecutor([Absent(), Refusing()])
    with pytest.raises(SandboxUnavailableError, match=r"Absent: there is no such thing.*Refusing: it would not start"):
        executor("1")


def test_direct_calls_move_too() -> None:
    with FallbackExecutor([MontyExecutor(), LocalPythonExecutor()]) as executor:
        executor.send_tools({"twice": twice})
        executor.send_variables({"x": 2})
        assert executor("y = twice(x)\ny").output == 4
        assert executor("import statistics\nstatistics.mean([y, 6])").output == 5
        assert executor.state["y"] == 4
        with executor.fork() as other:
            assert other("y += 1\n[y, twice(y)]").output == [5, 10]
        assert executor("y").output == 4


def test_snapshots_are_restored_in_the_executor_of_their_kind() -> None:
    with FallbackExecutor([MontyExecutor(), LocalPythonExecutor()]) as executor:
        executor("x = [1]")
        of_monty = executor.snapshot()
        executor("import statistics\ndef f():\n    return statistics.mean(x)")
        of_local = executor.snapshot()
        assert (of_monty.kind, of_local.kind) == ("monty", "local")
        with pytest.raises(InterpreterError, match="monty"):
            executor.restore(of_monty)
        executor.cleanup()
        executor.restore(of_local)
        assert executor("f()").output == 1
        executor.cleanup()
        executor.restore(of_monty)
        assert executor("x").output == [1]
        session = run_now(executor.open_session(WAITER, of_local))
        assert Driver(session).value("f()") == 1
        session.close()


def test_options_go_to_the_classes_that_know_them(tmp_path: Any) -> None:
    logger = Lines()
    limits = SandboxLimits(wall=5.0, memory=128 << 20)
    with fallback_executor(
        ["monty", "local"], ["numpy"], logger, {"limits": limits, "max_print_outputs_length": 9}
    ) as made:
        assert [type(executor).__name__ for executor in made.executors] == ["MontyExecutor", "LocalPythonExecutor"]
        assert {executor.limits.memory for executor in made.executors} == {128 << 20}
        assert made.executors[1].additional_authorized_imports == ["numpy"]
    assert logger.lines == []
    os.makedirs(tmp_path / "w")
    with fallback_executor(["monty", "local"], [], logger, {"workspace": str(tmp_path / "w")}) as made:
        assert [type(executor).__name__ for executor in made.executors] == ["LocalPythonExecutor"]
        assert made.workspace is not None
    assert logger.lines == ["monty is passed over: it has no files"]
    with pytest.raises(TypeError, match="nonsense"):
        fallback_executor(["monty", "local"], [], None, {"nonsense": 1})
    with pytest.raises(ValueError, match="no such executor"):
        fallback_executor(["monty", "nowhere"], [], None, {})
    with pytest.raises(SandboxUnavailableError, match="no files"):
        fallback_executor(["monty"], [], None, {"workspace": str(tmp_path / "w")})
    with pytest.raises(InterpreterError, match="not_installed_at_all"):
        fallback_executor(["monty", "local"], ["not_installed_at_all"], None, {})


def test_options_under_the_name_of_an_executor_are_its_own_and_come_first() -> None:
    options = {
        "limits": SandboxLimits(wall=5.0, memory=128 << 20),
        "timeout_seconds": 4.0,
        "local": {"limits": SandboxLimits(wall=7.0)},
        "monty": {"timeout_seconds": 3.0},
    }
    with fallback_executor(["monty", "local"], [], None, options) as made:
        assert [executor.limits.wall for executor in made.executors] == [3.0, 7.0]
        assert [executor.limits.memory for executor in made.executors] == [128 << 20, SandboxLimits().memory]
    with make_executor("local", [], None, {"timeout_seconds": 4.0, "local": {"timeout_seconds": 7.0}}) as alone:
        assert alone.limits.wall == 7.0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"local": {"timeot_seconds": 1}}, "LocalPythonExecutor takes no argument 'timeot_seconds'; did you mean"),
        ({"monty": {"warm": 1}}, "MontyExecutor takes no argument 'warm'"),
        ({"local": {1: 1}}, "LocalPythonExecutor takes no argument 1"),
        ({"local": 7.0}, r"executor_kwargs\['local'\] is a dict of that executor's own options; got float"),
        ({"docker": {"image": "x"}}, "options for 'docker', which is not among the executors asked for: monty, local"),
        ({"loacl": {"timeout_seconds": 1}}, "takes an option 'loacl'; did you mean 'local'"),
    ],
)
def test_wrong_options_of_one_executor_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(TypeError, match=told):
        agent_of("1", executor_kwargs=options)


def test_limits_of_ones_own_keep_what_the_model_is_to_be_shown() -> None:
    options = {"limits": SandboxLimits(output=99_999), "local": {"limits": SandboxLimits(output=9)}}
    with agent_of("1", executor_kwargs=options, max_print_outputs_length=60_000) as agent:
        assert [executor.limits.output for executor in agent.python_executor.executors] == [99_999, 60_000]
        assert agent.executor_kwargs == options


def test_what_is_no_list_of_executors_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        FallbackExecutor([])
    with pytest.raises(ValueError, match="opens no sessions"):
        FallbackExecutor([object()])
