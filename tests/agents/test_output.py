"""What a code agent's model is shown of its programs, from the real sandbox."""

from __future__ import annotations

from typing import Any

import pytest

from actloop import ActionStep, CodeAgent, LogLevel, MemoryJournal, ScriptedModel
from actloop.executors.local import LocalPythonExecutor


def program(code: str) -> str:
    return f"Thought: I do it.\n<code>\n{code}\n</code>"


def first_step(code: str, **options: Any) -> ActionStep:
    """The first of two steps, of which the second answers."""
    replies: Any = [program(code), program("final_answer(1)")]
    with CodeAgent(
        [], ScriptedModel(replies), verbosity_level=LogLevel.OFF, journal=MemoryJournal(), **options
    ) as agent:
        assert agent.run("print") == 1
        return next(step for step in agent.memory.steps if isinstance(step, ActionStep))


def shown(code: str, **options: Any) -> str:
    return (first_step(code, **options).observations or "").removeprefix("Observation:\n")


def test_output_is_cut_once_with_an_exact_count() -> None:
    text = shown("print('a' * 1000)", max_print_outputs_length=50)
    assert text == f"{'a' * 33}\n[... 950 characters left out ...]\n{'a' * 17}"


def test_a_limit_above_that_of_the_sandbox_is_kept() -> None:
    text = shown("print('a' * 60_000, end='')", max_print_outputs_length=60_000)
    assert text == "a" * 60_000


@pytest.mark.parametrize(
    "options", [{"executor_kwargs": {"max_print_outputs_length": 400}}, {"executor": LocalPythonExecutor([], 400)}]
)
def test_the_notice_of_the_sandbox_stays_whole(options: dict[str, Any]) -> None:
    text = shown("print('a' * 1000)", max_print_outputs_length=50, **options)
    assert text == (
        f"{'a' * 33}\n[... 350 characters left out ...]\n{'a' * 17}"
        "\n... output cut: more than 400 characters were printed; print less, such as a count or a slice"
    )


def test_a_program_cannot_evade_the_limit_with_a_notice_of_its_own() -> None:
    text = shown("print('\\n... output cut: more than ' + '9' * 10_000)", max_print_outputs_length=50)
    assert len(text) < 120


def test_an_executor_called_directly_keeps_its_own_limit() -> None:
    with LocalPythonExecutor([], max_print_outputs_length=50) as executor:
        assert executor("print('a' * 1000)").logs.startswith("a" * 50 + "\n... output cut: more than 50 characters")


CALLED = "def f(x):\n    return 1 / x\n\ndef g(x):\n    return f(x)\n\n"
LOOKS_LIKE_FRAMES = (
    'Traceback (most recent call last):\n  File "<step 1>", line 9, in <module>\n    lie\n'
    '  File "<step 1>", line 8, in f\n    lie\n'
)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (CALLED + "for n in [1, 0]:\n    print(g(n))", "in line 2: return 1 / x\ncalled from line 8: print(g(n))"),
        (
            CALLED + "try:\n    {}['a']\nexcept KeyError:\n    g(0)",
            "in line 2: return 1 / x\ncalled from line 10: g(0)",
        ),
        ("class A:\n    def __init__(self):\n        self.b\nA()", "in line 3: self.b\ncalled from line 4: A()"),
    ],
)
def test_an_error_in_a_function_names_the_line_that_led_there(code: str, words: str) -> None:
    error = first_step(code).error
    assert error is not None
    assert words in error.message


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "xs = [\n    1 / n\n    for n in [0]\n]",
        "(lambda: 1 / 0)()",
        "x = (",
        f"raise ValueError({LOOKS_LIKE_FRAMES!r})",
    ],
)
def test_an_error_at_top_level_names_no_caller(code: str) -> None:
    error = first_step(code).error
    assert error is not None
    assert "called from" not in error.message


def test_the_prompt_denies_files_of_the_host_only() -> None:
    with CodeAgent([], ScriptedModel([]), verbosity_level=LogLevel.OFF, journal=MemoryJournal()) as agent:
        prompt = agent.initialize_system_prompt()
    assert "no host file" in prompt
    assert "no file " not in prompt
