"""What a TLS client says in plain text, without I/O: whom does it mean to speak to (RFC 8446, 6066)?

A tunnel is opened for one name. A client that then asks the server for another one would reach a host that was not
named, through a server that stands in front of many (domain fronting). It may ask more than once: a server that wants
another key first (HelloRetryRequest) takes the name from the second hello.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actloop.errors import ForbiddenAddressError
from actloop.values.cuts import cut

if TYPE_CHECKING:
    from actloop.values.addresses import Address

_CHANGE_CIPHER, _HANDSHAKE = 20, 22
_KINDS = range(20, 25)
"""Kinds of records; alerts, what is encrypted, and heartbeats besides."""

_CLIENT_HELLO = 1
_SERVER_NAME, _ENCRYPTED_HELLO = 0, 0xFE0D
_MAX_RECORD = (1 << 14) + 2048
_MAX_HELLO = 1 << 14
_MAX_RECORDS = 8
_LONGEST = 1 << 18
"""Bytes from which on no server reads a hello: what would be one is a part of something encrypted."""
_NO_HANDSHAKE = "it does not begin with a TLS handshake"

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
    """Holds what a tunnel's client says back until it is known whom it means.

    The first hello comes first and alone. Later ones are looked for as long as the tunnel stands: what has the form of
    something encrypted may be none (a server that was promised early data skips it, and then reads a second hello).

    Args:
        host: The name or address that the tunnel was opened for.
        address: The address, if the host is one: clients name no host then.
    """

    def __init__(self, host: str, address: Address | None) -> None:
        self.done = False
        self._host = host
        self._named = address is None
        self._held = bytearray()
        self._first = bytearray()
        """Records of the first hello, while it is not whole."""
        self._records = 0
        self._checked = False
        self._passing = 0
        """How many bytes of the record that has begun go through as they are."""
        self._begun = bytearray()
        """What there is of a message; from its fifth byte on, of a hello."""
        self._skipped = 0
        """How many bytes of another message are still to come."""
        self._changed = False
        """Whether handshakes may be encrypted from now on; a second hello of TLS 1.3 still is not."""

    def take(self, data: bytes) -> bytes:
        """As in `http1.Filter`.

        Raises:
            NoTlsError: The client does not speak TLS.
            ForbiddenAddressError: It means another host.
        """
        if not self._held and len(data) <= self._passing:
            self._passing -= len(data)
            return data
        self._held += data
        given = bytearray()
        while self._held:
            if not self._passing and not self._next(given):
                break
            given += self._held[: self._passing]
            taken = min(self._passing, len(self._held))
            self._passing -= taken
            del self._held[:taken]
        return bytes(given)

    def _next(self, given: bytearray) -> bool:
        """Look at the record that begins here; False while too little of it is there."""
        kind = self._held[0]
        wrong = "something in it is no TLS" if self._checked else _NO_HANDSHAKE
        if kind not in _KINDS or (kind != _HANDSHAKE and not self._checked):
            raise NoTlsError(wrong)
        if len(self._held) < 5:
            return False
        size = int.from_bytes(self._held[3:5], "big")
        if self._held[1] != 3 or (kind == _HANDSHAKE and size > _MAX_RECORD) or not (size or self._checked):
            raise NoTlsError(wrong)
        if kind != _HANDSHAKE:
            if kind == _CHANGE_CIPHER:
                self._changed, self._skipped = True, 0
            self._passing = 5 + size
            return True
        if len(self._held) < 5 + size:
            return False
        record = bytes(self._held[: 5 + size])
        del self._held[: 5 + size]
        if self._checked:
            self._later(record[5:])
            given += record
        else:
            self._first += record
            self._begin(record[5:])
            given += self._first if self._checked else b""
        return True

    def _begin(self, content: bytes) -> None:
        """Read a part of the first hello."""
        self._records += 1
        self._begun += content
        size = self._size()
        if self._begun[0] != _CLIENT_HELLO or size > _MAX_HELLO:
            raise NoTlsError(_NO_HANDSHAKE)
        if len(self._begun) >= 4 and len(self._begun) > 4 + size:
            raise NoTlsError("something follows its first message at once")
        self._check_whole()
        if not self._checked and self._records >= _MAX_RECORDS:
            raise NoTlsError("its first message comes in too many pieces")

    def _later(self, content: bytes) -> None:
        """Look for hellos in a later record of a handshake; a message may have begun in the record before."""
        while content:
            if self._skipped:
                skipped = min(self._skipped, len(content))
                self._skipped -= skipped
                content = content[skipped:]
                continue
            if self._changed and not self._begun and content[0] != _CLIENT_HELLO:
                return
            wanted = 4 + self._size() if len(self._begun) >= 4 else 4
            part = content[: wanted - len(self._begun)]
            self._begun += part
            content = content[len(part) :]
            if len(self._begun) < 4:
                continue
            if self._begun[0] != _CLIENT_HELLO:
                self._skipped = self._size()
                self._begun.clear()
            elif self._changed and self._size() > _LONGEST:
                self._begun.clear()
                return
            elif len(self._begun) > 4 + _MAX_HELLO:
                raise NoTlsError("a message in it is too long")
            else:
                self._check_whole()

    def _size(self) -> int:
        """How long the message is that has begun, as far as that is known."""
        return int.from_bytes(self._begun[1:4], "big") if len(self._begun) >= 4 else 0

    def _check_whole(self) -> None:
        if len(self._begun) >= 4 and len(self._begun) == 4 + self._size():
            self._check(_extensions(bytes(self._begun[4:])))
            self._begun.clear()
            self._checked = True

    def finish(self) -> bytes:
        """As in `http1.Filter`."""
        return b""

    def _check(self, extensions: dict[int, bytes]) -> None:
        if _ENCRYPTED_HELLO in extensions:
            raise ForbiddenAddressError("an encrypted Client Hello hides which host is meant, and is refused")
        extension = extensions.get(_SERVER_NAME)
        meant = _server_name(extension) if extension is not None else ""
        if meant.removesuffix(".") != (self._host if self._named else ""):
            said = f"names {cut(meant, 100)!r}" if meant else "names no host"
            raise ForbiddenAddressError(f"a tunnel to {self._host} was opened, and the TLS in it {said}: refused")
