"""Several byte streams over one: how the keeper of a sandbox and its host share the only stream between them.

What travels are frames: one byte of kind, four of a stream's number, four of a length, then that many bytes. Stream 0
is the guest's own protocol, the others are connections of its programs. Each stream has a window: so many bytes may be
under way until the receiver has passed them on. So a stream that nobody reads holds up no other, and neither side
ever holds more than a window for each.
"""

from __future__ import annotations

import binascii
import struct
from typing import TYPE_CHECKING

from .values import WireError

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator


class Frame:
    """Kinds of frames."""

    DATA = 1
    """Bytes of a stream."""
    CREDIT = 2
    """So many bytes of a stream were passed on: four bytes."""
    OPEN = 3
    """A new stream; only the keeper opens any."""
    END = 4
    """Nothing more comes on a stream."""
    STOP = 5
    """Nothing more is taken on a stream. Before its `END`, that asks for it, and what comes is thrown away. Each side
    says both of every stream, and nothing of it after that."""
    SIGNAL = 6
    """Send the guest a signal: one byte."""
    PAUSE = 7
    """Give the guest no time."""
    RESUME = 8
    """End a pause."""
    KILL = 9
    """Kill the guest and all that it started."""
    PING = 10
    """Answer with `PONG`: four bytes of the host's choice."""
    PONG = 11
    """Those four bytes, then the processor time of all that the guest started: eight bytes, a float."""
    EXIT = 12
    """The guest has ended: four bytes, its status, or the number of the signal that it died of, negated."""


FRAME = struct.Struct(">BII")
COUNT = struct.Struct(">I")
STATUS = struct.Struct(">i")
BEAT = struct.Struct(">Id")

MAX_FRAME = 1 << 16
"""Bytes that follow the head of a frame at most."""

MAX_STREAMS = 64
"""Connections of programs that may exist at once."""

_MAX_LINE = 1 << 20
_LINE = 3 << 14  # bytes that one armored line stands for; a multiple of 3


def frame(kind: int, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    return FRAME.pack(kind, stream, len(payload)) + payload


def armored(data: bytes) -> bytes:
    """Bytes as lines of base64, for services whose streams are text."""
    return b"".join(
        binascii.b2a_base64(data[start : start + _LINE], newline=True) for start in range(0, len(data), _LINE)
    )


class FrameReader:
    """Cuts bytes, as they come, into frames.

    Args:
        armor: They come as lines of base64.
    """

    def __init__(self, armor: bool) -> None:
        self._armor = armor
        self._line = bytearray()
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[tuple[int, int, bytes]]:
        """The frames that are whole now: kind, stream and payload.

        Raises:
            WireError: These are no frames.
        """
        self._data += self._plain(data) if self._armor else data
        start = 0
        while len(self._data) - start >= FRAME.size:
            kind, stream, length = FRAME.unpack_from(self._data, start)
            if length > MAX_FRAME or not Frame.DATA <= kind <= Frame.EXIT:
                raise WireError("a stream that carries others holds something else than frames")
            end = start + FRAME.size + length
            if len(self._data) < end:
                break
            yield kind, stream, bytes(self._data[start + FRAME.size : end])
            start = end
        del self._data[:start]

    def _plain(self, data: bytes) -> bytes:
        self._line += data
        *lines, rest = self._line.split(b"\n")
        if len(rest) > _MAX_LINE:
            raise WireError("a stream of base64 lines holds a line without end")
        self._line = rest
        try:
            return b"".join(binascii.a2b_base64(line.strip(), strict_mode=True) for line in lines if line.strip())
        except binascii.Error as error:
            raise WireError(f"a stream of base64 lines holds something else: {error}") from None


class Stream:
    """One of the streams: a socket on this side, its like on the other.

    Args:
        number: Its number, on both sides.
        end: A stream socket; what comes out of it travels, and what travelled goes into it. Closed by `close`.

    Attributes:
        unsent: What arrived and does not fit into the socket yet.
        ended: This side has said that nothing more comes.
        over: The other side has, or is gone.
    """

    def __init__(self, number: int, end: socket.socket) -> None:
        end.setblocking(False)
        self.number = number
        self.socket = end
        self.unsent = bytearray()
        self.ended = self.over = False
        self._window = 1 << (18 if number else 20)
        self._room = self._granted = self._window
        self._owed = 0
        self._stopped = self._refused = False
        self._due: list[bytes] = []

    @property
    def readable(self) -> bool:
        """True when what its socket holds may travel."""
        return not self.ended and self._room > 0

    @property
    def done(self) -> bool:
        """True when neither side will say anything more of it."""
        return self.ended and self.over and self._stopped and self._refused and not self._due

    @property
    def waiting(self) -> bool:
        """True when something is left to do that no frame from the other side asks for."""
        return bool(self.unsent or self._due or (self._owed >= self._window // 4 and not self._stopped))

    def read(self) -> bytes:
        """What its socket holds as a frame, as much as may travel; empty when there is nothing."""
        if not self.readable:
            return b""
        try:
            data = self.socket.recv(min(self._room, MAX_FRAME))
        except (BlockingIOError, InterruptedError):
            return b""
        except OSError:
            data = b""
        if not data:
            return self.end()
        self._room -= len(data)
        return frame(Frame.DATA, self.number, data)

    def end(self) -> bytes:
        """Let nothing more travel from here; the frame that says so, once."""
        if self.ended:
            return b""
        self.ended = True
        return frame(Frame.END, self.number)

    def take(self, kind: int, payload: bytes) -> None:
        """Take a frame of this stream, and pass on what fits.

        Raises:
            WireError: The other side may not send that.
        """
        if kind == Frame.DATA and 0 < len(payload) <= self._granted and not self.over:
            self._granted -= len(payload)
            if not self._stopped:
                self.unsent += payload
                self.flush()
        elif kind == Frame.CREDIT and len(payload) == COUNT.size and not self._refused:
            (count,) = COUNT.unpack(payload)
            if not 0 < count <= self._window - self._room:
                raise WireError("more of a stream was passed on than had been sent")
            self._room += count
        elif kind == Frame.END and not payload and not self.over:
            self.over = True
            self.flush()
        elif kind == Frame.STOP and not payload and not self._refused:
            self._refused = True
            if not self.ended:
                self._due.append(self.end())
        else:
            raise WireError("a stream got more than its window, or went on after its end")

    def flush(self) -> None:
        """Write what arrived into the socket, as much as fits."""
        try:
            while self.unsent:
                sent = self.socket.send(self.unsent)
                del self.unsent[:sent]
                self._owed += sent
            if self.over and not self._stopped:
                self._stop()
                self.socket.shutdown(1)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.unsent.clear()
            self._stop()

    def _stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._due.append(frame(Frame.STOP, self.number))

    def due(self) -> bytes:
        """Frames that say what was passed on, and what else the other side must know."""
        if self._owed >= self._window // 4 and not self._stopped:
            self._due.append(frame(Frame.CREDIT, self.number, COUNT.pack(self._owed)))
            self._granted += self._owed
            self._owed = 0
        if not self._due:
            return b""
        frames = b"".join(self._due)
        self._due.clear()
        return frames

    def close(self) -> None:
        """Close its socket; idempotent."""
        self.socket.close()
