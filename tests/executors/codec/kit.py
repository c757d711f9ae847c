"""Values of every type, and the two ways on which they travel."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import fractions
import json
import math
import pathlib
import uuid
import zoneinfo
from typing import Any

import pytest

from actloop.guest import Opaque, Record, Unpacker, from_json, pack, to_json


def through_frame(value: Any) -> Any:
    unpacker = Unpacker()
    unpacker.feed(pack({"value": value}))
    message = unpacker.next()
    assert message is not None
    assert unpacker.waiting == 0
    return message["value"]


def through_json(value: Any) -> Any:
    text = to_json(value)
    json.loads(text)
    return from_json(text)


both = pytest.mark.parametrize("through", [through_frame, through_json])

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    10**400,
    -(10**5000),
    2**64,
    -(2**64),
    (1 << 1600) - 1,
    1.5,
    -0.0,
    math.inf,
    -math.inf,
    "",
    "text",
    "ünïcödé \x00 \U0001f600",
    "\ud800 lone",
    "x" * 100_000,
    "9" * 5000,
    b"",
    b"\x00\xff" * 1000,
    bytearray(b"abc"),
    1 + 2j,
    complex(math.inf, -0.0),
    [],
    [1, [2, [3]]],
    list(range(1000)),
    [1.5] * 100,
    ["a"] * 100,
    [1, math.inf] * 50,
    [10**400] * 20,
    (),
    (1,),
    ([1], (2, 3)),
    {},
    {"a": 1},
    {"$": 1},
    {"$": "tuple", "v": []},
    {1: "a", (1, 2): "b", None: "c", 1.5: "d", True + 1: "e", b"k": "f"},
    {"k" * 600: 1},
    {frozenset({1}): {2}},
    set(),
    {1, "a", (2,)},
    frozenset({1, 2}),
    {(x, y) for x in range(-20, 20) for y in range(-20, 20)},
    range(5),
    range(10, -(10**30), -3),
    dt.date(2024, 2, 29),
    dt.date.min,
    dt.datetime(2024, 1, 2, 3, 4, 5, 6),  # noqa: DTZ001
    dt.datetime.max,  # noqa: DTZ901
    dt.datetime(2024, 1, 2, tzinfo=dt.UTC),
    dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=-5, minutes=-30))),
    dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1), "Somewhere")),
    dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    dt.time(1, 2, 3, 4),
    dt.time(1, 2, tzinfo=dt.UTC),
    dt.timedelta(days=-3, microseconds=5),
    dt.timedelta.max,
    dt.UTC,
    dt.timezone(dt.timedelta(seconds=1)),
    zoneinfo.ZoneInfo("America/New_York"),
    decimal.Decimal("1.10"),
    decimal.Decimal("-Infinity"),
    decimal.Decimal("1E+400"),
    fractions.Fraction(-3, 7),
    uuid.UUID(int=5),
    pathlib.Path("/a/b"),
    pathlib.PurePosixPath("a/b"),
    pathlib.PureWindowsPath("c:\\a"),
    Record("Point", {"x": 1, "y": [2]}),
    Record("Odd", {"$": 1, "name": "n", "record_type": 3}),
    Opaque("<thing>", "Thing"),
]


@dataclasses.dataclass
class Person:
    name: str
    tags: list[str]
