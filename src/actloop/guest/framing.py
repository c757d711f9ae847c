"""Messages as frames of bytes, and a stream of bytes cut into messages; without I/O."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, cast

from .decode import Decoder, check_json, decode_short, is_short
from .encode import Encoder, dumps, is_plain
from .values import EncodeError, WireError
from .wire import MAX_BLOBS, MAX_VALUE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


_HEADER = struct.Struct(">III")  # bytes of JSON text, number of blobs, bytes of all blobs


def pack(message: Mapping[str, Any], limit: int = MAX_VALUE, keep: Callable[[Any], int | None] | None = None) -> bytes:
    """A message as one frame.

    Args:
        message: What to send; the names of its fields are short, and none of them is `TAG`.
        limit: Bytes that it may take.
        keep: Gives a handle for a value that cannot be sent, by which it will be known when it comes back; or None.

    Raises:
        EncodeError: It cannot be sent.
    """
    blobs: list[bytes] = []
    if is_plain(message.values()):
        text = dumps(message)
    else:
        encoder = Encoder(limit, keep=keep)
        text, blobs = encoder.text(message), encoder.blobs
    try:
        if 32 * len(text) > limit:
            check_json(text, limit)
    except WireError:
        raise EncodeError(
            f"the value has too many parts to be sent: at most {limit:,} bytes may cross at once"
        ) from None
    raw = text.encode("utf-8", "surrogatepass")
    total = sum(map(len, blobs)) if blobs else 0
    if len(raw) + total > limit:
        raise EncodeError(f"the value is too large to be sent: at most {limit:,} bytes may cross at once")
    if not blobs:
        return _HEADER.pack(len(raw), 0, 0) + raw
    sizes = struct.pack(f">{len(blobs)}I", *map(len, blobs))
    return b"".join((_HEADER.pack(len(raw), len(blobs), total), sizes, raw, *blobs))


class Unpacker:
    """Cuts a stream of bytes into messages. Call `next` until it gives None before feeding more bytes.

    Args:
        limit: Bytes that one message may take; what is announced to be larger is refused before it arrives.
        held: Values that were sent as handles, by these.
    """

    def __init__(self, limit: int = MAX_VALUE, held: Mapping[int, Any] | None = None) -> None:
        self._held = held
        self._buffer = bytearray()
        self._limit = limit
        self._needed = _HEADER.size

    @property
    def waiting(self) -> int:
        """Bytes that belong to a message that is not complete yet."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take bytes as they came."""
        self._buffer += data

    def next(self) -> dict[str, Any] | None:
        """The next whole message, or None.

        Raises:
            WireError: The bytes are malformed; the stream cannot go on.
        """
        frame = self.cut()
        return None if frame is None else self.read(frame)

    def cut(self) -> bytearray | None:
        """The frame of the next whole message, or None.

        Raises:
            WireError: It is too large; the stream cannot go on.
        """
        if len(self._buffer) < self._needed:
            return None
        length, count, total = _HEADER.unpack_from(self._buffer)
        if count > MAX_BLOBS or length + total > self._limit:
            raise WireError("a message is too large")
        end = _HEADER.size + 4 * count + length + total
        if len(self._buffer) < end:
            self._needed = end
            return None
        self._needed = _HEADER.size
        frame = self._buffer[:end]
        del self._buffer[:end]
        return frame

    def read(self, frame: bytearray) -> dict[str, Any]:
        """The message of a frame; may be called in any thread.

        Raises:
            WireError: The bytes are malformed; the stream cannot go on.
        """
        length, count, total = _HEADER.unpack_from(frame)
        start = _HEADER.size + 4 * count
        sizes = struct.unpack_from(f">{count}I", frame, _HEADER.size) if count else ()
        if sum(sizes) != total:
            raise WireError("the sizes of a message do not agree")
        try:
            text = frame[start : start + length].decode("utf-8", "surrogatepass")
        except UnicodeDecodeError:
            raise WireError("a message is not text") from None
        blobs: list[bytes] = []
        place = start + length
        for size in sizes:
            blobs.append(bytes(frame[place : place + size]))
            place += size
        if not blobs and is_short(text):
            message = decode_short(text)
        else:
            message = Decoder(blobs, limit=self._limit, held=self._held).decode(text)
        if type(message) is not dict:
            raise WireError("a message is not an object")
        return cast("dict[str, Any]", message)
