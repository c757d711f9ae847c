"""The tools that come with actloop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.errors import AgentError
from actloop.tools.base import Tool
from actloop.tools.final_answer import FinalAnswerTool
from actloop.tools.web.pages import VisitWebpageTool
from actloop.tools.web.search import ApiWebSearchTool, DuckDuckGoSearchTool, GoogleSearchTool, WebSearchTool
from actloop.tools.web.wikipedia import WikipediaSearchTool

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actloop.tools.speech import SpeechToTextTool

__all__ = [
    "TOOL_MAPPING",
    "ApiWebSearchTool",
    "DuckDuckGoSearchTool",
    "FinalAnswerTool",
    "GoogleSearchTool",
    "NobodyAnswersError",
    "PythonInterpreterTool",
    "SpeechToTextTool",
    "UserInputTool",
    "VisitWebpageTool",
    "WebSearchTool",
    "WikipediaSearchTool",
]


def __getattr__(name: str) -> Any:
    """The tool for speech is imported only when it is named."""
    if name == "SpeechToTextTool":
        from actloop.tools.speech import SpeechToTextTool

        return SpeechToTextTool
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class PythonInterpreterTool(Tool):
    """Runs Python in a sandbox of its own; each call starts with no variables.

    Args:
        authorized_imports: Modules that may be imported besides the usual ones.
        timeout_seconds: Seconds that one program may run; None for no limit.
    """

    name = "python_interpreter"
    description = "Runs Python code and returns what it prints and the value of its last expression."
    inputs: dict[str, dict[str, Any]] = {"code": {"type": "string", "description": "The program."}}  # noqa: RUF012
    output_type = "string"

    def __init__(
        self,
        *args: Any,
        authorized_imports: Sequence[str] | None = None,
        timeout_seconds: float | None = 30.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.authorized_imports = sorted(set(authorized_imports or ()))
        self.timeout_seconds = timeout_seconds
        text = "The program; it defines all the variables that it uses."
        if self.authorized_imports:
            text += f" Besides the standard library it may import: {', '.join(self.authorized_imports)}."
        self.inputs = {"code": {"type": "string", "description": text}}

    def forward(self, code: str) -> str:
        """What the program printed, and the value of its last expression.

        Raises:
            InterpreterError: The program failed or was refused.
        """
        from actloop.executors.local import LocalPythonExecutor

        executor = LocalPythonExecutor(self.authorized_imports, timeout_seconds=self.timeout_seconds)
        try:
            executor.send_tools({})
            result = executor(code)
        finally:
            executor.cleanup()
        return f"Stdout:\n{result.logs}\nOutput: {result.output}"


class NobodyAnswersError(AgentError, EOFError):
    """A question was asked of a user, and there is none."""


class UserInputTool(Tool):
    """Asks the person at the terminal."""

    name = "user_input"
    description = "Asks the user a question and returns the answer."
    inputs: dict[str, dict[str, Any]] = {"question": {"type": "string", "description": "The question."}}  # noqa: RUF012
    output_type = "string"

    def forward(self, question: str) -> str:
        """What the user types, up to the end of the line.

        Raises:
            NobodyAnswersError: Nobody can answer: the input has ended, or there is none.
        """
        from actloop.ui.safe import safe_text

        try:
            return input(f"{safe_text(question)} => Type your answer here: ")
        except (EOFError, RuntimeError, OSError, ValueError) as error:  # closed, lost, or none to begin with
            raise NobodyAnswersError(
                "nobody can answer: this program runs without a user at a terminal; go on without asking"
            ) from error


TOOL_MAPPING: dict[str, type[Tool]] = {
    cls.name: cls for cls in (PythonInterpreterTool, DuckDuckGoSearchTool, VisitWebpageTool)
}
"""Tools that `add_base_tools=True` adds, by name."""
