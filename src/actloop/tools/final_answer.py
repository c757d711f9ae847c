"""The tool with which an agent gives its answer."""

from __future__ import annotations

import json
from typing import Any

from actloop.tools.base import Tool
from actloop.tools.schema import TypeHintParsingException, type_adapter, type_schema


class FinalAnswerTool(Tool):
    """Ends a run with an answer of any type."""

    name = "final_answer"
    description = "Gives the final answer to the task and ends it."
    inputs: dict[str, dict[str, Any]] = {"answer": {"type": "any", "description": "The final answer."}}  # noqa: RUF012
    output_type = "any"

    def forward(self, answer: Any) -> Any:
        """The answer as it is."""
        return answer


def typed_final_answer(hint: Any) -> FinalAnswerTool:
    """The tool that ends a run with an answer of one type, validated like any other argument of a tool.

    Args:
        hint: The type: a class such as `int`, a pydantic model, a dataclass, `list[dict[str, float]]`, a `Literal`...

    Raises:
        TypeError: It is not a type that can be checked.
    """
    try:
        schema = type_schema(hint)
    except TypeHintParsingException as error:
        raise TypeError(f"output_type must be a type that an answer can be checked against: {error}") from None

    adapter = type_adapter(hint)

    def forward(self: FinalAnswerTool, answer: Any) -> Any:  # noqa: ARG001
        return answer if adapter is None else adapter.validate_python(answer)  # 7 becomes 7.0 where a float is wanted

    forward.__annotations__ = {"answer": hint, "return": hint}
    inputs = {"answer": {**schema, "description": schema.get("description") or "The final answer."}}
    made: Any = type("TypedFinalAnswerTool", (FinalAnswerTool,), {"inputs": inputs, "forward": forward})
    return made()


def answer_form(tool: Any) -> str:
    """The form that an answer must have, for the model: a Python type, or the keys of a dict."""
    from actloop.tools.render import parameter_type, shape
    from actloop.tools.signature import tool_parameters

    parameter = tool_parameters(tool)[0]
    return shape(parameter.schema) or parameter_type(parameter)


def answer_in_text(tool: Any, text: str) -> Any:
    """The answer that a text in prose gives, as its type demands: the text itself, or the JSON in it.

    Raises:
        AgentToolCallError: It gives none; the message says what was expected.
    """
    from actloop.tools.validation import bind_arguments

    text = text.strip()
    fenced = text.partition("```")[2].partition("```")[0].partition("\n")[2].strip()
    try:
        return bind_arguments(tool, (json.loads(fenced or text),), {})["answer"]
    except ValueError:
        return bind_arguments(tool, (text,), {})["answer"]
