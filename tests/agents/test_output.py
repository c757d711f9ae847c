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
