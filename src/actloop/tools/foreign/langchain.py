"""Tools of LangChain."""

from __future__ import annotations

import inspect
import typing
from typing import Any, cast

from actloop.tools.base import Tool
from actloop.tools.foreign.schemas import description_of, takes_null, tool_inputs
from actloop.tools.signature import describe_output, signature_of
from actloop.tools.streaming import is_async_function


class LangChainTool(Tool):
    """A tool of LangChain's.

    Its arguments are what its `args_schema` says, those that LangChain injects left out. It is async where LangChain
    has no synchronous form of it.

    Args:
        langchain_tool: Any `langchain_core.tools.BaseTool`.

    Raises:
        TypeError: It is no tool of LangChain's.
    """

    name = "langchain_tool"
    description = ""
    inputs: dict[str, dict[str, Any]] = {}  # noqa: RUF012  (each tool has its own)
    output_type = "any"
    skip_forward_signature_validation = True

    def __init__(self, langchain_tool: Any) -> None:
        if not all(hasattr(langchain_tool, name) for name in ("name", "description", "args", "run", "arun")):
            raise TypeError(f"from_langchain takes a tool of LangChain's; got {type(langchain_tool).__name__}")
        super().__init__()
        self.langchain_tool = langchain_tool
        self.name = " ".join(str(langchain_tool.name).split())[:200].lower()
        self.description = description_of(langchain_tool.description)
        self.inputs = tool_inputs(_json_schema(langchain_tool))
        self._takes_null = {name for name, schema in self.inputs.items() if takes_null(schema)}
        self._is_async = _has_only_async_form(langchain_tool)
        self.output_type = _output_type(langchain_tool)
        self.is_initialized = True

    @property
    def is_async(self) -> bool:
        """Whether calling it gives something to be awaited."""
        return self._is_async

    def to_dict(self) -> dict[str, Any]:
        """Nothing: a tool of LangChain's is a live object.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"tool '{self.name}' cannot be saved: it was made of a live object by from_langchain")

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run it, in LangChain's own way: its validation, callbacks and error handling included."""
        given = dict(zip(self.inputs, args, strict=False)) | kwargs
        given = {name: value for name, value in given.items() if value is not None or name in self._takes_null}
        given = {name: _plain(value) for name, value in given.items()}
        return self.langchain_tool.arun(given) if self._is_async else self.langchain_tool.run(given)


def _plain(value: Any) -> Any:
    """LangChain's validation takes values, not our wrappers of them."""
    from actloop.tools.types import AgentText

    return str.__str__(value) if isinstance(value, AgentText) else value


def _json_schema(tool: Any) -> Any:
    """The arguments that a model gives, as JSON Schema with its definitions."""
    schema = getattr(tool, "tool_call_schema", None)
    if isinstance(schema, dict):
        return cast("dict[str, Any]", schema)
    for name in ("model_json_schema", "schema"):
        make = getattr(schema, name, None)
        if callable(make):
            return make()
    return {"type": "object", "properties": tool.args, "required": list(tool.args)}


def _function(tool: Any) -> Any:
    """The function that a tool was made of, or its method."""
    return getattr(tool, "func", None) or getattr(tool, "coroutine", None) or getattr(tool, "_run", None)


def _has_only_async_form(tool: Any) -> bool:
    if hasattr(tool, "func") and hasattr(tool, "coroutine"):
        return tool.func is None and is_async_function(tool.coroutine)
    return False


def _output_type(tool: Any) -> str:
    """What its function's type hint says. The artifact that some tools return beside their content is not passed on."""
    function = _function(tool)
    if function is None or getattr(tool, "response_format", "content") != "content":
        return "any"
    signature = signature_of(function)
    if signature.returns is inspect.Parameter.empty or signature.returns in (None, type(None), typing.Any):
        return "any"
    return describe_output(signature)[0]
