"""Values, JSON and bytes that nobody thought of."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, example, given, settings, strategies as st

from actloop.guest import Decoder, Encoder, Record, Unpacker, WireError, pack

from .kit import VALUES, through_frame, through_json

if TYPE_CHECKING:
    import random

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
