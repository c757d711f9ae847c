"""`@tool`: makes a tool of a function."""

from __future__ import annotations

import inspect
from functools import update_wrapper, wraps
from typing import TYPE_CHECKING, Any

from actloop.tools.base import Tool
from actloop.tools.signature import describe_function, signature_of

if TYPE_CHECKING:
    from collections.abc import Callable


class SimpleTool(Tool):
    """A tool made of a function by `@tool`.

    Args:
        function: What it calls; `async` functions too.
    """

    name = "tool"
    description = ""
    inputs: dict[str, dict[str, Any]] = {}  # noqa: RUF012  (each tool has its own)
    output_type = "any"

    def __init__(self, function: Callable[..., Any]) -> None:
        about = describe_function(function)
        self.name = about.name
        self.description = about.description
        self.inputs = about.inputs
        self.output_type = about.output_type
        self.output_schema = about.output_schema
        self.output_description = about.output_description
        self.forward = _by_name(function)
        self.is_initialized = True
        update_wrapper(self, function, updated=())

    def __repr__(self) -> str:
        """Name of the tool."""
        return f"<tool {self.name}>"


def tool(tool_function: Callable[..., Any]) -> Tool:
    """Make a tool of a function: its name, type hints and docstring become the tool's.

    Type hints may be any that JSON or pydantic can express. The docstring may be in Google, NumPy or Sphinx style.

    Args:
        tool_function: A function, `async` or not, or a bound method.

    Raises:
        TypeHintParsingException: A type hint is not a type, or an argument cannot be given by name.
        TypeError: It is not a function.
    """
    if isinstance(tool_function, Tool):
        return tool_function
    if not callable(tool_function) or inspect.isclass(tool_function):
        raise TypeError(f"@tool takes a function; got {tool_function!r}")
    return SimpleTool(tool_function)


def _by_name(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, so that arguments it takes by position only can be given by name, as agents give them."""
    signature = signature_of(function)
    first = [name for name, parameter in signature.parameters.items() if parameter.positional_only]
    if not first:
        return function

    @wraps(function)
    def named(*args: Any, **kwargs: Any) -> Any:
        rest = [kwargs.pop(name) for name in first[len(args) :] if name in kwargs]
        return function(*args, *rest, **kwargs)

    return named
