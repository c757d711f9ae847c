"""Requests as the proxy reads them: what breaks the rules is refused, what is sent on was written by it alone."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from actloop.executors.network.http1 import (
    MAX_HEAD,
    Answer,
    BadAnswerError,
    BadMessageError,
    Chunked,
    Length,
    plain_answer,
    read_request,
)

GET = b"GET http://example.org/ HTTP/1.1\r\nHost: example.org\r\n"


def test_a_request_is_written_anew() -> None:
    request = read_request(
        b"POST http://Example.ORG:8080/a?b=c HTTP/1.1\r\nhost: evil.net\r\nAccept: */*\r\n"
        b"Connection: close, X-Secret\r\n"
        b"X-Secret: 1\r\nProxy-Authorization: Basic eDp5\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\nTE: trailers\r\n"
        b"content-length: 003\r\nCookie: a=b\r\n\r\n"
    )
    assert (request.method, request.host, request.port) == ("POST", "example.org", 8080)
    assert request.head == (
        b"POST /a?b=c HTTP/1.1\r\nHost: example.org:8080\r\nContent-Length: 3\r\nConnection: close\r\n"
        b"Accept: */*\r\nCookie: a=b\r\n\r\n"
    )
    assert request.body.take(b"abcGET http://other/ HTTP/1.1\r\n\r\n") == b"abc"
    assert request.body.done


@pytest.mark.parametrize(
    ("url", "host", "first"),
    [
        (b"http://a.example", "a.example", b"GET / HTTP/1.1\r\nHost: a.example\r\n"),
        (b"HTTP://A.example.?q", "a.example", b"GET /?q HTTP/1.1\r\nHost: a.example\r\n"),
        (b"http://[::1]:81/x", "::1", b"GET /x HTTP/1.1\r\nHost: [::1]:81\r\n"),
        (b"http://a.example/@b:c", "a.example", b"GET /@b:c HTTP/1.1\r\nHost: a.example\r\n"),
    ],
)
def test_the_url_says_the_host(url: bytes, host: str, first: bytes) -> None:
    request = read_request(b"GET " + url + b" HTTP/1.1\r\nHost: b\r\n\r\n")
    assert request.host == host
    assert request.head.startswith(first)


BROKEN = {
    "no HTTP": b"\x16\x03\x01\x02\r\n\r\n",
    "nothing": b"\r\n\r\n",
    "an empty line first": b"\r\n" + GET + b"\r\n",
    "HTTP/0.9": b"GET http://example.org/\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\n",
    "HTTP/1.2": GET.replace(b"1.1", b"1.2") + b"\r\n",
    "two blanks": GET.replace(b"GET ", b"GET  ") + b"\r\n",
    "a path alone": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "https": b"GET https://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "ftp": b"GET ftp://example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "file": b"GET file:///etc/passwd HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a user": b"GET http://user:word@example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a host as a user": b"GET http://example.org@evil.net/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a backslash": b"GET http://example.org\\@evil.net/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a fragment": b"GET http://evil.net#example.org/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "an escaped host": b"GET http://example%2eorg/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "no host": b"GET http:///x HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a host in another script": "GET http://exämple.org/ HTTP/1.1\r\nHost: a\r\n\r\n".encode(),
    "a blank in the URL": b"GET http://example.org/a b HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a tab in the URL": b"GET http://example.org/a\tb HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "port 0": b"GET http://example.org:0/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "port 99999": b"GET http://example.org:99999/ HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "no Host": b"GET http://example.org/ HTTP/1.1\r\n\r\n",
    "two Hosts": GET + b"Host: evil.net\r\n\r\n",
    "a line feed alone": GET + b"X: 1\nY: 2\r\n\r\n",
    "a carriage return in a line": GET + b"X: 1\rY: 2\r\n\r\n",
    "a carriage return in the path": b"GET http://example.org/\rX HTTP/1.1\r\nHost: example.org\r\n\r\n",
    "a zero byte": GET + b"X: \x00\r\n\r\n",
    "a header in two lines": GET + b"X: 1\r\n 2\r\n\r\n",
    "a blank before the colon": GET + b"Content-Length : 3\r\n\r\n",
    "no colon": GET + b"X\r\n\r\n",
    "no name": GET + b": x\r\n\r\n",
    "two lengths": GET + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\n",
    "one length twice": GET + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\n",
    "two lengths in one": GET + b"Content-Length: 3, 4\r\n\r\n",
    "a negative length": GET + b"Content-Length: -1\r\n\r\n",
    "a length with a sign": GET + b"Content-Length: +3\r\n\r\n",
    "a length in other digits": GET + "Content-Length: ٣\r\n\r\n".encode(),
    "a hexadecimal length": GET + b"Content-Length: 0x3\r\n\r\n",
    "length and chunks": GET + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
    "chunks and length": GET + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
    "another coding": GET + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
    "a coding that ends": GET + b"Transfer-Encoding: chunked, identity\r\n\r\n",
    "chunks twice": GET + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    "a disguised coding": GET + b"Transfer-Encoding: \x0bchunked\r\n\r\n",
    "chunks in HTTP/1.0": GET.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n",
    "too many headers": GET + b"X: 1\r\n" * 100 + b"\r\n",
    "CONNECT without a port": b"CONNECT example.org HTTP/1.1\r\n\r\n",
    "CONNECT with a URL": b"CONNECT http://example.org:443/ HTTP/1.1\r\n\r\n",
    "CONNECT with a user": b"CONNECT a@example.org:443 HTTP/1.1\r\n\r\n",
    "CONNECT with a body": b"CONNECT example.org:443 HTTP/1.1\r\nContent-Length: 3\r\n\r\n",
    "CONNECT with brackets about nothing": b"CONNECT [127.0.0.1]:443 HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("head", BROKEN.values(), ids=BROKEN)
def test_broken_requests_are_refused(head: bytes) -> None:
    with pytest.raises(BadMessageError):
        read_request(head)


FILLINGS = [
    b" ",
    b"\t",
    b" \t",
    b"a",
    b"a ",
    b":",
    b": ",
    b";",
    b"; ",
    b",",
    b"0",
    b".",
    b"a.",
    b"/",
    b"?",
    b"-",
    b"\xff",
]
BETWEEN = {
    "a header's value": (GET + b"X: ", b"\x01\r\n\r\n"),
    "a header's name": (GET + b"X", b"\x01: y\r\n\r\n"),
    "the host": (b"GET http://", b"\x01/ HTTP/1.1\r\nHost: a\r\n\r\n"),
    "the target": (b"GET http://example.org", b"\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "the tunnel's end": (b"CONNECT a", b"\x01 HTTP/1.1\r\nHost: a\r\n\r\n"),
    "the first line's end": (b"GET http://example.org/ HTTP/1.1", b"\x01\r\n\r\n"),
    "the length": (GET + b"Content-Length: 3", b"\x01\r\n\r\n"),
}
ENDLESS = 256 * 1024
"""More than a head may take: with so much, a pattern that tries the same bytes twice over does not end."""


@pytest.mark.parametrize("filling", FILLINGS)
@pytest.mark.parametrize(("before", "after"), BETWEEN.values(), ids=BETWEEN)
def test_no_head_takes_long_to_refuse(before: bytes, after: bytes, filling: bytes) -> None:
    with pytest.raises(BadMessageError):
        read_request(before + filling * (ENDLESS // len(filling)) + after)


@pytest.mark.parametrize("filling", FILLINGS)
def test_no_answer_and_no_chunk_takes_long_to_refuse(filling: bytes) -> None:
    for before in (b"HTTP/1.1 200 ", b"HTTP/1.1 200 x\r\nX: "):
        many = filling * (MAX_HEAD // len(filling) - len(before))
        with pytest.raises(BadAnswerError):
            answered(before + many + b"\x01\r\n\r\n")
    with pytest.raises(BadMessageError):
        Chunked().take(b"3" + filling * (4000 // len(filling)) + b"\x01\r\n")


def test_blanks_about_a_value_are_taken_off() -> None:
    head = read_request(GET + b"A:  \t b \t c\t \r\nD:\r\nE: \t\r\n\r\n").head
    assert head.endswith(b"\r\nA: b \t c\r\nD: \r\nE: \r\n\r\n")


@given(st.binary(max_size=200))
def test_whatever_comes_is_read_or_refused(data: bytes) -> None:
    try:
        request = read_request(b"GET http://example.org/ HTTP/1.1\r\nHost: a\r\n" + data + b"\r\n\r\n")
    except BadMessageError:
        return
    head, _, rest = request.head.partition(b"\r\n\r\n")
    assert rest == b""
    assert head.lower().count(b"\r\nhost:") == 1
    assert b"\n" not in head.replace(b"\r\n", b"")
    assert read_request(request.head.replace(b"GET /", b"GET http://example.org/", 1)).host == "example.org"


@given(st.lists(st.binary(min_size=1, max_size=20)), st.integers(1, 7))
def test_chunks_are_written_anew_however_they_come(chunks: list[bytes], step: int) -> None:
    sent = b"".join(b"%X ;x=y\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nTrailer: x\r\n\r\n"
    reader = Chunked()
    given_on = b"".join(reader.take(sent[start : start + step]) for start in range(0, len(sent), step))
    assert reader.done
    assert _joined(given_on) == b"".join(chunks)
    assert reader.take(b"GET / HTTP/1.1\r\n") == b""


def _joined(chunked: bytes) -> bytes:
    """What a plain reader of chunks makes of it; nothing but sizes and data may be there."""
    whole = b""
    while True:
        size, _, chunked = chunked.partition(b"\r\n")
        length = int(size, 16)
        whole += chunked[:length]
        assert chunked[length : length + 2] == b"\r\n"
        chunked = chunked[length + 2 :]
        if not length:
            assert chunked == b""
            return whole


@pytest.mark.parametrize(
    "data",
    [b"x\r\n", b"-1\r\n", b"0x3\r\nabc\r\n", b"3\r\nabcd\r\n", b"3\nabc\r\n", b"\r\n", b"1" * 13 + b"\r\n", b"3" * 9000,
     b"0\r\n" + b"a: b\r\n" * 3000, b"+3\r\n", b"3 3\r\n"],
)  # fmt: skip
def test_broken_chunks_are_refused(data: bytes) -> None:
    with pytest.raises(BadMessageError):
        Chunked().take(data)


def answered(data: bytes, method: str = "GET", step: int = 1 << 20, *, old: bool = False) -> tuple[bytes, bool]:
    answer = Answer(read_request(f"{method} http://example.org/ HTTP/1.{0 if old else 1}\r\nHost: a\r\n\r\n".encode()))
    given_on = b"".join(answer.take(data[start : start + step]) for start in range(0, len(data), step))
    return given_on + (b"" if answer.done else answer.finish()), answer.done


@pytest.mark.parametrize("step", [1, 5, 1000])
def test_an_answer_says_that_the_connection_ends(step: int) -> None:
    head = b"HTTP/1.1 200 OK\r\nconnection: keep-alive\r\nKeep-Alive: 5\r\nContent-Length: 3\r\nX: y\r\n\r\n"
    written = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\nX: y\r\n\r\nabc"
    assert answered(head + b"abcHTTP/1.1 200 second\r\n\r\n", step=step) == (written, True)


def test_the_end_of_an_answer_is_known() -> None:
    assert answered(b"HTTP/1.1 204 No\r\n\r\n")[1]
    assert answered(b"HTTP/1.1 304 No\r\nContent-Length: 9\r\n\r\n")[1]
    assert answered(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD")[1]
    assert answered(b"HTTP/1.0 200 OK\r\n\r\nabc", old=True) == (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc",
        False,
    )
    assert answered(b"HTTP/1.0 200 OK\r\n\r\nabc") == (
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        False,
    )
    given_on, done = answered(b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
    assert given_on.startswith(b"HTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200\r\nConnection: close\r\n")
    assert done


@pytest.mark.parametrize(
    "data",
    [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 101 x\r\nUpgrade: h2c\r\n\r\n",
     b"HTTP/1.1 200 x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
     b"HTTP/1.1 200 x\r\n y: z\r\n\r\n", b"HTTP/1.1 200 x\r\nA: " + b"a" * 40_000],
)  # fmt: skip
def test_broken_answers_are_refused(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        answered(data)


def test_a_sentence_of_the_proxys_own_is_one_line() -> None:
    data = plain_answer(403, "a\r\nSet-Cookie: é")
    assert data.startswith(b"HTTP/1.1 403 a??Set-Cookie: ?\r\nContent-Type")
    assert Length(0).done
