"""Whom a TLS client means, read from the first bytes of a real one."""

from __future__ import annotations

import ssl
from ipaddress import ip_address

import pytest
from hypothesis import given, strategies as st

from actloop.errors import ForbiddenAddressError
from actloop.executors.network.tls import Hello, NoTlsError


def hello(name: str | None) -> bytes:
    """The first bytes of a client of Python's."""
    context = ssl.create_default_context()
    context.check_hostname = False
    sent = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return sent.read()


def extended(data: bytes, kind: int, payload: bytes) -> bytes:
    """A hello with one more extension."""
    record, message = data[:3], data[5:]
    body = bytearray(message[4:])
    position = 34
    position += 1 + body[position]
    position += 2 + int.from_bytes(body[position : position + 2], "big")
    position += 1 + body[position]
    size = int.from_bytes(body[position : position + 2], "big")
    extra = kind.to_bytes(2, "big") + len(payload).to_bytes(2, "big") + payload
    body[position : position + 2] = (size + len(extra)).to_bytes(2, "big")
    body += extra
    message = message[:1] + len(body).to_bytes(3, "big") + bytes(body)
    return record + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize("step", [1, 7, 100, 10_000])
def test_a_hello_passes_when_it_is_whole(step: int) -> None:
    data = hello("api.example.org") + record(b"\1", 20) + record(b"anything" * 2000, 23) * 3 + record(b"\2\x28", 21)
    checked = Hello("api.example.org", None)
    assert b"".join(checked.take(data[start : start + step]) for start in range(0, len(data), step)) == data
    assert checked.take(record(b"more", 23)[:6]) == record(b"more", 23)[:6]
    assert checked.take(b"ore") == b"ore"


def test_what_follows_a_hello_is_tls() -> None:
    checked = Hello("api.example.org", None)
    assert checked.take(hello("api.example.org") + record(b"x", 23))
    with pytest.raises(NoTlsError, match="no TLS"):
        checked.take(b"GET / HTTP/1.1")


def first_passed() -> Hello:
    checked = Hello("api.example.org", None)
    assert checked.take(hello("api.example.org"))
    return checked


CHANGE = b"\x14\3\3\0\1\1"
BETWEEN = {
    "nothing": b"",
    "a change of the cipher": CHANGE,
    "early data, which a server skips": b"\x17\3\3\0\x20" + b"x" * 32,
    "both": b"\x17\3\3\0\x20" + b"x" * 32 + CHANGE + b"\x17\3\3\0\x20" + b"x" * 32,
    "another message": b"\x16\3\3\0\7\x10\0\0\3abc",
    "half of another message": b"\x16\3\3\0\7\x10\xff\0\3abc" + CHANGE,
    "nothing in a record": b"\x16\3\3\0\0",
}


@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize("step", [1, 50, 100_000])
def test_a_second_hello_means_the_same_host(between: str, step: int) -> None:
    """Domain fronting in the hello that answers a server which wants another key (HelloRetryRequest)."""
    same, other = hello("api.example.org")[5:], hello("forbidden.internal")[5:]
    pieces = [same[place : place + step] for place in range(0, len(same), step)]
    data = BETWEEN[between] + b"".join(map(record, pieces))
    assert first_passed().take(data) == data
    checked = first_passed()
    pieces = [other[place : place + step] for place in range(0, len(other), step)]
    for passed in (BETWEEN[between], *map(record, pieces[:-1])):
        assert checked.take(passed) == passed
    assert checked.take(record(pieces[-1])[:-1]) == b""
    with pytest.raises(ForbiddenAddressError, match=r"names 'forbidden\.internal'"):
        checked.take(record(pieces[-1])[-1:])


def test_a_second_hello_is_found_between_its_own_pieces_and_after_a_message() -> None:
    other = hello("forbidden.internal")[5:]
    for data in (
        record(other[:3]) + CHANGE + record(b"x" * 20, 23) + record(other[3:]),
        record(b"\x10\0\0\3abc" + other),
        record(b"\x10\0") + record(b"\0\3abc" + other[:2]) + record(other[2:]),
        record(hello("api.example.org")[5:] + other),
    ):
        with pytest.raises(ForbiddenAddressError, match=r"names 'forbidden\.internal'"):
            first_passed().take(data)


