from __future__ import annotations

import asyncio
import functools
import math
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import pytest
from pydantic import BaseModel

import actloop
from actloop.tools.base import Tool
from actloop.tools.decorator import tool
from actloop.tools.default import UserInputTool
from actloop.tools.validation import bind_arguments

if TYPE_CHECKING:
    from pathlib import Path

ENVIRONMENT = os.environ | {"PYTHONPATH": os.path.dirname(os.path.dirname(actloop.__file__))}
FACTOR = 2
HERE: dict[str, list[int]] = {"primes": [2, 3, 5]}
LOCK = threading.Lock()
API_KEY = "open sesame"


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


class Base(Tool):
    description = "Counts."
    inputs = {"own": {"type": "object", "description": "What to count."}}
    output_type = "integer"

    def forward(self, own: Own) -> int:
        return own.x


class Derived(Base):
    name = "derived"

    def __init__(self, *, limit: int = 1, client: Any = None, api_key: str | None = None) -> None:
        super().__init__()
        self.limit = limit

    def forward(self, own: Own) -> int:
        return min(super().forward(own), self.limit)


class Point(BaseModel):
    x: float
    own: Own


def _twice(value: float) -> float:
    return 2 * value


@tool
async def shift(point: Point, by: float = HERE["primes"][0]) -> Point:
    """Moves a point.

    Args:
        point: The point.
        by: How far.
    """
    return Point(x=point.x + _twice(by), own=point.own)


def test_a_tool_with_types_and_helpers_of_the_users_own_takes_them_along() -> None:
    loaded = Tool.from_dict(shift.to_dict(), trust_remote_code=True)
    assert loaded.inputs == shift.inputs
    assert loaded.output_schema == shift.output_schema
    assert loaded.is_async
    given = bind_arguments(loaded, (), {"point": {"x": 1, "own": {"x": 3}}})
    moved = asyncio.run(loaded(**given))
    assert type(moved).__name__ == "Point"
    assert type(moved) is not Point
    assert moved.x == 5.0
    assert moved.own.x == 3


def test_a_tool_whose_base_is_the_users_own_keeps_its_arguments() -> None:
    saved = Derived(limit=4)
    data = saved.to_dict()
    assert data["arguments"] == {"limit": 4}
    loaded = Tool.from_dict(data, trust_remote_code=True)
    assert (type(loaded).__name__, loaded.name) == ("Derived", "derived")
    assert [loaded.forward(Own(x)) for x in (3, 9)] == [3, 4]


def test_live_objects_and_keys_among_the_arguments_are_named() -> None:
    with pytest.warns(UserWarning, match=r"arguments.client \(a live object\), arguments.api_key \(a secret\)"):
        data = Derived(client=object(), api_key="open sesame").to_dict()
    assert "sesame" not in str(data)


def test_a_key_that_the_code_uses_is_not_written_down() -> None:
    @tool
    def opens(door: str) -> str:
        """Opens."""
        return door + API_KEY

    with pytest.raises(ValueError, match="API_KEY, which looks like a secret"):
        opens.to_dict()


def test_a_key_in_the_code_is_not_written_down() -> None:
    @tool
    def opens(door: str) -> str:
        """Opens."""
        return door + "sk-a1b2c3d4e5f6g7h8i9j0k1l2"

    with pytest.raises(ValueError, match="its code holds what looks like a secret"):
        opens.to_dict()


def test_attributes_that_were_changed_are_kept() -> None:
    @tool
    def walk(far: int) -> int:
        """Walks."""
        return far

    walk.name, walk.description = "march", "Marches."
    walk.inputs = {"far": {"type": "integer", "description": "Miles."}}
    loaded = Tool.from_dict(walk.to_dict(), trust_remote_code=True)
    assert (loaded.name, loaded.description, loaded.inputs) == (walk.name, walk.description, walk.inputs)
    doubler = Doubler()
    doubler.description = "Says it again."
    assert Tool.from_dict(doubler.to_dict(), trust_remote_code=True).description == "Says it again."


def louder(function: Any) -> Any:
    @functools.wraps(function)
    def loud(*args: Any, **kwargs: Any) -> str:
        return function(*args, **kwargs).upper()

    return loud


