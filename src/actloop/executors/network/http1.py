"""HTTP/1.1 as the proxy reads it, without I/O: strictly, so that no server understands a request otherwise than it did.

One connection carries one request. What is sent on is written anew from what was understood: the request line, the
`Host` of the URL, one way of telling the body's length, `Connection: close`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from actloop.executors.network.policy import host_name
from actloop.values.cuts import cut

MAX_HEAD = 32 * 1024
"""Bytes of a request line with its headers; of an answer's, too."""

MAX_HEADERS = 100

_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([\x21-\x7e]+) HTTP/1\.([01])")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)")
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [\t\x20-\x7e\x80-\xff]*)?")
_AUTHORITY = re.compile(r"(\[[0-9A-Fa-f]*:[0-9A-Fa-f:.]*\]|[0-9A-Za-z._-]+)(?::([0-9]{1,5}))?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,12})[ \t]*(?:;[\t\x20-\x7e\x80-\xff]*)?")
_HOP_BY_HOP = frozenset(
    b"connection proxy-connection keep-alive proxy-authorization proxy-authenticate te trailer upgrade".split()
)
_FRAMING = frozenset((b"host", b"content-length", b"transfer-encoding"))
_MAX_LINE = 4 * 1024
_MAX_TRAILER = 8 * 1024

Headers = list[tuple[bytes, bytes]]


class BadMessageError(Exception):
    """A message breaks the rules of HTTP, or is of a kind that is not passed on; the text says how."""


class BadAnswerError(BadMessageError):
    """What a server answered breaks the rules of HTTP."""


class Filter(Protocol):
    """Takes bytes as they come, gives those that are to be sent on.

    Attributes:
        done: Whether the message has ended: what comes after it is dropped.
    """

    done: bool

    def take(self, data: bytes) -> bytes:
        """Bytes to send on.

        Raises:
            BadMessageError: What came breaks the rules.
        """
        ...

    def finish(self) -> bytes:
        """Bytes to send on after the last ones, when the connection that they came from has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Request:
    """What a program asks of the proxy.

    Attributes:
        method: The method; `CONNECT` for a tunnel.
        host: Name or address of the server, in the one spelling in which names are compared.
        port: Its port.
        head: Bytes to send to the server; empty for a tunnel.
        body: Passes the request's body on.
        old: Whether the program speaks HTTP/1.0, which knows no chunks.
    """

    method: str
    host: str
    port: int
    head: bytes
    body: Filter
    old: bool


class Length:
    """A body of a known number of bytes."""

    def __init__(self, left: int) -> None:
        self._left = left
        self.done = left == 0

    def take(self, data: bytes) -> bytes:
        """As in `Filter`."""
        data = data[: self._left]
        self._left -= len(data)
        self.done = self._left == 0
        return data

    def finish(self) -> bytes:
        """As in `Filter`."""
        return b""


class UntilClose:
    """A body that ends with its connection."""

    done = False

    def take(self, data: bytes) -> bytes:
        """As in `Filter`."""
        return data

    def finish(self) -> bytes:
        """As in `Filter`."""
        return b""


class IntoChunks:
    """A body that ends with its connection, sent on in chunks: so it shows whether it is whole."""

    done = False

    def take(self, data: bytes) -> bytes:
        """As in `Filter`."""
        return b"%x\r\n%b\r\n" % (len(data), data) if data else b""

    def finish(self) -> bytes:
        """As in `Filter`."""
        return b"0\r\n\r\n"


class Chunked:
    """A body in chunks: they are read and written anew, without extensions and trailers."""

    def __init__(self) -> None:
        self.done = False
        self._line = bytearray()
        self._left = 0
        self._state = "size"
        self._trailer = 0

    def take(self, data: bytes) -> bytes:
        """As in `Filter`."""
        given = bytearray()
        position = 0
        while position < len(data) and not self.done:
            if self._state == "data":
                piece = data[position : position + self._left]
                position += len(piece)
                self._left -= len(piece)
                given += b"%x\r\n%b\r\n" % (len(piece), piece)
                if not self._left:
                    self._state = "end of data"
                continue
            end = data.find(b"\n", position)
            stop = len(data) if end < 0 else end + 1
            self._line += data[position:stop]
            position = stop
            if len(self._line) > _MAX_LINE:
                raise BadMessageError("a chunk has a line that is too long")
            if end >= 0:
                given += self._on_line(_line(self._line))
                self._line.clear()
        return bytes(given)

    def finish(self) -> bytes:
        """As in `Filter`."""
        return b""

    def _on_line(self, line: bytes) -> bytes:
        match self._state:
            case "size":
                match = _CHUNK.fullmatch(line)
                if match is None:
                    raise BadMessageError("a chunk's size cannot be read")
                self._left = int(match[1], 16)
                self._state = "data" if self._left else "trailer"
            case "end of data":
                if line:
                    raise BadMessageError("a chunk is longer than it says")
                self._state = "size"
            case _:
                self._trailer += len(line)
                if self._trailer > _MAX_TRAILER:
                    raise BadMessageError("there is too much after the last chunk")
                if not line:
                    self.done = True
                    return b"0\r\n\r\n"
        return b""


def _line(raw: bytes | bytearray) -> bytes:
    if not raw.endswith(b"\r\n"):
        raise BadMessageError("a line does not end with carriage return and line feed")
    line = bytes(raw[:-2])
    if b"\r" in line or b"\n" in line or b"\0" in line:
        raise BadMessageError("a line holds a control character")
    return line


def _headers(lines: list[bytes]) -> Headers:
    if len(lines) > MAX_HEADERS:
        raise BadMessageError(f"there are more than {MAX_HEADERS} headers")
    found: Headers = []
    for line in lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            raise BadMessageError("a header cannot be read")
        # Blanks are taken off here: a pattern that did so could split them in many ways, and would try all of them.
        found.append((match[1], match[2].strip(b" \t")))
    return found


def _lines(head: bytes) -> list[bytes]:
    """The lines of a head, which ends with an empty one."""
    return [_line(part + b"\n") for part in head.split(b"\n")[:-2]]


def _only(headers: Headers, name: bytes) -> bytes | None:
    """The value of a header that may be there once."""
    values = [value for key, value in headers if key.lower() == name]
    if len(values) > 1:
        raise BadMessageError(f"the header {name.decode().title()} is there {len(values)} times")
    return values[0] if values else None


def _framing(headers: Headers, *, old: bool) -> tuple[int | None, bool]:
    """How the body's end is told: its length, or None, and whether it comes in chunks."""
    length, coding = _only(headers, b"content-length"), _only(headers, b"transfer-encoding")
    if coding is not None:
        if length is not None:
            raise BadMessageError("it has both a Content-Length and a Transfer-Encoding")
        if old or coding.lower() != b"chunked":
            raise BadMessageError("its Transfer-Encoding is another than chunked")
        return None, True
    if length is not None and not re.fullmatch(rb"[0-9]{1,15}", length):
        raise BadMessageError("its Content-Length is no number")
    return (int(length) if length is not None else None), False


