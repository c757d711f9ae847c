from __future__ import annotations

import asyncio
from typing import Any

import pytest

from actloop.tools.base import Tool
from actloop.tools.validation import bind_arguments


class Captioner:
    name = "Image Captioner"
    description = "Says what an image shows."

    def run(self, path: str, words: int = 3, strict: Any = None) -> str:
        """Run it.

        Args:
            path: Where the image lies.
        """
        return f"{path} in {words}"


def test_an_object_with_a_name_a_description_and_run_is_a_tool() -> None:
    tool = Tool.from_gradio(Captioner())
    assert tool.name == "Image Captioner"
    assert tool.code_name == "Image_Captioner"
    assert tool.description == "Says what an image shows."
    assert tool.output_type == "string"
    assert tool.inputs == {
        "path": {"type": "string", "description": "Where the image lies."},
        "words": {"type": "integer", "description": "", "nullable": True},
        "strict": {"type": "string", "description": "", "nullable": True},
    }
    assert tool("a.png") == tool(path="a.png") == "a.png in 3"
    assert tool(**bind_arguments(tool, ("a.png",), {"words": "5"})) == "a.png in 5"


def test_run_may_be_async() -> None:
    class Slow:
        name, description = "slow", "Slow."

        async def run(self, text: str) -> str:
            return text.upper()

    tool = Tool.from_gradio(Slow())
    assert tool.is_async
    assert asyncio.run(tool("a")) == "A"


@pytest.mark.parametrize("given", [None, "text", object(), type("Half", (), {"name": "x", "description": "y"})()])
def test_anything_else_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="an object with name, description and run"):
        Tool.from_gradio(given)


def test_it_cannot_be_saved() -> None:
    with pytest.raises(ValueError):
        Tool.from_gradio(Captioner()).to_dict()
