"""The stream to a guest: messages in, frames out. Waiting is the caller's."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from actloop.errors import ProtocolError
from actloop.executors.session import Printed

if TYPE_CHECKING:
    import socket
    import threading

    from actloop.executors.protocol import Event, HostProtocol
    from actloop.executors.session import Waiter

_CHUNK = 1 << 16
"""Bytes that are read at once; for more, the C library maps memory each time, which takes longer than reading."""

_MOST_LAST = 64
"""Pieces that are still read from a guest that was killed."""

_SHORT = 4096
"""Bytes of a message that takes no time to read."""


class GuestStream:
    """Both ways of the stream.

    Args:
        channel: The host's end.
        protocol: What is said on it.
        lock: The session's: who reads the stream, writes it or changes what the protocol knows holds it.
        most: Bytes that are read ahead from a guest that does not read itself.
    """

    def __init__(self, channel: socket.socket, protocol: HostProtocol, lock: threading.RLock, most: int) -> None:
        self._channel = channel
        self._channel.setblocking(False)
        self._protocol = protocol
        self._lock = lock
        self._most = most
        self._unsent = bytearray()

    # ---- in

    async def event(self, waiter: Waiter) -> Event | None:
        """The next message that has come whole, or None. It is read without the lock, which others wait for.

        Raises:
            ProtocolError: It is none, or none that may come now.
        """
        if not self._protocol.waiting:
            return None
        with self._lock:
            frame = self._protocol.next_frame()
        if frame is None:
            return None
        read = self._protocol.read
        message = read(frame) if len(frame) <= _SHORT else await waiter.compute(read, frame)
        with self._lock:
            return self._protocol.accept(message)

    async def more(self, waiter: Waiter, timeout: float | None) -> bool:
        """Wait for bytes, so many seconds at most, and take in what is there; False at the end of the stream."""
        return not await self._ready(waiter, timeout) or self._take_in()

    async def _ready(self, waiter: Waiter, timeout: float | None, *, write: bool = False) -> bool:
        fd = self._channel.fileno()
        return fd < 0 or await waiter.ready(fd, write=write, timeout=timeout)

    def _take_in(self) -> bool:
        with self._lock:
            try:
                data = self._channel.recv(_CHUNK)
            except (BlockingIOError, InterruptedError):
                return True
            except OSError:
                return False
            if data:
                self._protocol.receive(data)
            return bool(data)

    def last_words(self, event: Event | None) -> Printed | None:
        """What a guest that was just killed had printed and is not read yet: what has arrived of that."""
        texts: list[str] = []
        with self._lock, suppress(ProtocolError, OSError):
            for _ in range(_MOST_LAST):
                while event is not None:
                    if isinstance(event, Printed):
                        texts.append(event.text)
                    event = self._protocol.next_event()
                data = self._channel.recv(_CHUNK)
                if not data:
                    break
                self._protocol.receive(data)
                event = self._protocol.next_event()
        return Printed("".join(texts)) if texts else None

    # ---- out

    def send(self, frame: bytes) -> bool:
        """Write what fits of a frame, and keep the rest; whether nothing is left. The lock is held."""
        if not self._unsent:
            try:
                sent = self._channel.send(frame)
            except (BlockingIOError, InterruptedError):
                sent = 0
            except OSError:
                return True  # the guest has died, which shows when it is read
            if sent == len(frame):
                return True
            self._unsent += memoryview(frame)[sent:]
            return False
        self._unsent += frame
        return self.flush()

    def flush(self) -> bool:
        """Write what fits of what is left; whether nothing is."""
        with self._lock:
            try:
                while self._unsent:
                    sent = self._channel.send(memoryview(self._unsent)[: 1 << 20])
                    del self._unsent[:sent]
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self._unsent.clear()
            return True

    async def room(self, waiter: Waiter, timeout: float) -> None:
        """Wait for room to write, so many seconds at most; or read what a guest sends that does not read itself.

        So two full streams do not block.
        """
        before = self._protocol.waiting
        reading = before < self._most and self._take_in() and self._protocol.waiting > before
        await self._ready(waiter, timeout, write=not reading)
