from __future__ import annotations

import datetime as dt
import decimal
import enum
import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import pydantic
import pytest
from inline_snapshot import snapshot

from actloop.errors import AgentToolCallError
from actloop.guest import Record
from actloop.tools.base import Tool
from actloop.tools.decorator import tool
from actloop.tools.final_answer import FinalAnswerTool
from actloop.tools.validation import bind_arguments, validate_tool_arguments

pd: Any = importlib.import_module("pandas")  # it has no type stubs


@dataclass
class Point:
    x: int
    y: float = 0.0


class Person(pydantic.BaseModel):
    name: str
    age: int = 0

    @pydantic.field_validator("age")
    @classmethod
    def grown(cls, value: int) -> int:
        if value < 0:
            raise ValueError("nobody is that young")
        return value


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Runner(Protocol):
    def go(self) -> None: ...


@dataclass
class Fast:
    speed: int = 3

    def go(self) -> None:
        pass


@tool
def weather(city: str, days: int = 1, unit: Literal["C", "F"] = "C", note: str | None = None) -> str:
    """Returns the weather."""
    return f"{city} {days} {unit} {note}"


@pytest.mark.parametrize(
    ("args", "kwargs", "bound"),
    [
        (("Rome",), {}, {"city": "Rome"}),
        (("Rome", 2), {}, {"city": "Rome", "days": 2}),
        (("Rome",), {"days": "2"}, {"city": "Rome", "days": 2}),
        ((), {"city": "Rome", "unit": "F"}, {"city": "Rome", "unit": "F"}),
        (({"city": "Rome", "days": 3.0},), {}, {"city": "Rome", "days": 3}),
        (("Rome",), {"days": None}, {"city": "Rome"}),
        (("Rome",), {"note": None}, {"city": "Rome", "note": None}),
    ],
)
def test_bound(args: tuple[Any, ...], kwargs: dict[str, Any], bound: dict[str, Any]) -> None:
    assert bind_arguments(weather, args, kwargs) == bound


@pytest.mark.parametrize(
    ("args", "kwargs", "fault"),
    [
        ((), {}, "is missing the argument 'city' (str)"),
        (("Rome", 1, "C", "n", 5), {}, "takes 4 arguments, got 5 positional ones"),
        (("Rome",), {"city": "Oslo"}, "got the argument 'city' twice"),
        (("Rome",), {"day": 3}, "has no argument 'day'; did you mean 'days'?"),
        (("Rome",), {"zzz": 3}, "has no argument 'zzz'"),
        (("Rome", 3.5), {}, "argument 'days' must be int, got float 3.5"),
        (("Rome",), {"unit": "K"}, "argument 'unit' must be Literal['C', 'F'], got str 'K'"),
        (({"town": "Rome"},), {}, "argument 'city' must be str, got dict {'town': 'Rome'}"),
        ((None,), {}, "argument 'city' must be str, got None"),
    ],
)
def test_faults(args: tuple[Any, ...], kwargs: dict[str, Any], fault: str) -> None:
    with pytest.raises(AgentToolCallError) as caught:
        bind_arguments(weather, args, kwargs)
    assert caught.value.message == (
        f"weather {fault}. Signature: weather(city: str, days: int = 1, unit: Literal['C', 'F'] = 'C', "
        "note: str | None = None) -> str"
    )


def converted(hint: Any, value: Any) -> Any:
    """The value as a tool gets it whose only argument has this type hint."""

    def take(value: Any) -> None: ...

    take.__annotations__["value"] = hint
    return bind_arguments(tool(take), (), {"value": value})["value"]


class Opaque:
    pass


OPAQUE = Opaque()


