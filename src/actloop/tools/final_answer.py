"""The tool with which an agent gives its answer."""

from __future__ import annotations

from typing import Any

from actloop.tools.base import Tool


class FinalAnswerTool(Tool):
    """Ends a run with an answer of any type."""

    name = "final_answer"
    description = "Gives the final answer to the task and ends it."
    inputs: dict[str, dict[str, Any]] = {"answer": {"type": "any", "description": "The final answer."}}  # noqa: RUF012
    output_type = "any"

    def forward(self, answer: Any) -> Any:
        """The answer as it is."""
        return answer
