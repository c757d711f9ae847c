from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, Optional, TypedDict, Union

import PIL.Image
import pydantic
import pytest

from actloop.tools.render import python_type, tool_json_schema
from actloop.tools.schema import TypeHintParsingException, inline_refs, to_json_schema, type_schema
from actloop.tools.types import AgentAudio


@dataclasses.dataclass
class Point:
    x: int
    y: float = 0.0


class Person(pydantic.BaseModel):
    name: str
    age: int = pydantic.Field(ge=0, description="in years")


class Movie(TypedDict):
    title: str
    year: NotRequired[int]
    tags: Annotated[list[str], "what it is about"]


class Linked(TypedDict):
    value: int
    rest: NotRequired[Linked]


class Outing(TypedDict):
    when: dt.date
    where: Point


class Tree(pydantic.BaseModel):
    value: int
    children: list[Tree] = []


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Handle:
    """A class that neither JSON nor pydantic knows."""


TEXT, INT, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}

CASES: list[tuple[Any, dict[str, Any]]] = [
    (str, TEXT),
    (int, INT),
    (float, NUMBER),
    (bool, {"type": "boolean"}),
    (None, {"type": "null"}),
    (type(None), {"type": "null"}),
    (Any, {"type": "any"}),
    (object, {"type": "any"}),
    (list, {"type": "array"}),
    (dict, {"type": "object"}),
    (list[int], {"type": "array", "items": INT}),
    (list[list[str]], {"type": "array", "items": {"type": "array", "items": TEXT}}),
    (list[Any], {"type": "array", "items": {"type": "any"}}),
    (Sequence[int], {"type": "array", "items": INT}),
    (Iterable[str], {"type": "array", "items": TEXT}),
    (dict[str, float], {"type": "object", "additionalProperties": NUMBER}),
    (Mapping[str, int], {"type": "object", "additionalProperties": INT}),
    (dict[str, list[int]], {"type": "object", "additionalProperties": {"type": "array", "items": INT}}),
    (Optional[str], {"type": "string", "nullable": True}),  # noqa: UP045
    (str | None, {"type": "string", "nullable": True}),
    (Union[int, str], {"type": ["integer", "string"]}),  # noqa: UP007
    (int | float, {"type": ["integer", "number"]}),
    (int | str | None, {"type": ["integer", "string"], "nullable": True}),
    (int | Any, {"type": "any"}),
    (
        str | list[str],
        {"type": ["array", "string"], "anyOf": [TEXT, {"type": "array", "items": TEXT}]},
    ),
    (list[int] | None, {"type": "array", "items": INT, "nullable": True}),
    (Literal["a", "b"], {"type": "string", "enum": ["a", "b"]}),
    (Literal["a", 1], {"type": ["integer", "string"], "enum": ["a", 1]}),
    (Literal["a", None], {"type": "string", "enum": ["a"], "nullable": True}),
    (Annotated[int, "how many"], INT),
    (Annotated[int, pydantic.Field(ge=1)], {"type": "integer", "minimum": 1}),
    (
        Movie,
        {
            "type": "object",
            "properties": {
                "title": TEXT,
                "year": INT,
                "tags": {"type": "array", "items": TEXT, "description": "what it is about"},
            },
            "required": ["title", "tags"],
            "additionalProperties": False,
        },
    ),
    (
        Point,
        {"type": "object", "properties": {"x": INT, "y": {"type": "number", "default": 0.0}}, "required": ["x"]},
    ),
    (
        Person,
        {
            "type": "object",
            "properties": {"name": TEXT, "age": {"type": "integer", "minimum": 0, "description": "in years"}},
            "required": ["name", "age"],
        },
    ),
    (Colour, {"type": "string", "enum": ["red", "blue"]}),
    (dt.date, {"type": "string", "format": "date"}),
    (Path, {"type": "string", "format": "path"}),
    (Handle, {"type": "object"}),
    (list[Handle], {"type": "array"}),
    (Handle | None, {"type": "object", "nullable": True}),
    (PIL.Image.Image, {"type": "image"}),
    (PIL.Image.Image | None, {"type": "image", "nullable": True}),
    (AgentAudio, {"type": "audio"}),
]


@pytest.mark.parametrize(("hint", "schema"), CASES, ids=[str(hint) for hint, _ in CASES])
def test_type_schema(hint: Any, schema: dict[str, Any]) -> None:
    found = type_schema(hint)
    if hint is Person:
        found["required"] = sorted(found["required"], reverse=True)
    assert found == schema


@pytest.mark.parametrize("hint", [hint for hint, _ in CASES])
def test_every_schema_becomes_plain_json_schema(hint: Any) -> None:
    text = json.dumps(to_json_schema(type_schema(hint)))
    for word in ('"any"', '"image"', '"audio"', '"nullable"'):
        assert word not in text


def test_recursive_types_end() -> None:
    assert type_schema(Linked)["properties"]["rest"] == {"type": "object"}
    tree = type_schema(Tree)
    assert tree["type"] == "object"
    assert tree["$defs"]["Tree"]["properties"]["children"]["items"] == {"$ref": "#/$defs/Tree"}


def test_a_typed_dict_may_hold_types_that_json_does_not_know() -> None:
    fields = type_schema(Outing)["properties"]
    assert fields["when"] == {"type": "string", "format": "date"}
    assert fields["where"]["properties"]["x"] == INT


@pytest.mark.parametrize("hint", [3, "int", [int], lambda: None])
def test_what_is_not_a_type_is_refused(hint: Any) -> None:
    with pytest.raises(TypeHintParsingException, match="is not a type"):
        type_schema(hint)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (str, "str"),
        (list[dict[str, int]], "list[dict[str, int]]"),
        (list[Any], "list"),
        (dict[str, Any], "dict"),
        (tuple[int, str], "tuple[int, str]"),
        (Literal["a", 1] | None, "Literal['a', 1] | None"),
        (str | list[str], "str | list[str]"),
        (int | str | None, "int | str | None"),
        (Point, "dict"),
        (decimal.Decimal, "float | str"),
        (Callable[[int], int], "dict"),
    ],
)
def test_python_type(hint: Any, text: str) -> None:
    assert python_type(type_schema(hint)) == text


def test_inline_refs_keeps_a_field_that_is_called_title() -> None:
    schema = {
        "$defs": {"A": {"type": "object", "title": "A", "properties": {"title": {"type": "string", "title": "Title"}}}},
        "properties": {"a": {"$ref": "#/$defs/A"}},
    }
    assert inline_refs(schema) == {"properties": {"a": {"type": "object", "properties": {"title": TEXT}}}}


def test_definitions_of_two_arguments_do_not_clash() -> None:
    class Described:
        name = "two"
        description = ""
        inputs = {
            "a": {
                "type": "array",
                "items": {"$ref": "#/$defs/T"},
                "$defs": {"T": {"type": "string"}},
                "description": "",
            },
            "b": {
                "type": "array",
                "items": {"$ref": "#/$defs/T"},
                "$defs": {"T": {"type": "integer"}},
                "description": "",
            },
        }
        output_type = "any"

    parameters = tool_json_schema(Described())["function"]["parameters"]
    kinds = [
        parameters["$defs"][parameters["properties"][name]["items"]["$ref"].removeprefix("#/$defs/")] for name in "ab"
    ]
    assert kinds == [TEXT, INT]
