"""The first message of a TLS connection, without I/O: whom does the client mean to speak to (RFC 8446, 6066)?

A tunnel is opened for one name. A client that then asks the server for another one would reach a host that was not
named, through a server that stands in front of many (domain fronting).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actloop.errors import ForbiddenAddressError

if TYPE_CHECKING:
    from actloop.values.addresses import Address

_HANDSHAKE, _CLIENT_HELLO = 22, 1
_SERVER_NAME, _ENCRYPTED_HELLO = 0, 0xFE0D
_MAX_RECORD = (1 << 14) + 256
_MAX_HELLO = 1 << 14
_MAX_RECORDS = 8

ACCESS_DENIED = b"\x15\x03\x01\x00\x02\x02\x31"
"""A fatal alert: the client sees that access was denied."""


class NoTlsError(Exception):
    """What the client sent is no TLS."""


class _Reader:
    """Takes apart bytes in which lengths precede what they measure."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bool__(self) -> bool:
        return bool(self._data)

    def number(self, size: int) -> int:
        return int.from_bytes(self.raw(size), "big")

    def raw(self, size: int) -> bytes:
        if size > len(self._data):
            raise NoTlsError("its first message is cut short")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def block(self, size: int) -> _Reader:
        """What a length of so many bytes measures."""
        return _Reader(self.raw(self.number(size)))


def _message(data: bytes) -> bytes | None:
    """The first handshake message in some records; None while it is not whole."""
    message = b""
    for _ in range(_MAX_RECORDS):
        if len(data) < 5:
            break
        kind, major, size = data[0], data[1], int.from_bytes(data[3:5], "big")
        if kind != _HANDSHAKE or major != 3 or not 0 < size <= _MAX_RECORD:
            raise NoTlsError("it does not begin with a TLS handshake")
        message += data[5 : 5 + size]
        if len(message) >= 4:
            length = int.from_bytes(message[1:4], "big")
            if message[0] != _CLIENT_HELLO or length > _MAX_HELLO:
                raise NoTlsError("it does not begin with a TLS handshake")
            if len(message) > 4 + length:
                raise NoTlsError("something follows its first message at once")
            if len(message) == 4 + length and len(data) >= 5 + size:
                return message[4:]
        data = data[5 + size :]
    else:
        raise NoTlsError("its first message comes in too many pieces")
    if data and data[0] != _HANDSHAKE:
        raise NoTlsError("it does not begin with a TLS handshake")
    return None


def _extensions(hello: bytes) -> dict[int, bytes]:
    reader = _Reader(hello)
    reader.raw(2 + 32)
    reader.block(1)
    reader.block(2)
    reader.block(1)
    found: dict[int, bytes] = {}
    if not reader:
        return found
    extensions = reader.block(2)
    while extensions:
        kind = extensions.number(2)
        if kind in found:
            raise NoTlsError("its first message says something twice")
        found[kind] = extensions.raw(extensions.number(2))
    return found


def _server_name(extension: bytes) -> str:
    names = _Reader(extension).block(2)
    kind, name = names.number(1), names.raw(names.number(2))
    if kind or names:
        raise NoTlsError("it names more than one host")
    return name.decode("latin-1").lower()


class Hello:
    """Holds a tunnel's first bytes back until they tell whom the client means; then everything passes.

    Args:
        host: The name or address that the tunnel was opened for.
        address: The address, if the host is one: clients name no host then.
    """

    def __init__(self, host: str, address: Address | None) -> None:
        self.done = False
        self._host = host
        self._named = address is None
        self._held = b""
        self._checked = False

    def take(self, data: bytes) -> bytes:
        """As in `http1.Filter`.

        Raises:
            NoTlsError: The client does not speak TLS.
            ForbiddenAddressError: It means another host.
        """
        if self._checked:
            return data
        self._held += data
        message = _message(self._held)
        if message is None:
            if len(self._held) > 2 * _MAX_HELLO:
                raise NoTlsError("its first message is too long")
            return b""
        self._check(_extensions(message))
        self._checked = True
        held, self._held = self._held, b""
        return held

    def finish(self) -> bytes:
        """As in `http1.Filter`."""
        return b""

    def _check(self, extensions: dict[int, bytes]) -> None:
        if _ENCRYPTED_HELLO in extensions:
            raise ForbiddenAddressError("an encrypted Client Hello hides which host is meant, and is refused")
        extension = extensions.get(_SERVER_NAME)
        meant = _server_name(extension) if extension is not None else ""
        if meant.removesuffix(".") != (self._host if self._named else ""):
            said = f"names {meant[:100]!r}" if meant else "names no host"
            raise ForbiddenAddressError(f"a tunnel to {self._host} was opened, and the TLS in it {said}: refused")
