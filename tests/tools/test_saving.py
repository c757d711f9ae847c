from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest

import actloop
from actloop.tools.base import Tool
from actloop.tools.decorator import tool
from actloop.tools.default import UserInputTool

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(actloop.__file__))}
FACTOR = 2
HERE: list[int] = []


@tool
def area(radius: float, unit: Literal["m", "cm"] = "m") -> str:
    """Area of a circle.

    Args:
        radius: Of the circle.
    """
    return f"{math.pi * radius**FACTOR:.2f} {unit}2"


class Doubler(Tool):
    name = "doubler"
    description = 'Says """it""" twice.'
    inputs = {"text": {"type": "string", "description": "It."}}
    output_type = "string"
    output_schema = {"type": "string"}

    def __init__(self, times: int = FACTOR) -> None:
        super().__init__()
        self.times = times

    def forward(self, text: str) -> str:
        return text * self.times


@pytest.mark.parametrize("saved", [area, Doubler()], ids=["function", "class"])
def test_a_tool_is_saved_and_loaded(saved: Tool) -> None:
    data = saved.to_dict()
    loaded = Tool.from_dict(data, trust_remote_code=True)
    assert loaded.to_code_prompt() == saved.to_code_prompt()
    assert loaded.inputs == saved.inputs
    assert loaded.output_schema == saved.output_schema
    assert data["requirements"] == ["actloop"]
    again = Tool.from_dict(loaded.to_dict(), trust_remote_code=True)
    assert again.to_dict() == data
    assert again("2" if saved.name == "doubler" else 2) == saved("2" if saved.name == "doubler" else 2)


def test_arguments_of_the_constructor() -> None:
    code = Doubler().to_dict()["code"]
    assert Tool.from_code(code, trust_remote_code=True, times=3)("a") == "aaa"


def test_nothing_runs_without_consent() -> None:
    code = "raise SystemExit('it ran')"
    for consent in (False, None, 1, "yes"):
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            Tool.from_code(code, trust_remote_code=consent)  # pyright: ignore[reportArgumentType]
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            Tool.from_dict({"code": code}, trust_remote_code=consent)  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="trust_remote_code=True"):
        Tool.from_code(code)


def test_code_without_a_tool() -> None:
    with pytest.raises(ValueError, match="defines no tool"):
        Tool.from_code("from actloop.tools.base import Tool\nx = 1", trust_remote_code=True)
    with pytest.raises(ValueError, match="has no 'code'"):
        Tool.from_dict({"name": "x"}, trust_remote_code=True)


@dataclass
class Own:
    x: int


def test_what_cannot_be_saved_is_named() -> None:
    secret = object()

    @tool
    def uses_others(x: int) -> Any:
        """Uses."""
        return Own(x), HERE, secret

    with pytest.raises(ValueError, match="uses what is defined elsewhere: HERE, Own, secret"):
        uses_others.to_dict()

    class Needy(Doubler):
        def __init__(self, key: str) -> None:
            super().__init__()
            self.key = key

    with pytest.raises(ValueError, match="arguments of __init__ need defaults: key"):
        Needy("k").to_dict()

    class Shop:
        def price(self, item: str) -> str:
            """Price."""
            return item

    with pytest.raises(ValueError, match="method of an object"):
        tool(Shop().price).to_dict()


def test_a_saved_module_stands_alone(tmp_path: Path) -> None:
    area.save(tmp_path / "out", tool_file_name="circle")
    assert (tmp_path / "out" / "requirements.txt").read_text() == "actloop\n"
    code = "from circle import area; print(area(1.0))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path / "out", capture_output=True, text=True, check=True, env=ENVIRONMENT
    )
    assert done.stdout.strip() == "3.14 m2"


def test_a_tool_that_comes_with_actloop_is_saved() -> None:
    loaded = Tool.from_dict(UserInputTool().to_dict(), trust_remote_code=True)
    assert loaded.name == "user_input"
