"""The value codec: everything comes back as it went, objects as plain data."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import math
from typing import Any, NamedTuple

import pydantic
import pytest

from actloop.guest import EncodeError, Opaque, Record, Unpacker, pack
from actloop.guest.encode import Encoder, is_plain

from .kit import VALUES, Person, both, through_frame


@both
@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_values_come_back(value: Any, through: Any) -> None:
    back = through(value)
    assert type(back) is type(value)
    assert back == value
    if isinstance(value, dt.datetime | dt.time):
        assert (str(back.tzinfo), back.fold) == (str(value.tzinfo), value.fold)
    if isinstance(value, float):
        assert math.copysign(1, back) == math.copysign(1, value)


@both
def test_not_a_number_comes_back(through: Any) -> None:
    assert math.isnan(through(math.nan))
    assert math.isnan(through([math.nan] * 50)[7])
    assert through(decimal.Decimal("NaN")).is_nan()


class Colour(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    LOW = 1


class Pair(NamedTuple):
    left: int
    right: Any


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    name: str
    inner: Person | None = None


@both
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Colour.RED, Record("Colour", {"name": "RED", "value": "r"})),
        (Level.LOW, Record("Level", {"name": "LOW", "value": 1})),
        (Person("Al", ["a"]), Record("Person", {"name": "Al", "tags": ["a"]})),
        (Pair(1, (2,)), Record("Pair", {"left": 1, "right": (2,)})),
        (
            Model.model_validate({"name": "m", "inner": Person("B", []), "more": 1}),
            Record("Model", {"name": "m", "inner": Record("Person", {"name": "B", "tags": []}), "more": 1}),
        ),
        (KeyError("k"), Record("KeyError", {"message": "'k'", "args": ("k",)})),
        (collections.OrderedDict([("a", 1)]), {"a": 1}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.deque([1, 2]), [1, 2]),
        ({"a": 1}.keys(), ["a"]),
        ({"a": 1}.items(), [("a", 1)]),
        (memoryview(b"ab"), b"ab"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_objects_arrive_as_plain_data(value: Any, expected: Any, through: Any) -> None:
    back = through(value)
    assert type(back) is type(expected)
    assert back == expected


def test_records_read_like_the_objects_they_were() -> None:
    person = through_frame(Person("Al", ["a"]))
    assert person.name == "Al"
    assert person["tags"] == ["a"]
    assert repr(person) == "Person(name='Al', tags=['a'])"
    assert hash(through_frame(Colour.RED)) == hash(through_frame(Colour.RED))
    left, right = through_frame(Pair(1, 2))
    assert (left, right) == (1, 2)
    assert through_frame(Pair(1, 2))[1] == 2
    with pytest.raises(AttributeError, match="no field 'age'"):
        _ = person.age
    with pytest.raises(AttributeError, match="cannot be changed"):
        person.name = "B"


def test_what_cannot_be_sent_arrives_as_its_repr() -> None:
    class Rude:
        def __repr__(self) -> str:
            raise ValueError

    back = through_frame({"f": print, "r": Rude(), "g": [object], "m": math})
    assert back["f"] == Opaque("<built-in function print>", "builtin_function_or_method")
    assert back["r"].type_name == "Rude"
    assert back["m"].text.startswith("<module 'math'")


def test_a_shared_value_may_occur_twice() -> None:
    shared = [1]
    assert through_frame([shared, shared]) == [[1], [1]]


PLAIN: list[dict[str, Any]] = [
    {"t": "finished", "output": None, "failure": None},
    {"t": "call", "id": 7, "name": "search", "args": [1, "a", True, None], "kwargs": {"b": "c", "n": -(1 << 63)}},
    {"t": "printed", "text": 'a "line"\n\ud800 \u2028 é'},
    {"t": "result", "id": 1, "value": "x" * 512},
    {"t": "result", "id": 1, "value": []},
]
NOT_PLAIN: list[Any] = [
    "x" * 513,
    1 << 64,
    1.5,
    math.nan,
    b"a",
    (1, 2),
    {1: 2},
    {"$": "int"},
    {"a": {"b": 1}},
    {"k" * 513: 1},
    [[1]],
    [1.5],
    [True] * 100,
    [1 << 64],
    Level.LOW,
    collections.OrderedDict(a=1),
]


@pytest.mark.parametrize("message", PLAIN)
def test_plain_messages_are_written_as_all_others_are(message: dict[str, Any]) -> None:
    assert is_plain(message.values())
    text = Encoder().text(message)
    assert pack(message)[12:] == text.encode("utf-8", "surrogatepass")
    unpacker = Unpacker()
    unpacker.feed(pack(message))
    assert unpacker.next() == message


@pytest.mark.parametrize("value", NOT_PLAIN, ids=repr)
def test_what_is_not_plain_is_left_to_the_encoder(value: Any) -> None:
    assert not is_plain([value])


def test_a_plain_message_is_held_to_its_limit_too() -> None:
    with pytest.raises(EncodeError, match="too large"):
        pack({"t": "result", "value": ["x" * 500] * 8}, 4000)
