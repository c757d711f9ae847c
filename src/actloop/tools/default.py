"""The tools that come with actloop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actloop.tools.base import Tool
from actloop.tools.final_answer import FinalAnswerTool

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["TOOL_MAPPING", "FinalAnswerTool", "PythonInterpreterTool", "UserInputTool"]


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


class UserInputTool(Tool):
    """Asks the person at the terminal."""

    name = "user_input"
    description = "Asks the user a question and returns the answer."
    inputs: dict[str, dict[str, Any]] = {"question": {"type": "string", "description": "The question."}}  # noqa: RUF012
    output_type = "string"

    def forward(self, question: str) -> str:
        """What the user types, up to the end of the line.

        Raises:
            EOFError: Nobody can answer: the input has ended.
        """
        return input(f"{question} => Type your answer here: ")


TOOL_MAPPING: dict[str, type[Tool]] = {cls.name: cls for cls in (PythonInterpreterTool,)}
"""Tools that `add_base_tools=True` adds, by name."""
