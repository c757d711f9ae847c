"""Gradio apps and objects of the package `gradio_tools`, as tools."""

from __future__ import annotations

from typing import Any

from actloop.tools.base import Tool
from actloop.tools.foreign.schemas import description_of, tool_name
from actloop.tools.foreign.space import SpaceTool
from actloop.tools.signature import describe_function
from actloop.tools.streaming import is_async_function


class GradioObjectTool(Tool):
    """An object with `name`, `description` and `run`, such as those of the package `gradio_tools`.

    Args:
        gradio_tool: The object. The type hints of `run` say what it takes; what has none is text.

    Raises:
        TypeError: It lacks one of the three.
    """

    name = "gradio_tool"
    description = ""
    inputs: dict[str, dict[str, Any]] = {}  # noqa: RUF012  (each tool has its own)
    output_type = "string"

    def __init__(self, gradio_tool: Any) -> None:
        lacking = [name for name in ("name", "description", "run") if not hasattr(gradio_tool, name)]
        if lacking or not callable(gradio_tool.run):
            raise TypeError(
                f"from_gradio takes an object with name, description and run; {type(gradio_tool).__name__} "
                f"has no {', '.join(lacking) or 'run that can be called'}"
            )
        super().__init__()
        self.gradio_tool = gradio_tool
        self.name = " ".join(str(gradio_tool.name).split())[:200]
        self.description = description_of(gradio_tool.description)
        about = describe_function(gradio_tool.run)
        self.inputs = {
            name: {**schema, "type": "string"} if schema.get("type") == "any" else schema
            for name, schema in about.inputs.items()
        }
        self.output_type = "string" if about.output_type == "any" else about.output_type
        self.forward = gradio_tool.run
        self.is_initialized = True

    @property
    def is_async(self) -> bool:
        """Whether calling it gives something to be awaited."""
        return is_async_function(self.gradio_tool.run)

    def to_dict(self) -> dict[str, Any]:
        """Nothing: what it was made of is a live object.

        Raises:
            ValueError: Always.
        """
        raise ValueError(f"tool '{self.name}' cannot be saved: it was made of a live object by from_gradio")


class GradioTool(SpaceTool):
    """A Gradio app or a Space of the Hugging Face Hub as a tool, with a name of its own if none is given.

    Args:
        space_id: `owner/name` of a Space, or the address of a Gradio app.
        name: The tool's name; made of `space_id` by default.
        description: What it does; by default what the app says of itself.
        api_name: Which of its endpoints; the first by default.
        token: As in `SpaceTool`.
        options: Further arguments of `SpaceTool`.
    """

    def __init__(
        self,
        space_id: str,
        name: str | None = None,
        description: str = "",
        api_name: str | None = None,
        token: str | None = None,
        **options: Any,
    ) -> None:
        super().__init__(space_id, name or _name_of(space_id), description, api_name, token, quiet=True, **options)


def _name_of(space_id: str) -> str:
    """`FLUX.1-schnell` of `black-forest-labs/FLUX.1-schnell` is `flux_1_schnell`; an app elsewhere goes by its host."""
    text = space_id.split("://", 1)[-1].rstrip("/")
    last = text.split("/")[-1] if "://" not in space_id else text
    name = tool_name(last.lower()).strip("_")
    return f"gradio_{name}" if not name or name[0].isdigit() else name
