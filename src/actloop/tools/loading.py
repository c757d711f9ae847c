"""Tools from the Hub by one call, and a web page for a tool by another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from actloop.errors import MissingExtraError
from actloop.tools import saving
from actloop.tools.schema import type_names
from actloop.tools.validation import bind_arguments

if TYPE_CHECKING:
    from actloop.tools.base import Tool
    from actloop.tools.schema import Schema


def load_tool(
    repo_id: str,
    model_repo_id: str | None = None,
    token: str | None = None,
    trust_remote_code: bool = False,
    **kwargs: Any,
) -> Tool:
    """The tool that a Space on the Hub defines. Its code is run in this process: read it first.

    Args:
        repo_id: Name of the Space.
        model_repo_id: Model that the tool is to use, for tools whose constructor takes that.
        token: Token to sign in with; the one of `hf auth login` or `HF_TOKEN` by default.
        trust_remote_code: Say that its code may be run.
        kwargs: `cache_dir`, `revision`, `subfolder` and the like are for the download; the others for the tool's
            constructor.

    Raises:
        ValueError: `trust_remote_code` is not set, or there is no code of a tool.
        HubError: The Hub refuses or cannot be reached.
    """
    if model_repo_id is not None:
        kwargs["model_repo_id"] = model_repo_id
    return saving.from_hub(repo_id, token, trust_remote_code, **kwargs)


def gradio_demo(tool: Tool) -> Any:
    """A web page on which a tool can be tried: a `gradio.Interface`, not yet started.

    Raises:
        MissingExtraError: gradio is not installed.
    """
    try:
        import gradio
    except ImportError:
        raise MissingExtraError("gradio", "gradio", "A web page for a tool") from None

    def arguments(values: tuple[Any, ...]) -> dict[str, Any]:
        filled = {
            name: value
            for name, value in zip(tool.inputs, values, strict=True)
            if value is not None and not (isinstance(value, str) and not value)
        }
        told = {name: "" for name, schema in tool.inputs.items() if not schema.get("nullable") and name not in filled}
        texts = {name: value for name, value in told.items() if "string" in type_names(tool.inputs[name])}
        return bind_arguments(tool, (), {**filled, **texts})

    def call(*values: Any) -> Any:
        return _shown(tool(**arguments(values)), tool.output_type)

    async def acall(*values: Any) -> Any:
        return _shown(await tool(**arguments(values)), tool.output_type)

    return cast("Any", gradio).Interface(
        fn=acall if tool.is_async else call,
        inputs=[_component(gradio, schema, name) for name, schema in tool.inputs.items()],
        outputs=_component(gradio, {"type": tool.output_type}, "Output"),
        title=tool.name,
        description=tool.description,
        api_name=tool.code_name,
        flagging_mode="never",
        analytics_enabled=False,
    )


def launch_gradio_demo(tool: Tool) -> None:
    """Start a web page on which a tool can be tried; returns when the page is closed.

    It listens on this machine alone, unless `GRADIO_SERVER_NAME` says otherwise, and is not shared.

    Args:
        tool: The tool.

    Raises:
        MissingExtraError: gradio is not installed.
    """
    gradio_demo(tool).launch(share=False)


def _component(gradio: Any, schema: Schema, label: str) -> Any:
    """What a value of a type is entered or shown in."""
    names = [name for name in type_names(schema) if name != "null"]
    options: Any = schema.get("enum")
    if isinstance(options, list):
        return gradio.Dropdown(label=label, choices=options)
    kind = names[0] if len(names) == 1 else "any"
    if kind == "boolean":
        return gradio.Checkbox(label=label)
    if kind == "integer":
        return gradio.Number(label=label, precision=0)
    if kind == "number":
        return gradio.Number(label=label)
    if kind == "image":
        return gradio.Image(label=label, type="pil")
    if kind == "audio":
        return gradio.Audio(label=label, type="filepath")
    if kind in ("object", "array"):
        return gradio.JSON(label=label)
    return gradio.Textbox(label=label)


def _shown(value: Any, output_type: str) -> Any:
    """A tool's result as its component takes it."""
    if output_type == "audio":
        from actloop.tools.types import AgentAudio

        return AgentAudio(value).to_string()
    if output_type in ("string", "any", "null"):
        return "" if value is None else str(value)
    return value
