from __future__ import annotations

import inspect
import io
import subprocess
import sys

import pytest

from actloop.errors import InterpreterError
from actloop.tools import default
from actloop.tools.base import Tool
from actloop.tools.default import (
    TOOL_MAPPING,
    PythonInterpreterTool,
    UserInputTool,
    VisitWebpageTool,
    WebSearchTool,
    WikipediaSearchTool,
)
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
    with pytest.raises(EOFError, match="nobody can answer"):
        UserInputTool()("And now?")


def test_a_question_without_a_user_is_said() -> None:
    program = "import sys\n{}\nfrom actloop.tools.default import UserInputTool\nUserInputTool()('Who?')"
    for closing in ("", "sys.stdin.close()", "sys.stdin = None"):
        done = subprocess.run(
            [sys.executable, "-c", program.format(closing)], stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        assert done.returncode == 1
        assert "NobodyAnswersError: nobody can answer" in done.stderr


def test_a_question_sends_nothing_to_the_terminal_but_text(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("yes\n"))
    UserInputTool()("Clear\x1b[2J\x1b]0;title\x07?")
    assert capsys.readouterr().out.startswith("Clear\\x1b[2J\\x1b]0;title\\x07?")


DEFAULT_TOOLS: dict[str, tuple[str, dict[str, str], str, str]] = {
    "PythonInterpreterTool": ("python_interpreter", {"code": "string"}, "string", "authorized_imports"),
    "FinalAnswerTool": ("final_answer", {"answer": "any"}, "any", ""),
    "UserInputTool": ("user_input", {"question": "string"}, "string", ""),
    "DuckDuckGoSearchTool": ("web_search", {"query": "string"}, "string", "max_results, rate_limit, kwargs"),
    "WebSearchTool": ("web_search", {"query": "string"}, "string", "max_results, engine"),
    "GoogleSearchTool": ("web_search", {"query": "string", "filter_year": "integer"}, "string", "provider"),
    "ApiWebSearchTool": (
        "web_search", {"query": "string"}, "string", "endpoint, api_key, api_key_name, headers, params, rate_limit",
    ),
    "VisitWebpageTool": ("visit_webpage", {"url": "string"}, "string", "max_output_length"),
    "WikipediaSearchTool": (
        "wikipedia_search", {"query": "string"}, "string", "user_agent, language, content_type, extract_format",
    ),
    "SpeechToTextTool": ("transcriber", {"audio": "audio"}, "string", "model, pre_processor"),
}  # fmt: skip


@pytest.mark.parametrize("cls", DEFAULT_TOOLS)
def test_default_tools_are_what_programs_for_the_reference_expect(cls: str) -> None:
    name, inputs, output_type, arguments = DEFAULT_TOOLS[cls]
    made = getattr(default, cls)
    assert (made.name, made.output_type) == (name, output_type)
    assert {key: value["type"] for key, value in made.inputs.items()} == inputs
    given = [each for each in inspect.signature(made.__init__).parameters if each not in ("self", "args")]
    wanted = [each for each in arguments.split(", ") if each]
    assert given[: len(wanted)] == wanted


def test_default_tools_are_saved_and_loaded() -> None:
    for made in (VisitWebpageTool(max_output_length=7), WebSearchTool(3, "bing"), WikipediaSearchTool(language="de")):
        again = Tool.from_dict(made.to_dict(), trust_remote_code=True)
        assert type(again) is type(made)
        assert again.to_dict() == made.to_dict()


def test_naming_the_tools_loads_nothing_heavy() -> None:
    program = (
        "import sys; from actloop.tools.default import *; VisitWebpageTool(); WebSearchTool(); SpeechToTextTool();"
        "heavy = {'httpx2', 'httpcore2', 'bs4', 'lxml', 'ddgs', 'torch', 'transformers', 'numpy', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_mapping() -> None:
    assert set(TOOL_MAPPING) == {"python_interpreter", "web_search", "visit_webpage"}
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
