from __future__ import annotations

import json
import math
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from tests.tools.strategies import schemas, values

from actloop.guest import Record
from actloop.tools.coerce import MismatchError, coerce

if TYPE_CHECKING:
    from actloop.tools.schema import Schema

NUMBERS = {"type": "array", "items": {"type": "integer"}}
POINT = {
    "type": "object",
    "properties": {"x": {"type": "integer"}, "y": {"type": "number"}},
    "required": ["x"],
    "additionalProperties": False,
}
TREE: Schema = {
    "$ref": "#/$defs/T",
    "$defs": {
        "T": {
            "type": "object",
            "properties": {"v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/T"}}},
            "required": ["v"],
        }
    },
}

TAKEN: list[tuple[str | Schema, Any, Any]] = [
    ("integer", 3, 3),
    ("integer", "3", 3),
    ("integer", " -3 ", -3),
    ("integer", "3.0", 3),
    ("integer", 3.0, 3),
    ("integer", Decimal(3), 3),
    ("integer", Fraction(6, 2), 3),
    ("integer", np.int64(3), 3),
    ("integer", 1e22, 10**22),
    ("integer", "9" * 100, int("9" * 100)),
    ("number", 3, 3),
    ("number", 2.5, 2.5),
    ("number", "3", 3),
    ("number", "2.50", 2.5),
    ("number", "1e3", 1000.0),
    ("number", ".5", 0.5),
    ("number", "0.1", 0.1),
    ("number", Decimal("2.5"), Decimal("2.5")),
    ("number", np.float32(2.5), 2.5),
    ("boolean", True, True),
    ("boolean", "true", True),
    ("boolean", "False", False),
    ("boolean", 1, True),
    ("boolean", 0, False),
    ("boolean", np.True_, True),
    ("string", "a", "a"),
    ("string", 3, "3"),
    ("null", None, None),
    ("any", {1, 2}, {1, 2}),
    ("image", "a.png", "a.png"),
    (NUMBERS, [1, "2", 3.0], [1, 2, 3]),
    (NUMBERS, (1, 2), [1, 2]),
    (NUMBERS, range(2), [0, 1]),
    (NUMBERS, {1}, [1]),
    (NUMBERS, deque([1]), [1]),
    (NUMBERS, {"a": 1}.values(), [1]),
    (NUMBERS, "[1, 2]", [1, 2]),
    (NUMBERS, np.array([1, 2]), [1, 2]),
    ({"type": "array"}, [object], [object]),
    (POINT, {"x": "1"}, {"x": 1}),
    (POINT, '{"x": 1, "y": "2.5"}', {"x": 1, "y": 2.5}),
    (POINT, Record("Point", {"x": 1}), {"x": 1}),
    (TREE, {"v": 1, "kids": [{"v": "2", "kids": []}]}, {"v": 1, "kids": [{"v": 2, "kids": []}]}),
    ({"type": "object", "additionalProperties": {"type": "number"}}, {"a": "1"}, {"a": 1}),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}]}, ["1", 2], [1, "2"]),
    ({"type": "string", "enum": ["a", "b"]}, "a", "a"),
    ({"enum": [1, 2]}, "2", 2),
    ({"enum": [1, "1"]}, "1", "1"),
    ({"const": "x"}, "x", "x"),
    ({"type": ["integer", "string"]}, "3", "3"),
    ({"type": ["integer", "boolean"]}, "true", True),
    ({"type": ["string", "null"]}, None, None),
    ({"type": "string", "nullable": True}, None, None),
    ({"anyOf": [{"type": "integer"}, NUMBERS]}, ["1"], [1]),
    ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, "7", "7"),
    ({"type": []}, 3, 3),
]


@pytest.mark.parametrize(("schema", "value", "expected"), TAKEN, ids=[str(case[:2])[:70] for case in TAKEN])
def test_taken(schema: str | Schema, value: Any, expected: Any) -> None:
    made = coerce(value, {"type": schema} if isinstance(schema, str) else schema)
    assert type(made) is type(expected)
    assert made == expected


