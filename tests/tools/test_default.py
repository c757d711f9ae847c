from __future__ import annotations

import io

import pytest

from actloop.errors import InterpreterError
from actloop.tools.default import TOOL_MAPPING, PythonInterpreterTool, UserInputTool
from actloop.tools.final_answer import FinalAnswerTool


def test_the_interpreter_runs_a_program() -> None:
    interpreter = PythonInterpreterTool()
    result = interpreter("print('hi')\nx = 6\nx * 7")
    assert result.startswith("Stdout:\nhi")
    assert result.endswith("Output: 42")


def test_each_program_starts_afresh() -> None:
    interpreter = PythonInterpreterTool(authorized_imports=["numpy"])
    assert "numpy" in interpreter.inputs["code"]["description"]
    assert "Output: 3" in interpreter("y = 3\ny")
    with pytest.raises(InterpreterError, match="y"):
        interpreter("y")


def test_the_user_is_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("blue\n"))
    assert UserInputTool()("Which colour?") == "blue"
    assert capsys.readouterr().out.startswith("Which colour?")
    with pytest.raises(EOFError):
        UserInputTool()("And now?")


def test_mapping() -> None:
    assert all(cls.name == name for name, cls in TOOL_MAPPING.items())
    for cls in TOOL_MAPPING.values():
        cls().to_code_prompt()


def test_the_final_answer_is_what_it_was_given() -> None:
    answer = object()
    assert FinalAnswerTool()(answer) is answer
    assert FinalAnswerTool().to_code_prompt() == (
        'def final_answer(answer: Any) -> Any:\n    """Gives the final answer to the task and ends it.\n\n'
        '    Args:\n        answer: The final answer.\n    """'
    )