def _kept(headers: Headers) -> Headers:
    """The headers that are passed on as they came."""
    named = {
        part.strip().lower() for key, value in headers if key.lower() == b"connection" for part in value.split(b",")
    }
    dropped = named | _HOP_BY_HOP | _FRAMING
    return [(key, value) for key, value in headers if key.lower() not in dropped]


def _written(first: bytes, headers: Headers) -> bytes:
    return b"".join([first, b"\r\n", *(b"%b: %b\r\n" % header for header in headers), b"\r\n"])


def _authority(text: str, default: int | None) -> tuple[str, int]:
    """A host as names are compared, and a port."""
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        raise BadMessageError("the host in it is no plain host with a port")
    host = match[1]
    try:
        host = host.strip("[]").lower() if host.startswith("[") else host_name(host)
    except ValueError as error:
        raise BadMessageError(str(error)) from None
    port = int(match[2]) if match[2] else default
    if port is None or not 0 < port < 65_536:
        raise BadMessageError("it names no port that exists")
    return host, port


def read_request(head: bytes) -> Request:
    """Read a request's head.

    Args:
        head: Everything up to the empty line, with it.

    Raises:
        BadMessageError: It breaks the rules, or is not for a proxy.
    """
    lines = _lines(head)
    match = _LINE.fullmatch(lines[0]) if lines else None
    if match is None:
        raise BadMessageError("the first line is none of HTTP/1.1")
    method, target, old = match[1].decode(), match[2].decode(), match[3] == b"0"
    headers = _headers(lines[1:])
    host_header = _only(headers, b"host")
    length, chunked = _framing(headers, old=old)
    if method == "CONNECT":
        if length or chunked:
            raise BadMessageError("a CONNECT has no body")
        host, port = _authority(target, None)
        return Request(method, host, port, b"", UntilClose(), old)
    if host_header is None and not old:
        raise BadMessageError("it has no Host")
    host, port, path = _url(target)
    shown = f"[{host}]" if ":" in host else host
    framing: Headers = [(b"Host", (shown if port == 80 else f"{shown}:{port}").encode())]
    body: Filter = Length(length or 0)
    if chunked:
        framing.append((b"Transfer-Encoding", b"chunked"))
        body = Chunked()
    elif length is not None:
        framing.append((b"Content-Length", b"%d" % length))
    framing.append((b"Connection", b"close"))
    first = f"{method} {path} HTTP/1.{0 if old else 1}".encode()
    return Request(method, host, port, _written(first, framing + _kept(headers)), body, old)


