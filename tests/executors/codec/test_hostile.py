"""What is malformed or too large raises WireError or EncodeError, and nothing else."""

from __future__ import annotations

import io
import json
import struct
import sys
import zlib
from typing import Any

import pytest

from actloop.guest import MAX_DEPTH, Decoder, EncodeError, Unpacker, WireError, pack, to_json

from .kit import Person, through_frame


def test_a_value_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append({"a": loop})
    with pytest.raises(EncodeError, match="contains itself"):
        pack({"value": loop})
    person = Person("Al", [])
    person.tags.append(person)  # pyright: ignore[reportArgumentType]
    with pytest.raises(EncodeError, match="contains itself"):
        to_json(person)


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


@pytest.mark.parametrize("text", HOSTILE)
def test_malformed_messages_raise_only_wire_errors(text: str) -> None:
    raw = f'{{"t":"finished","value":{text}}}'.encode()
    unpacker = Unpacker()
    unpacker.feed(struct.pack(">III", len(raw), 0, 0) + raw)
    with pytest.raises(WireError):
        unpacker.next()


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

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    assert io.BytesIO(png).read(4) == b"\x89PNG"
    with pytest.raises(WireError):
        Decoder([png]).decode('{"$":"image","b":0}')


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
