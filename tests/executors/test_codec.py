"""The value codec: everything comes back as it went, and nothing malformed raises anything but WireError."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import json
import math
import pathlib
import sys
import uuid
import zoneinfo
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, example, given, settings, strategies as st
from PIL import Image

from actloop.guest import (
    MAX_DEPTH,
    Decoder,
    EncodeError,
    Encoder,
    Opaque,
    Record,
    Unpacker,
    WireError,
    from_json,
    pack,
    to_json,
)

if TYPE_CHECKING:
    import random


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


pd: Any = pytest.importorskip("pandas")

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


@dataclasses.dataclass
class Person:
    name: str
    tags: list[str]


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


@both
@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4),
        np.array([[1.5, np.nan]], dtype="f4"),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.array([b"a", b"bcd"]),
        np.array(["2024-01-01"], dtype="M8[D]"),
        np.array([1 + 2j]),
        np.zeros((0, 3)),
        np.array(5),
        np.arange(6, dtype=">i4")[::2],
        np.asfortranarray(np.arange(6).reshape(2, 3)),
    ],
    ids=str,
)
def test_arrays_come_back(array: Any, through: Any) -> None:
    back = through(array)
    assert back.dtype == array.dtype
    assert back.shape == array.shape
    np.testing.assert_array_equal(back, array)
    assert back.flags.writeable


def test_arrays_of_objects_never_cross() -> None:
    assert isinstance(through_frame(np.array([object()])), Opaque)


def test_numpy_scalars_become_plain_numbers() -> None:
    back = through_frame([np.float64(1.5), np.int8(3), np.bool_(True), np.str_("a")])
    assert back == [1.5, 3, True, "a"]
    assert [type(value) for value in back] == [float, int, bool, str]
    assert through_frame(np.datetime64("2024-01-01")) == np.datetime64("2024-01-01")


@both
def test_tables_come_back(through: Any) -> None:
    frame: Any = pd.DataFrame(
        {
            "i": [1, 2, 3],
            "f": [1.5, None, 3.0],
            "s": ["a", None, "c"],
            "t": pd.date_range("2024-01-01", periods=3),
            "z": pd.date_range("2024-01-01", periods=3, tz="Europe/Berlin"),
            "c": pd.Categorical(["x", "y", "x"], ordered=True),
            "n": pd.array([1, None, 3], dtype="Int64"),
            "o": [{"a": 1}, [2], None],
            5: [True, False, True],
        },
        index=pd.Index(["p", "q", "r"], name="key"),
    )
    pd.testing.assert_frame_equal(through(frame), frame)
    pd.testing.assert_frame_equal(through(frame.reset_index()), frame.reset_index())
    grouped = frame.groupby([5, "i"])[["f"]].sum()
    pd.testing.assert_frame_equal(through(grouped), grouped)
    pd.testing.assert_frame_equal(through(pd.DataFrame()), pd.DataFrame())
    for name in frame.columns:
        pd.testing.assert_series_equal(through(frame[name]), frame[name])
    assert through(pd.Timestamp("2024-01-02 03:04", tz="UTC")) == dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC)
    assert through([pd.NaT, pd.NA, pd.Timedelta("1h")]) == [None, None, dt.timedelta(hours=1)]


@both
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_images_come_back(mode: str, through: Any) -> None:
    image = Image.new("RGB", (5, 4), (10, 200, 30)).convert(mode)
    back = through(image)
    assert back.size == (5, 4)
    assert back.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append({"a": loop})
    with pytest.raises(EncodeError, match="contains itself"):
        pack({"value": loop})
    person = Person("Al", [])
    person.tags.append(person)  # pyright: ignore[reportArgumentType]
    with pytest.raises(EncodeError, match="contains itself"):
        to_json(person)


def test_a_shared_value_may_occur_twice() -> None:
    shared = [1]
    assert through_frame([shared, shared]) == [[1], [1]]


def test_depth_is_bounded_on_both_sides() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH - 1):
        deep = {1: deep}
    assert through_frame(deep) == deep
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(EncodeError, match="nested too deeply"):
        pack({"value": deep})
    for text in ("[" * 10**6, "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, '["' + "[" * 5000 + '"]'):
        if text.startswith('["'):
            assert Decoder().decode(text) == ["[" * 5000]
        else:
            with pytest.raises(WireError):
                Decoder().decode(text)


def test_a_small_value_that_would_grow_without_end_is_refused() -> None:
    laughs: list[Any] = ["ha"]
    for _ in range(60):
        laughs = [laughs, laughs]
    with pytest.raises(EncodeError, match="too large"):
        pack({"value": laughs}, 1 << 16)
    with pytest.raises(EncodeError, match="too large"):
        pack({"value": b"x" * (1 << 17)}, 1 << 16)
    with pytest.raises(EncodeError, match="too large"):
        pack({"value": "é" * (1 << 16)}, 1 << 16)


@pytest.mark.parametrize("limit", [1 << 12, 1 << 14, 1 << 16])
def test_what_the_encoder_lets_through_the_decoder_takes(limit: int) -> None:
    for size in range(0, limit, limit // 50 + 1):
        values: list[Any] = [[{}] * size, [[]] * size, list(range(size)), ["a"] * size, [{"a": 1}] * size]
        for value in values:
            try:
                frame = pack({"value": value}, limit)
            except EncodeError:
                continue
            unpacker = Unpacker(limit)
            unpacker.feed(frame)
            assert unpacker.next() == {"value": value}


HOSTILE = [
    "",
    "nul",
    "NaN",
    "[Infinity]",
    "1" * 5000,
    "[" + "1" * 700 + "]",
    '{"a":1,"a":2}',
    '{"$":"nope"}',
    '{"$":1}',
    '{"$":["tuple"]}',
    '{"$":"int"}',
    '{"$":"int","b":-1}',
    '{"$":"int","b":true}',
    '{"$":"float","v":"1"}',
    '{"$":"dict","v":[[1,2],[1,3]]}',
    '{"$":"dict","v":[[[],2]]}',
    '{"$":"dict","v":[[1]]}',
    '{"$":"dict","v":{"a":1}}',
    '{"$":"set","v":[1,1.0]}',
    '{"$":"set","v":[{}]}',
    '{"$":"tuple","v":"abc"}',
    '{"$":"complex","v":[1,2]}',
    '{"$":"range","v":[1,2,0]}',
    '{"$":"range","v":[1,2]}',
    '{"$":"record","n":"a","f":[]}',
    '{"$":"record","n":1,"f":{}}',
    '{"$":"record","n":"a","f":{"$":"dict","v":[[1,2]]}}',
    '{"$":"date","v":"2024-13-01"}',
    '{"$":"date","v":"0000-00-00"}',
    '{"$":"datetime","v":"2024-01-01T00:00:00+01:00","fold":0,"zone":null}',
    '{"$":"datetime","v":"2024-01-01","fold":7,"zone":null}',
    '{"$":"datetime","v":"2024-01-01","fold":0,"zone":{"key":"../../etc/passwd"}}',
    '{"$":"datetime","v":"2024-01-01","fold":0,"zone":{"key":"Nowhere/Else"}}',
    '{"$":"datetime","v":"2024-01-01","fold":0,"zone":{"offset":99999999999999}}',
    '{"$":"timezone","v":{"offset":0,"name":5}}',
    '{"$":"timedelta","v":[1000000000000,0,0]}',
    '{"$":"decimal","v":"abc"}',
    '{"$":"decimal","v":"sNaN","x":1}x',
    '{"$":"fraction","v":[1,0]}',
    '{"$":"fraction","v":[1,-5]}',
    '{"$":"uuid","v":"zz"}',
    '{"$":"path","v":"a","flavour":"posix"}',
    '{"$":"opaque","v":1,"n":"a"}',
    '{"$":"index","v":{"kind":"range","data":[0,1099511627777,1],"names":[null]}}',
    '{"$":"series","v":{"kind":"values","data":[1],"dtype":"evil"},"index":{"kind":"range","data":[0,1,1],"names":[1]}}',
    '{"$":"frame","columns":[],"labels":{"kind":"multi","data":[[1]],"names":[1]},"index":{}}',
    (
        '{"$":"frame","columns":[{"kind":"values","data":[1,2],"dtype":"object"}],'
        '"labels":{"kind":"values","data":["a"],"dtype":"object","names":[null]},'
        '"index":{"kind":"range","data":[0,3,1],"names":[null]}}'
    ),
]


@pytest.mark.parametrize("text", HOSTILE)
def test_malformed_values_raise_only_wire_errors(text: str) -> None:
    with pytest.raises(WireError):
        Decoder().decode(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"$":"array","d":"|O","s":[1],"b":0}',
        '{"$":"array","d":"<i4","s":[3],"b":0}',
        '{"$":"array","d":"<i4","s":[-1,-2],"b":0}',
        '{"$":"array","d":"<i4","s":[1.0,2],"b":0}',
        '{"$":"array","d":"<i4","s":[true,2],"b":0}',
        '{"$":"array","d":"<i4","s":[1099511627776,0],"b":0}',
        '{"$":"array","d":"<i4,<i4","s":[1],"b":0}',
        '{"$":"array","d":"<U2","s":[1],"b":0}',
        '{"$":"array","d":"|b1","s":[8],"b":0}',
        '{"$":"array","d":"|V8","s":[1],"b":0}',
        '{"$":"image","b":0}',
        '{"$":"str","b":0}',
        '{"$":"bytes","b":1}',
        '[{"$":"bytes","b":0},{"$":"bytes","b":0}]',
        '{"$":"fraction","v":[{"$":"int","b":0},1e5]}',
    ],
)
def test_malformed_blobs_raise_only_wire_errors(text: str) -> None:
    with pytest.raises(WireError):
        Decoder([b"\xff" * 8]).decode(text)


def test_keys_made_to_collide_are_refused() -> None:
    modulus = sys.hash_info.modulus
    keys = ",".join(str(7 + number * modulus) for number in range(500))
    with pytest.raises(WireError, match="collide"):
        Decoder().decode(f'{{"$":"set","v":[{keys}]}}')


def test_a_picture_that_would_fill_the_memory_is_refused() -> None:
    import io
    import struct
    import zlib

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert io.BytesIO(png).read(4) == b"\x89PNG"
    with pytest.raises(WireError):
        Decoder([png]).decode('{"$":"image","b":0}')


plain: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.text(st.characters(codec=None, categories=["Cs", "L"]))
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.fractions()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.timezones())
    | st.times()
    | st.timedeltas()
    | st.uuids()
    | st.complex_numbers(allow_nan=False),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.tuples(st.integers(), st.text()), inner, max_size=5)
        | st.frozensets(st.integers() | st.text() | st.binary(), max_size=5)
        | st.builds(Record, st.text(max_size=20), st.dictionaries(st.text(), inner))
    ),
    max_leaves=20,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(plain)
@example({"$": {"$": "$"}})
def test_any_value_comes_back(value: Any) -> None:
    assert through_frame(value) == value
    assert through_json(value) == value


def decode_or_wire_error(text: str, blobs: list[bytes]) -> None:
    with contextlib.suppress(WireError):
        Decoder(blobs, limit=1 << 20).decode(text)
    with contextlib.suppress(WireError):
        Decoder(inline=True, limit=1 << 20).decode(text)


def words(text: str) -> st.SearchStrategy[str]:
    return st.sampled_from(text.split())


def tagged(tag: str, fields: dict[str, Any]) -> Any:
    return {**fields, "$": tag}


tags = words(
    "float str int dict tuple set frozenset bytes bytearray complex range record opaque datetime time date timedelta "
    "timezone decimal fraction uuid path image audio array scalar frame series index"
)
names = words("$ v b d s r n f fold zone key offset name kind data names dtype index columns labels")


def grow(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = st.dictionaries(names, inner, max_size=5)
    return st.lists(inner, max_size=4) | fields | st.builds(tagged, tags, fields)


constants = words("<i4 |b1 <U1 2024-01-01 UTC range multi values array object posix")
atoms: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-3, 3)
    | st.integers()
    | st.floats()
    | constants
    | st.text(max_size=5)
    | tags
)
shards: st.SearchStrategy[Any] = st.recursive(atoms, grow, max_leaves=25)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shards, st.lists(st.binary(max_size=16), max_size=3))
def test_any_json_raises_only_wire_errors(data: Any, blobs: list[bytes]) -> None:
    decode_or_wire_error(json.dumps(data), blobs)


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.sampled_from(VALUES))
def test_a_mutated_value_raises_only_wire_errors(chance: random.Random, value: Any) -> None:
    encoder = Encoder()
    text, blobs = encoder.text(value), encoder.blobs
    for _ in range(20):
        characters = list(text[:2000])
        for _ in range(chance.randint(1, 3)):
            if characters:
                characters[chance.randrange(len(characters))] = chance.choice('[]{}",:$0-9e.\\untrfa \ud800')
        decode_or_wire_error("".join(characters), list(blobs))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=8))
def test_any_bytes_raise_only_wire_errors(pieces: list[bytes]) -> None:
    unpacker = Unpacker(1 << 16)
    try:
        for piece in pieces:
            unpacker.feed(piece)
            while unpacker.next() is not None:
                pass
    except WireError:
        pass


@settings(max_examples=150, deadline=None)
@given(st.randoms(use_true_random=False))
def test_frames_cut_anywhere_come_out_whole(chance: random.Random) -> None:
    messages: list[dict[str, Any]] = [{"n": number, "v": chance.choice(VALUES)} for number in range(4)]
    stream = b"".join(map(pack, messages))
    unpacker, found = Unpacker(), list[Any]()
    while stream:
        size = chance.choice([1, 7, 11, 100, 50_000])
        unpacker.feed(stream[:size])
        stream = stream[size:]
        while (message := unpacker.next()) is not None:
            found.append(message)
    assert found == messages


def test_an_oversized_frame_is_refused_at_its_header() -> None:
    for header in (b"\xff" * 12, b"\0\0\0\1" + b"\xff" * 4 + b"\0" * 4, b"\0\0\0\1\0\0\0\1\x7f\xff\xff\xff"):
        unpacker = Unpacker()
        unpacker.feed(header)
        with pytest.raises(WireError, match="too large"):
            unpacker.next()


def test_json_that_would_take_far_more_memory_than_its_length_is_refused() -> None:
    limit = 1 << 16
    with pytest.raises(WireError, match="too many parts"):
        Decoder(limit=limit).decode("[" + "{}," * 20_000 + "{}]")
    commas = json.dumps("," * 60_000)
    assert Decoder(limit=limit).decode(commas) == "," * 60_000
