"""LocalPythonExecutor and its kin, called without an agent."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from actloop.errors import InterpreterError
from actloop.executors.local import (
    CodeOutput,
    LocalPythonExecutor,
    LocalPythonInterpreter,
    PythonExecutor,
    evaluate_python_code,
)
from actloop.executors.session import SandboxLimits
from actloop.executors.unsafe import UnsafeInProcessExecutor

kinds = pytest.mark.parametrize("kind", [LocalPythonExecutor, UnsafeInProcessExecutor])


def double(value: int) -> int:
    return 2 * value


def triple(value: int) -> int:
    return 3 * value


def half(value: float) -> float:
    return value / 2


def square(value: int) -> int:
    return value * value


def same_answer(answer: Any) -> Any:
    return answer


async def later(value: int) -> int:
    return value + 1


@kinds
def test_tools_variables_and_state(kind: type[LocalPythonExecutor]) -> None:
    with kind([], additional_functions={"triple": triple}) as executor:
        assert isinstance(executor, PythonExecutor)
        executor.send_tools({"double": double, "later": later})
        executor.send_variables({"xs": [1, 2]})
        assert executor("y = [double(x) for x in xs]\nprint('p')\nlater(triple(5))") == CodeOutput(16, "p\n", False)
        executor.send_variables({"z": math.pi})
        executor.send_tools({"half": half})
        assert executor("half(z) * 2 == z").output is True
        state = executor.state
        assert {name: state[name] for name in ("xs", "y", "z")} == {"xs": [1, 2], "y": [2, 4], "z": math.pi}
        assert state["_print_outputs"] == ""


@kinds
def test_a_final_answer_ends_the_program(kind: type[LocalPythonExecutor]) -> None:
    with kind([]) as executor:
        executor.send_tools({"final_answer": same_answer})
        assert executor("print('a')\nfinal_answer({1, 2})\nprint('b')") == CodeOutput({1, 2}, "a\n", True)
        assert executor("final_answer(answer='x')").is_final_answer


@kinds
@pytest.mark.usefixtures("ample_grace")
def test_errors_and_time(kind: type[LocalPythonExecutor]) -> None:
    with kind([], timeout_seconds=2) as executor:
        with pytest.raises(InterpreterError) as caught:
            executor("rows = {'a': 1}\nrows['b']")
        assert str(caught.value).endswith("KeyError: 'b'\nThe keys there are: 'a'.")
        with pytest.raises(InterpreterError, match=r"TimeoutError: the code ran longer than 2 seconds"):
            executor("while True: pass")
        assert executor("rows").output == {"a": 1}


@kinds
def test_variables_after_a_program_that_had_to_be_killed(kind: type[LocalPythonExecutor]) -> None:
    with kind([], timeout_seconds=2) as executor:
        with pytest.raises(InterpreterError, match="all variables and imports of earlier code are gone"):
            executor("def f():\n    try:\n        f()\n    finally:\n        f()\nf()")
        executor.send_variables({"x": 1})
        assert executor("x").output == 1


def test_a_cleaned_up_executor_begins_anew() -> None:
    executor = LocalPythonExecutor([])
    executor("x = 1")
    executor.cleanup()
    executor.cleanup()
    with executor, pytest.raises(InterpreterError, match="NameError"):
        executor("x")


def test_printed_output_is_limited() -> None:
    with LocalPythonExecutor([], 20) as executor:
        assert len(executor("print('x' * 1000)").logs) < 200


def test_one_executor_in_many_threads() -> None:
    with LocalPythonExecutor([]) as executor:
        executor.send_tools({"double": double})

        def work(number: int) -> Any:
            return executor(f"double({number})").output

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(work, range(40))) == [2 * number for number in range(40)]


def test_a_failing_host_leaves_no_session_behind() -> None:
    def stop() -> None:
        raise KeyboardInterrupt

    with LocalPythonExecutor([]) as executor:
        executor.send_tools({"stop": stop})
        with pytest.raises(KeyboardInterrupt):
            executor("x = 1\nstop()")
        assert executor("1").output == 1


def test_evaluate_python_code() -> None:
    state: dict[str, Any] = {"x": 3}
    assert evaluate_python_code("y = x * 2\nprint('p')\ny", {"print": print}, state=state) == (6, False)
    assert (state["x"], state["y"], state["_print_outputs"]) == (3, 6, "p\n")
    assert evaluate_python_code("final_answer(square(4))", {"final_answer": same_answer}, {"square": square}) == (
        16,
        True,
    )
    with pytest.raises(InterpreterError, match="Import of os"):
        evaluate_python_code("import os", {}, authorized_imports=["math"])
    with pytest.raises(InterpreterError, match="NameError"):
        evaluate_python_code("nope", {}, state=state)


def test_names_of_older_programs() -> None:
    assert LocalPythonInterpreter is LocalPythonExecutor
    assert LocalPythonExecutor([], limits=SandboxLimits(wall=5)).timeout_seconds == 5
    assert LocalPythonExecutor([], timeout_seconds=None).limits.wall is None
    assert "math" in LocalPythonExecutor(["numpy"]).authorized_imports