REFUSED: list[tuple[str | Schema, Any, str]] = [
    ("integer", 3.5, ""),
    ("integer", "3.5", ""),
    ("integer", "1_000", ""),
    ("integer", "1,000", ""),
    ("integer", "three", ""),
    ("integer", "٣", ""),
    ("integer", "9" * 10_000, ""),
    ("integer", True, ""),
    ("integer", math.nan, ""),
    ("integer", math.inf, ""),
    ("integer", None, ""),
    ("integer", [3], ""),
    ("number", "nan", ""),
    ("number", "1e999", ""),
    ("number", "0.10000000000000000001", ""),
    ("number", True, ""),
    ("number", "", ""),
    ("boolean", "yes", ""),
    ("boolean", 2, ""),
    ("boolean", 1.0, ""),
    ("string", 2.5, ""),
    ("string", True, ""),
    ("string", None, ""),
    ("string", b"a", ""),
    ("string", ["a"], ""),
    ("null", 0, ""),
    ("image", 3, ""),
    (NUMBERS, "abc", ""),
    (NUMBERS, '{"a": 1}', ""),
    (NUMBERS, {"a": 1}, ""),
    (NUMBERS, b"ab", ""),
    (NUMBERS, 3, ""),
    (NUMBERS, [1, "x"], "[1]"),
    (POINT, {"y": 1}, ""),
    (POINT, {"x": 1, "z": 1}, ""),
    (POINT, {"x": 1.5}, "['x']"),
    (POINT, [1], ""),
    (TREE, {"v": 1, "kids": [{"v": 2}, {"v": "x"}]}, "['kids'][1]['v']"),
    ({"type": "array", "prefixItems": [{"type": "integer"}]}, [1, 2], ""),
    ({"type": "string", "enum": ["a", "b"]}, "c", ""),
    ({"type": "string", "enum": ["a", "b"]}, "A", ""),
    ({"enum": [1]}, True, ""),
    ({"type": ["integer", "boolean"]}, "x", ""),
    ({"anyOf": [{"type": "integer"}, NUMBERS]}, ["x"], "[0]"),
]


@pytest.mark.parametrize(("schema", "value", "path"), REFUSED, ids=[str(case[:2])[:70] for case in REFUSED])
def test_refused(schema: str | Schema, value: Any, path: str) -> None:
    with pytest.raises(MismatchError) as caught:
        coerce(value, {"type": schema} if isinstance(schema, str) else schema)
    assert caught.value.path == path


@given(values, st.sampled_from(["integer", "number", "boolean", "string"]))
def test_nothing_is_lost(value: Any, kind: str) -> None:
    try:
        made: Any = coerce(value, {"type": kind})
    except MismatchError:
        return
    assert isinstance(made, {"integer": int, "boolean": bool, "string": str}.get(kind, object))
    if isinstance(value, str) and kind in ("integer", "number"):
        assert Decimal(repr(made)) == Decimal(value.strip())
    elif isinstance(value, str) and kind == "boolean":
        assert str(made).lower() == value.strip().lower()
    elif kind == "string":
        assert made == str(value)
    else:
        assert made is value or made == value


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_written_out_is_read_back(value: float) -> None:
    assert coerce(repr(value), {"type": "number"}) == value


@given(st.integers())
def test_an_integer_written_out_is_read_back(value: int) -> None:
    assert coerce(str(value), {"type": "integer"}) == value


@given(st.lists(st.integers()))
def test_a_list_written_out_is_read_back(value: list[int]) -> None:
    assert coerce(json.dumps(value), NUMBERS) == value


@settings(max_examples=300)
@example([], {"type": "array", "items": {"type": []}})
@given(values, schemas)
def test_any_schema_gives_a_value_or_a_mismatch(value: Any, schema: Schema) -> None:
    try:
        made = coerce(value, schema)
    except MismatchError:
        return
    again = coerce(made, schema)
    assert again is made or again == made or made != made  # converting twice changes nothing more


def test_what_fits_is_not_copied() -> None:
    value = {"x": 1, "y": 2.5}
    assert coerce(value, POINT) is value
    numbers = [1, 2, 3]
    assert coerce(numbers, NUMBERS) is numbers


def test_schemas_and_values_without_end_are_refused() -> None:
    with pytest.raises(MismatchError):
        coerce(1, {"$ref": "#/$defs/A", "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}, {"$ref": "#/$defs/A"}]}}})
    assert coerce(1, {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}) == 1
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    nested: Schema = {"$ref": "#/$defs/L", "$defs": {"L": {"type": "array", "items": {"$ref": "#/$defs/L"}}}}
    with pytest.raises(MismatchError, match="less nesting"):
        coerce(deep, nested)
    with pytest.raises(MismatchError):
        coerce("[" * 100_000, NUMBERS)


def test_large_values_are_converted_whole() -> None:
    options = {"type": "array", "items": {"anyOf": [{"type": "integer"}, {"type": "boolean"}, {"type": "null"}]}}
    assert coerce(["1", "true", None] * 5_000, options) == [1, True, None] * 5_000