@tool
@louder
def say(text: str) -> str:
    """Says."""
    return text


def test_other_decorators_of_a_function_are_kept() -> None:
    assert say("a") == "A"
    assert Tool.from_dict(say.to_dict(), trust_remote_code=True)("a") == "A"


def test_a_decorator_that_cannot_be_found_is_named() -> None:
    here = louder

    @tool
    @here
    def whisper(text: str) -> str:
        """Says."""
        return text

    with pytest.raises(ValueError, match="defined elsewhere: here"):
        whisper.to_dict()


SMOLAGENTS_FUNCTION = """from smolagents import Tool
from typing import Any, Optional

class SimpleTool(Tool):
    name = "area"
    description = "Area of a square."
    inputs = {'side': {'type': 'number', 'description': 'A'},
      'unit': {'type': 'string', 'nullable': True, 'description': 'B'}}
    output_type = "string"

    def forward(self, side: float, unit: str = 'm') -> str:
        import math
        return f"{side**2:.2f} {unit}2"
"""


def test_code_written_for_smolagents_is_loaded() -> None:
    loaded = Tool.from_code(SMOLAGENTS_FUNCTION, trust_remote_code=True)
    assert loaded(3) == "9.00 m2"
    assert "smolagents" not in loaded.to_dict()["code"]
    imports = "import smolagents as s\nfrom smolagents.tools import tool as t\n"
    code = imports + "@t\ndef f(x: int) -> int:\n    'F.'\n    return x\n"
    assert Tool.from_code(code, trust_remote_code=True)(4) == 4
    with pytest.raises(ValueError, match="imports from smolagents what actloop lacks: AuthorizedTeapot"):
        Tool.from_code("from smolagents import AuthorizedTeapot", trust_remote_code=True)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("def f(:", "no valid Python"),
        ("(" * 5000, "no valid Python"),
        ("x = 1\0", "no valid Python"),
        ("from actloop import tool\n@tool\ndef f(x: int) -> int:\n    'F.'\n    return x + y\n", "imports: y"),
        ("#" * 2_000_000, "longer than"),
        ("raise RuntimeError('it ran')", "failed while it was loaded: RuntimeError: it ran"),
        ("import no_such_module_there", "needs the module 'no_such_module_there'"),
    ],
)
def test_trusted_code_is_validated(code: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Tool.from_code(code, trust_remote_code=True)


def test_no_saved_code_is_run_for_a_tool_that_comes_with_actloop() -> None:
    data = UserInputTool().to_dict() | {"code": "raise SystemExit('it ran')"}
    assert type(Tool.from_dict(data)) is UserInputTool
    hostile = [
        {"class": "os.system"},
        {"class": "actloop.tools.saving.sys"},
        {"class": "actloop.tools.base.import_module"},
        {"class": "actloop.tools..base.Tool"},
        {"class": "actloop.tools.default.UserInputTool", "arguments": {"x": 1}},
    ]
    for changed in hostile:
        with pytest.raises(ValueError, match="trust_remote_code=True"):
            Tool.from_dict({**data, **changed})


@pytest.mark.parametrize("name", ["../evil", "a/b", "/tmp/evil", "", "a.py", "x\0y"])
def test_a_tool_is_written_nowhere_but_into_its_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="name of a module"):
        area.save(tmp_path / "out", tool_file_name=name)
    assert list(tmp_path.iterdir()) == []


def test_make_gradio_app(tmp_path: Path) -> None:
    area.save(tmp_path, make_gradio_app=False)
    assert [path.name for path in tmp_path.iterdir()] == ["tool.py"]
    area.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["app.py", "requirements.txt", "tool.py"]
    code = "import app; print(app.tool(1.0))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, env=ENVIRONMENT
    )
    assert done.stdout.strip() == "3.14 m2", done.stderr


def test_what_cannot_be_saved_is_named() -> None:
    here = object()

    @tool
    def uses_others(x: int) -> Any:
        """Uses."""
        return LOCK, x, here

    with pytest.raises(ValueError, match="uses what is defined elsewhere: LOCK, here"):
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