def test_encrypted_handshakes_pass() -> None:
    """As TLS 1.2 sends them after the cipher was changed: they may begin with any byte."""
    encrypted = [bytes([first]) + b"\xf3" * 39 for first in range(256)]
    data = record(b"\x10\0\0\3abc") + CHANGE + b"".join(map(record, encrypted))
    assert first_passed().take(data) == data
    with pytest.raises(NoTlsError, match="too long"):
        first_passed().take(record(b"\1\0\xff\xff" + b"x" * 10_000) * 2)


def record(content: bytes, kind: int = 22) -> bytes:
    return bytes([kind, 3, 3]) + len(content).to_bytes(2, "big") + content


def test_a_hello_in_several_records_passes() -> None:
    data = hello("api.example.org")
    message = data[5:]
    split = b"".join(
        data[:3] + len(part).to_bytes(2, "big") + part for part in (message[:3], message[3:100], message[100:])
    )
    assert Hello("api.example.org", None).take(split) == split
    crumbs = b"".join(data[:3] + b"\0\1" + message[index : index + 1] for index in range(len(message)))
    with pytest.raises(NoTlsError, match="too many pieces"):
        Hello("api.example.org", None).take(crumbs)


@pytest.mark.parametrize("name", ["evil.net", "api.example.org.evil.net", "example.org", None])
def test_another_name_is_refused(name: str | None) -> None:
    """Domain fronting: a tunnel to a host that may be reached, through which another one is asked."""
    with pytest.raises(
        ForbiddenAddressError, match=r"a tunnel to api\.example\.org was opened, and the TLS in it names"
    ):
        Hello("api.example.org", None).take(hello(name))


def test_an_address_is_named_by_nobody() -> None:
    address = ip_address("8.8.8.8")
    assert Hello("8.8.8.8", address).take(hello("8.8.8.8"))
    with pytest.raises(ForbiddenAddressError, match=r"names 'evil\.net'"):
        Hello("8.8.8.8", address).take(hello("evil.net"))


def test_a_hidden_name_is_refused() -> None:
    data = hello("api.example.org")
    assert Hello("api.example.org", None).take(extended(data, 0x1234, b"x"))
    with pytest.raises(ForbiddenAddressError, match="encrypted Client Hello"):
        Hello("api.example.org", None).take(extended(data, 0xFE0D, b"x" * 50))
    named = b"\0\x0b\0\0\x08evil.net"
    with pytest.raises(NoTlsError, match="twice"):
        Hello("api.example.org", None).take(extended(data, 0, named))
    two = b"\0\x16" + b"\0\0\x08evil.net" * 2
    with pytest.raises(NoTlsError, match="more than one host"):
        Hello("api.example.org", None).take(extended(hello(None), 0, two))


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n", b"SSH-2.0-OpenSSH", b"\x80\x2e\x01\x03\x01", b"\x17\x03\x03\0\1a", b"\x16\x02\0\0\1\1",
     b"\x16\x03\1\0\0", b"\x16\x03\1\0\4\2\0\0\0", b"\x16\x03\1\0\4\1\xff\xff\xff", b"\x16\x03\1\0\6\1\0\0\1ab"],
)  # fmt: skip
def test_what_is_no_tls_is_refused(data: bytes) -> None:
    with pytest.raises(NoTlsError):
        Hello("api.example.org", None).take(data)


@given(st.data())
def test_a_damaged_hello_is_read_or_refused(data: st.DataObject) -> None:
    damaged = bytearray(HELLO)
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(HELLO) - 1))] = data.draw(st.integers(0, 255))
    try:
        Hello("api.example.org", None).take(bytes(damaged))
    except (NoTlsError, ForbiddenAddressError):
        return


HELLO = hello("api.example.org")
