"""Programs: what they keep, print and give back, and how they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from actloop.errors import InterpreterError
from actloop.executors.session import SandboxLimits
from actloop.guest import Opaque

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.executors.driving import Driver


def test_variables_and_functions_live_on(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    assert driver.value("x = [1]\ndef f(more):\n    x.append(more)\n    return x") is None
    assert driver.value("f(2)\nx") == [1, 2]
    assert driver.value("x = 5") is None
    assert driver.value("x + 1") == 6


@pytest.mark.needs("modules")
def test_imports_live_on(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("import math, statistics\nfrom collections import Counter")
    assert driver.value("[math.floor(2.5), statistics.mean([1, 3]), Counter('aab')['a']]") == [2, 2, 2]


@pytest.mark.needs("classes")
def test_classes_live_on(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("class A:\n    def __init__(self, n): self.n = n\nclass B(A):\n    def twice(self): return 2 * self.n")
    assert driver.value("b = B(4)\nb.twice()") == 8
    assert driver.value("isinstance(b, A) and b.n") == 4


def test_sessions_know_nothing_of_each_other(open_driver: Callable[..., Driver]) -> None:
    one, other = open_driver(), open_driver()
    one.value("x = 1")
    other.value("x = 2")
    assert (one.value("x"), other.value("x")) == (1, 2)
    ended = open_driver().run("x")
    assert ended.failure is not None
    assert ended.failure.kind == "NameError"


def test_what_is_printed_comes_out_in_order(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    ended = driver.run("print('a', 1, sep='-')\nprint('b', end='')\nprint()\n'value'")
    assert (ended.logs, ended.output) == ("a-1\nb\n", "value")
    assert "".join(driver.printed) == "a-1\nb\n"
    assert driver.run("print('next')").logs == "next\n"


def test_the_value_is_that_of_the_last_expression(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    assert driver.value("1; 2") == 2
    assert driver.value("y = 3") is None
    assert driver.value("if True:\n    4") is None
    assert driver.value("") is None
    assert driver.value("# nothing but a remark") is None
    assert driver.value("None") is None


def test_a_failure_shows_the_programs_own_lines(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    ended = driver.run("def half(n):\n    return n / 0\nkept = 1\nprint('before')\nhalf(3)\nkept = 2")
    failure = ended.failure
    assert failure is not None
    assert (failure.kind, failure.lost, ended.logs) == ("ZeroDivisionError", False, "before\n")
    assert "line 2" in failure.traceback
    assert "line 5" in failure.traceback
    assert "return n / 0" in failure.traceback
    assert driver.value("kept") == 1


@pytest.mark.parametrize("code", ["x = (", "def f(:\n  pass", "  indented = 1\nx = 2"])
def test_what_is_no_program_fails_before_it_runs(code: str, open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    failure = driver.run("print('ran')\n" + code).failure
    assert failure is not None
    assert failure.kind in ("SyntaxError", "IndentationError")
    assert driver.printed == []
    assert driver.value("1") == 1


def test_a_misspelt_name_is_no_other_name(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    driver.value("total = 1")
    for code in ("totl", "totl += 1"):
        failure = driver.run(code).failure
        assert failure is not None
        assert failure.kind == "NameError"


@pytest.mark.needs("modules")
def test_only_authorised_modules_can_be_imported(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    failure = driver.run("import subprocess").failure
    assert failure is not None
    assert failure.kind in ("ImportError", "ModuleNotFoundError")
    assert driver.value("import json\njson.dumps([1])") == "[1]"


def test_text_that_nobody_expects_arrives_unchanged(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver()
    text = "ünïcödé \U0001f600 \x00 \\ \" ' </code> ``` \r\n\t"
    driver.define(text=text)
    assert driver.value("text") == text
    assert driver.value(f"text == {text!r}") is True


def test_the_output_is_cut_at_its_limit(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"limits": SandboxLimits(output=1000)})
    ended = driver.run("for _ in range(1000):\n    print('x' * 1000)\n7")
    assert ended.output == 7
    assert 1000 <= len(ended.logs) < 1300
    assert "cut" in ended.logs
    assert driver.run("print('short')").logs == "short\n"


def test_a_value_too_large_to_send_does_not_end_the_session(open_driver: Callable[..., Driver]) -> None:
    driver = open_driver({"limits": SandboxLimits(value=100_000)})
    ended = driver.run("big = 'x' * 1_000_000\nbig")
    assert ended.failure is not None or isinstance(ended.output, Opaque)
    assert driver.value("len(big)") == 1_000_000


def double(value: int) -> int:
    return 2 * value


def test_it_can_be_called_without_an_agent(make: Callable[..., Any]) -> None:
    executor = make()
    executor.send_variables({"n": 20})
    executor.send_tools({"double": double, "final_answer": abs})
    output = executor("print('hello')\ndouble(n + 1)")
    assert (output.output, output.logs, output.is_final_answer) == (42, "hello\n", False)
    output = executor("m = double(n)\nfinal_answer(m)\nm = 0")
    assert (output.output, output.is_final_answer) == (40, True)
    assert executor("m").output == 40
    with pytest.raises(InterpreterError, match="ZeroDivisionError"):
        executor("1 / 0")
    assert executor.state["m"] == 40
    executor.cleanup()
    with pytest.raises(InterpreterError, match="NameError"):
        executor("m")
    assert executor("n").output == 20


def test_limits_that_cannot_be_kept_are_refused(make: Callable[..., Any]) -> None:
    executor = make()
    asked: dict[str, Any] = {"cpu": 7.0, "memory": 200 << 20, "disk": 5 << 20, "processes": 9, "files": 33}
    for name, value in asked.items():
        limits = SandboxLimits(**{name: value})
        if name in executor.enforced:
            assert getattr(make(limits=limits).limits, name) == value
        else:
            assert getattr(executor.limits, name) is None
            with pytest.raises(ValueError, match=name):
                make(limits=limits)


def test_what_is_no_program_is_refused_and_the_session_lives_on(make: Callable[..., Any]) -> None:
    executor = make()
    executor("x = 1")
    for what in (5, None, b"1", ["1"]):
        with pytest.raises(TypeError, match=f"a program is a text .*got {type(what).__name__}"):
            executor(what)
    assert executor("x").output == 1