def _url(target: str) -> tuple[str, int, str]:
    """Host, port and path of the URL in a request to a proxy."""
    scheme, separator, rest = target.partition("://")
    if not separator or scheme.lower() != "http":
        how = (
            "ask for https with CONNECT" if separator and scheme.lower() == "https" else "a proxy is asked for http://"
        )
        raise BadMessageError(f"it asks for something else than a URL of HTTP: {how}")
    if "#" in rest:
        raise BadMessageError("its URL has a fragment")
    match = re.match(r"[^/?]*", rest)
    authority = match[0] if match else ""
    path = rest[len(authority) :]
    if "@" in authority:
        raise BadMessageError("its URL has a user name or password: send an Authorization header")
    host, port = _authority(authority, 80)
    return host, port, path if path.startswith("/") else f"/{path}"


class Answer:
    """A server's answer: its head is read and written anew, so that the program closes the connection after it."""

    def __init__(self, request: Request) -> None:
        self.done = False
        self._request = request
        self._head = bytearray()
        self._body: Filter | None = None

    def take(self, data: bytes) -> bytes:
        """As in `Filter`."""
        try:
            return self._take(data)
        except BadMessageError as error:
            raise BadAnswerError(str(error)) from None

    def finish(self) -> bytes:
        """As in `Filter`."""
        return b"" if self._body is None else self._body.finish()

    def _take(self, data: bytes) -> bytes:
        if self._body is not None:
            return self._rest(data)
        self._head += data
        given = b""
        while self._body is None:
            end = self._head.find(b"\r\n\r\n")
            if (len(self._head) if end < 0 else end) > MAX_HEAD:
                raise BadMessageError("the answer's headers are too long")
            if end < 0:
                return given
            head, rest = bytes(self._head[: end + 4]), bytes(self._head[end + 4 :])
            self._head = bytearray(rest)
            given += self._read(head)
            if self._body is not None:
                return given + self._rest(rest)
        return given

    def _rest(self, data: bytes) -> bytes:
        assert self._body is not None
        given = self._body.take(data)
        self.done = self._body.done
        return given

    def _read(self, head: bytes) -> bytes:
        lines = _lines(head)
        match = _STATUS.fullmatch(lines[0])
        if match is None:
            raise BadMessageError("the server's first line is none of HTTP/1.1")
        first, status = b"HTTP/1.1" + lines[0][8:], int(match[1])
        headers = _headers(lines[1:])
        length, chunked = _framing(headers, old=False)
        if status < 200:
            if status == 101:
                raise BadMessageError("the server changes to another protocol, which is not passed on")
            return _written(first, _kept(headers))
        framing: Headers = [(b"Connection", b"close")]
        bodiless = self._request.method == "HEAD" or status in (204, 304)
        if length is not None:
            framing.append((b"Content-Length", b"%d" % length))
        elif chunked or not (bodiless or self._request.old):
            framing.append((b"Transfer-Encoding", b"chunked"))
        if bodiless:
            self._body = Length(0)
        elif chunked:
            self._body = Chunked()
        elif length is not None:
            self._body = Length(length)
        else:
            self._body = UntilClose() if self._request.old else IntoChunks()
        return _written(first, framing + _kept(headers))


def plain_answer(status: int, sentence: str) -> bytes:
    """An answer of the proxy's own. The sentence is its reason phrase, too: most clients show nothing else."""
    text = cut("".join(char if " " <= char <= "~" else "?" for char in sentence), 1000)
    body = f"{text}\n".encode()
    headers: Headers = [
        (b"Content-Type", b"text/plain; charset=utf-8"),
        (b"Content-Length", b"%d" % len(body)),
        (b"Connection", b"close"),
    ]
    return _written(f"HTTP/1.1 {status} {text}".encode(), headers) + body