@pytest.mark.parametrize(
    ("hint", "value", "expected"),
    [
        (Point, {"x": "1"}, Point(1)),
        (Point, '{"x": 1, "y": 2}', Point(1, 2.0)),
        (Point, Point(1), Point(1)),
        (Point, Record("Point", {"x": 1, "y": 2.0}), Point(1, 2.0)),
        (Point | None, {"x": 1}, Point(1)),
        (list[Point], [{"x": 1}, Point(2)], [Point(1), Point(2)]),
        (dict[str, Point], {"a": {"x": 1}}, {"a": Point(1)}),
        (Person, {"name": "Ann", "age": "3"}, Person(name="Ann", age=3)),
        (Colour, "red", Colour.RED),
        (Colour, Colour.BLUE, Colour.BLUE),
        (dt.date, "2024-01-31", dt.date(2024, 1, 31)),
        (dt.date, dt.date(2024, 1, 31), dt.date(2024, 1, 31)),
        (dt.datetime, "2024-01-31T12:00:00Z", dt.datetime(2024, 1, 31, 12, tzinfo=dt.UTC)),
        (decimal.Decimal, "1.10", decimal.Decimal("1.10")),
        (Path, "/a/b", Path("/a/b")),
        (set[int], [1, "2"], {1, 2}),
        (tuple[int, str], [1, "a"], (1, "a")),
        (tuple[int, ...], ["1", 2], (1, 2)),
        (bytes, b"ab", b"ab"),
        (int | Point, {"x": 1}, Point(1)),
        (Opaque, OPAQUE, OPAQUE),
        (Callable[[Any], int], len, len),
        (Runner, Fast(), Fast()),
        (Any, OPAQUE, OPAQUE),
        (dict, {1: 2}, {1: 2}),
    ],
)
def test_values_become_what_the_type_hint_names(hint: Any, value: Any, expected: Any) -> None:
    made = converted(hint, value)
    assert type(made) is type(expected)
    assert made == expected


def test_arrays_and_frames_pass_through() -> None:
    array, frame = np.zeros(3), pd.DataFrame({"a": [1]})
    assert converted(np.ndarray, array) is array
    assert converted(pd.DataFrame | None, frame) is frame
    assert converted(Any, frame) is frame


@pytest.mark.parametrize(
    ("hint", "value", "fault"),
    [
        (Point, {"x": 3.5}, "argument value['x'] must be int, got float 3.5"),
        (Point, {"y": 3.5}, "must be {\"x\": int, \"y\"?: float}, got dict {'y': 3.5}: it lacks the key 'x'"),
        (Point, "text", "argument 'value' must be {\"x\": int, \"y\"?: float}, got str 'text'"),
        (list[Point], [{"x": 1}, {"x": None}], "argument value[1]['x'] must be int, got None"),
        (Person, {"name": "Ann", "age": -1}, "Value error, nobody is that young"),
        (Colour, "green", "argument 'value' must be Literal['red', 'blue'], got str 'green'"),
        (dt.date, "soon", "must be str (date), got str 'soon': Input should be a valid date"),
        (pd.DataFrame, [1], "argument 'value' must be DataFrame, got list [1]"),
        (list[int], [1, [2]], "argument value[1] must be int, got list [2]"),
        (int, Opaque, "argument 'value' must be int, got type <class"),
    ],
)
def test_values_that_do_not_fit_the_type_hint(hint: Any, value: Any, fault: str) -> None:
    with pytest.raises(AgentToolCallError) as caught:
        converted(hint, value)
    assert fault in caught.value.message


@pytest.mark.parametrize(
    "value",
    [
        "x" * 10**7,
        "line\n" * 1000,
        b"\x00" * 10**7,
        list(range(10**6)),
        {str(n): n for n in range(10**5)},
        Fraction(1, 3**4000),
        [[["x" * 10**6] * 10] * 10] * 10,
    ],
    ids=["text", "lines", "bytes", "list", "dict", "fraction", "nested"],
)
def test_the_preview_of_a_huge_value_is_short(value: Any) -> None:
    with pytest.raises(AgentToolCallError) as caught:
        converted(int, value)
    assert len(caught.value.message) < 300
    assert "\n" not in caught.value.message


def test_a_value_that_cannot_be_shown_is_no_trouble() -> None:
    class Grim:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(AgentToolCallError, match="got Grim"):
        converted(int, Grim())


