"""Results held against `output_schema`."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, TypedDict

import pytest

from actloop.agents.code import CodeAgent
from actloop.errors import AgentToolExecutionError
from actloop.models.scripted import ScriptedModel
from actloop.tools.base import Tool
from actloop.tools.decorator import tool
from actloop.tools.results import check_result

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/N"}}, "required": ["next"]}


class Given(Tool):
    name = "given"
    description = "Gives what it was given."
    inputs = {"value": {"type": "any", "description": "Anything."}}
    output_type = "any"

    def __init__(self, schema: dict[str, Any]) -> None:
        self.output_schema = schema
        super().__init__()

    def forward(self, value: Any) -> Any:
        return value


WEATHER = {
    "type": "object",
    "properties": {
        "degrees": {"type": "number", "minimum": -90},
        "days": {"type": "array", "items": {"type": "string", "maxLength": 3}, "maxItems": 2},
        "sky": {"enum": ["clear", "grey"]},
        "note": {"type": ["string", "null"]},
    },
    "required": ["degrees"],
    "additionalProperties": False,
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        (WEATHER, {"degrees": 3, "days": ["Mon"], "sky": "grey", "note": None}),
        (WEATHER, {"degrees": 3.5, "days": ("Mon", "Tue")}),
        ({"type": "integer"}, 3.0),
        ({"type": "string", "format": "date"}, dt.date(2024, 1, 2)),
        ({"type": "object", "properties": {"x": {"type": "integer"}}}, object()),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 3),
        ({"type": "object", "nullable": True}, None),
        ({"$ref": "#/$defs/N", "$defs": {"N": {"$ref": "#/$defs/N"}}}, 3),
        ({"$ref": "#/nowhere"}, 3),
        ({"type": "image"}, "a.png"),
        ({}, object()),
        ({"allOf": [{"type": "integer"}, {"minimum": 3, "type": "integer"}]}, 3),
        ({"type": "array", "prefixItems": [{"type": "integer"}], "items": False}, [1]),
    ],
)
def test_what_fits_is_passed_on(schema: dict[str, Any], value: Any) -> None:
    check_result(Given(schema), value)


@pytest.mark.parametrize(
    ("schema", "value", "fault"),
    [
        (WEATHER, {"days": []}, "result lacks the key 'degrees'; it has 'days'"),
        (WEATHER, {"degrees": "3"}, "result['degrees'] must be float, got str '3'"),
        (WEATHER, {"degrees": -100}, "result['degrees'] is int -100: it must be at least -90"),
        (
            WEATHER,
            {"degrees": 1, "days": ["Mon", "Tuesday"]},
            "['days'][1] is str 'Tuesday': it must have at most 3",
        ),
        (WEATHER, {"degrees": 1, "sky": "blue"}, "result['sky'] must be Literal['clear', 'grey'], got str 'blue'"),
        (WEATHER, {"degrees": 1, "wind": 2}, "result['wind'] is not known"),
        (WEATHER, None, "result must be dict, got None"),
        ({"type": "integer"}, True, "result must be int, got bool True"),
        ({"type": "array", "items": {"type": "integer"}}, [1, "x"], "result[1] must be int, got str 'x'"),
        ({"anyOf": [{"type": "string"}, {"type": "integer"}]}, 3.5, "result must be str | int, got float 3.5"),
        ({**NODE, "$defs": {"N": NODE}}, {"next": {}}, "result['next'] lacks the key 'next'"),
        ({"allOf": [{"type": "integer"}, {"minimum": 3, "type": "integer"}]}, 2, "it must be at least 3"),
    ],
)
def test_what_breaks_the_schema_is_named(schema: dict[str, Any], value: Any, fault: str) -> None:
    with pytest.raises(AgentToolExecutionError) as caught:
        check_result(Given(schema), value)
    assert "tool 'given' ran, but what it returned breaks its output_schema" in caught.value.message
    assert fault in caught.value.message


def test_hostile_schemas_end() -> None:
    deep: dict[str, Any] = {"type": "array"}
    for _ in range(300):
        deep = {"type": "array", "items": deep}
    value: Any = []
    for _ in range(300):
        value = [value]
    check_result(Given(deep), value)
    loop: dict[str, Any] = {"anyOf": [{"$ref": "#/$defs/A"}] * 3}
    check_result(Given({**loop, "$defs": {"A": loop}}), "x")
    check_result(Given({"type": "array", "items": {"enum": list(range(1000))}}), [999] * 300)


class Report(TypedDict):
    title: str
    when: dt.date


@dataclass
class Point:
    x: int


def test_results_of_functions_are_held_to_their_hints() -> None:
    @tool
    def report(good: bool) -> Report:
        """Reports."""
        return {"title": "a", "when": dt.date(2024, 1, 2)} if good else {"when": dt.date(2024, 1, 2)}  # pyright: ignore[reportReturnType]

    @tool
    def point() -> Point:
        """Gives a point."""
        return Point(1)

    check_result(report, report(True))
    check_result(point, point())
    with pytest.raises(AgentToolExecutionError, match="lacks the key 'title'"):
        check_result(report, report(False))


def test_the_model_sees_the_schema_and_the_error() -> None:
    given = Given(WEATHER)
    assert '"degrees": float' in given.to_code_prompt()
    code = (
        "try:\n    given({'degrees': 'hot'})\nexcept Exception as e:\n    told = str(e)\n"
        "final_answer([given({'degrees': 1}), told])"
    )
    with CodeAgent([given], ScriptedModel([f"<code>\n{code}\n</code>"]), journal=None, verbosity_level=0) as agent:
        value, told = agent.run("go")
    assert value == {"degrees": 1}
    assert "result['degrees'] must be float, got str 'hot'" in told
