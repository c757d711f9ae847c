import gzip

import pytest

from actloop.values.bodies import EventEnds, Unpacker, has_more_values


def test_a_packed_body_is_unpacked_in_small_pieces_and_only_once() -> None:
    headers = {"content-encoding": "GZip", "content-type": "text/plain"}
    unpacker = Unpacker(headers)
    data = gzip.compress(b"z" * 10**6)
    pieces = [piece for start in range(0, len(data), 7) for piece in unpacker.pieces(data[start : start + 7])]
    assert b"".join(pieces) == b"z" * 10**6
    assert max(map(len, pieces)) <= 1 << 16
    assert headers == {"content-type": "text/plain"}


@pytest.mark.parametrize(("packing", "told"), [("br", "not asked for"), ("gzip", "cannot be unpacked")])
def test_what_cannot_be_unpacked_is_told(packing: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        list(Unpacker({"content-encoding": packing}).pieces(b"no such thing"))


@pytest.mark.parametrize("mark", [b"\n\n", b"\r\n\r\n", b"\r\r"])
def test_the_end_of_an_event_is_found_across_pieces(mark: bytes) -> None:
    ends = EventEnds()
    whole = b"data: 1" + mark + b"data: 2"
    found = [ends.last(whole[at : at + 1]) for at in range(len(whole))]
    assert [at for at, end in enumerate(found) if end > 0] == [6 + len(mark)]
    assert EventEnds().last(whole + mark) == len(whole + mark)
    assert EventEnds().last(b"data: 1\r\ndata: 2\r\n") < 0


def test_values_are_counted_outside_of_texts() -> None:
    assert has_more_values(b'[{}, {"a": []}]', 3, 9)
    assert not has_more_values(b'[{}, {"a": []}]', 4, 9)
    assert not has_more_values(rb'["{{{{[[[[", "\"{{{{,,,,", "\\", {}]', 2, 3)
    assert has_more_values(rb'["\\", {}, {}]', 2, 9)
    assert has_more_values(b"[1,2,3,4]", 9, 2)


def test_a_text_without_an_end_is_looked_at_once() -> None:
    assert not has_more_values(b'["' + rb"\"," * 2**21, 9, 9)