def test_a_dict_as_the_only_argument() -> None:
    @tool
    def store(data: dict[str, Any]) -> None:
        """Stores."""

    assert bind_arguments(store, ({"data": {"a": 1}},), {}) == {"data": {"data": {"a": 1}}}
    assert bind_arguments(store, (), {"data": {"a": 1}}) == {"data": {"a": 1}}
    assert bind_arguments(FinalAnswerTool(), ({"answer": 3},), {}) == {"answer": {"answer": 3}}
    assert bind_arguments(FinalAnswerTool(), ({},), {}) == {"answer": {}}

    @tool
    def now() -> str:
        """The time."""
        return ""

    assert bind_arguments(now, (), {}) == {}
    assert bind_arguments(now, ({},), {}) == {}


def test_a_default_that_is_none_takes_none() -> None:
    def old(x: int = None) -> None: ...  # noqa: RUF013  # pyright: ignore[reportArgumentType]

    assert bind_arguments(tool(old), (), {"x": None}) == {"x": None}


def test_inputs_alone_decide_where_forward_takes_anything() -> None:
    class Remote(Tool):
        name = "remote"
        description = ""
        inputs = {
            "from": {"type": "integer", "description": ""},
            "to-day": {"type": "string", "description": "", "nullable": True},
        }
        output_type = "any"
        skip_forward_signature_validation = True

        def forward(self, **kwargs: Any) -> Any:
            return kwargs

    remote = Remote()
    assert bind_arguments(remote, ("1", None), {}) == {"from": 1, "to-day": None}
    assert remote(**bind_arguments(remote, (), {"from_": 1, "to_day": "x"})) == {"from": 1, "to-day": "x"}
    with pytest.raises(AgentToolCallError, match="has no argument 'more'"):
        bind_arguments(remote, (1,), {"more": 1})


def test_nullable_without_a_default_becomes_none() -> None:
    class Loose(Tool):
        name = "loose"
        description = ""
        inputs = {"a": {"type": "string", "description": "", "nullable": True}}
        output_type = "any"

        def forward(self, a: str | None) -> Any:
            return a

    assert bind_arguments(Loose(), (), {}) == {"a": None}


@dataclass
class Agent:
    """As a managed agent looks from outside."""

    name: str = "helper"
    description: str = "Helps."
    output_type: str = "string"
    inputs: dict[str, dict[str, Any]] = field(
        default_factory=lambda: {
            "task": {"type": "string", "description": "What."},
            "additional_args": {"type": "object", "description": "More.", "nullable": True},
        }
    )


def test_a_managed_agent() -> None:
    assert bind_arguments(Agent(), ("do it",), {}) == {"task": "do it"}
    with pytest.raises(AgentToolCallError) as caught:
        bind_arguments(Agent(), (), {"request": "do it"})
    assert caught.value.message == snapshot(
        "helper has no argument 'request'. Signature: helper(task: str, additional_args: dict | None = None) -> str"
    )


class Typed(Tool):
    name = "typed"
    description = ""
    inputs = {
        "text": {"type": "string", "description": ""},
        "number": {"type": "number", "description": "", "nullable": True},
        "either": {"type": ["integer", "boolean"], "description": "", "nullable": True},
        "more": {"type": "any", "description": "", "nullable": True},
    }
    output_type = "any"

    def forward(self, text: str, number: Any = None, either: Any = None, more: Any = None) -> None: ...


@pytest.mark.parametrize(
    "arguments",
    [
        {"text": "a"},
        {"text": "a", "number": 3},
        {"text": "a", "number": 3.5, "either": True},
        {"text": "a", "number": None, "more": object()},
        "a",
    ],
)
def test_validate_tool_arguments_takes(arguments: Any) -> None:
    validate_tool_arguments(Typed(), arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({}, ValueError, "Argument text is required"),
        ({"text": "a", "other": 1}, ValueError, "Argument other is not in the tool's input schema"),
        ({"text": 3}, TypeError, "Argument text has type 'integer' but should be 'string'"),
        ({"text": None}, TypeError, "Argument text has type 'null'"),
        ({"text": "a", "number": "3"}, TypeError, "Argument number has type 'string'"),
        ({"text": "a", "number": True}, TypeError, "Argument number has type 'boolean'"),
        ({"text": "a", "either": 3.5}, TypeError, "Argument either has type 'number'"),
        (3, TypeError, "Argument has type 'integer'"),
    ],
)
def test_validate_tool_arguments_refuses(arguments: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        validate_tool_arguments(Typed(), arguments)
