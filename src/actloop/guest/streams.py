"""Standard output, error and input of the user's code."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .framing import pack
from .wire import OUTPUT_NOTICE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .channel import Channel
    from .interrupts import Gate


class Writer:
    """What `sys.stdout` and `sys.stderr` are: text goes to the host in batches, up to a limit per snippet."""

    encoding = "utf-8"
    errors = "replace"
    newlines = None
    closed = False
    line_buffering = True
    mode = "w"

    def __init__(self, name: str, put: Callable[[str], None], flush: Callable[[], None]) -> None:
        self.name = name
        self._put = put
        self._flush = flush

    def write(self, text: str) -> int:
        if not isinstance(text, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._put(text)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        self._flush()

    def isatty(self) -> bool:
        return False

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def close(self) -> None:
        self._flush()

    def fileno(self) -> int:
        import io

        raise io.UnsupportedOperation("fileno")

    @property
    def buffer(self) -> _BytesWriter:
        return _BytesWriter(self)

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, *error: object) -> None:
        self._flush()


class _BytesWriter:
    def __init__(self, text: Writer) -> None:
        self._text = text

    def write(self, data: bytes) -> int:
        self._text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)

    def flush(self) -> None:
        self._text.flush()


class NoInput:
    """What `sys.stdin` is."""

    encoding = "utf-8"
    errors = "strict"
    closed = False

    def read(self, _size: int = -1) -> str:
        raise EOFError(NO_INPUT)

    readline = readlines = __next__ = read

    def __iter__(self) -> NoInput:
        return self

    def isatty(self) -> bool:
        return False

    def fileno(self) -> int:
        import io

        raise io.UnsupportedOperation("fileno")


_WINDOW = 0.05
"""Seconds that printed lines are held back at most, once there were too many to send each for itself."""

_AT_ONCE = 64
"""Lines within one window that are each sent at once, so that they arrive whatever becomes of the program then."""

_FULL = 8192

NO_INPUT = "input() is not available: nobody can type here"


class Output:
    """Collects printed text and sends it to the host."""

    def __init__(self, channel: Channel, gate: Gate, limit: int) -> None:
        import _thread
        import time

        self._channel = channel
        self._gate = gate
        self._limit = limit
        self._lock = _thread.allocate_lock()
        self._clock = time.monotonic
        self._parts: list[str] = []
        self._size = 0
        self._left = limit
        self._since = 0.0
        self._lines = 0
        self._wanted = False

    @property
    def waiting(self) -> bool:
        """True if text is held back."""
        return bool(self._parts)

    def begin(self) -> None:
        self._left = self._limit
        self._lines = 0
        self._since = self._clock()

    def mute(self) -> None:
        """Drop what is printed before the next snippet begins."""
        self._left = -1

    def put(self, text: str) -> None:
        if self._left < 0:
            return
        entered = self._gate.enter()
        try:
            with self._lock:
                size = len(text)
                if size > self._left:
                    if self._left < 0:
                        return
                    text = text[: self._left] + OUTPUT_NOTICE.replace("LIMIT", f"{self._limit:,}")
                    self._left = -1
                else:
                    self._left -= size
                self._parts.append(text)
                self._size += len(text)
                if (self._size > _FULL or (text[-1:] == "\n" and self._due())) and self._channel.running:
                    self._send()
            if self._wanted:
                self._flush_wanted()
        finally:
            if entered:
                self._gate.leave()

    def _due(self) -> bool:
        """Whether a line is to be sent at once."""
        now = self._clock()
        if now - self._since > _WINDOW:
            self._since, self._lines = now, 0
        self._lines += 1
        return self._lines <= _AT_ONCE

    def flush(self) -> None:
        """Send what is held back."""
        if not self._parts:
            return
        entered = self._gate.enter()
        try:
            with self._lock:
                if self._channel.running:
                    self._send()
        finally:
            if entered:
                self._gate.leave()

    def flush_if_free(self) -> None:
        """Send what is held back, now or once a thread has printed; for a signal's handler, which must not wait."""
        self._wanted = True
        self._flush_wanted()

    def _flush_wanted(self) -> None:
        while self._wanted and self._lock.acquire(False):
            try:
                self._wanted = False
                if self._channel.running:
                    self._send()
            finally:
                self._lock.release()

    def flush_now(self) -> None:
        """Send what is held back; for the guest's own code."""
        with self._lock:
            self._send()

    def _send(self) -> None:
        if not self._parts:
            return
        text = "".join(self._parts)
        self._parts.clear()
        self._size = 0
        for start in range(0, len(text), 1 << 20):
            self._channel.send(pack({"t": "printed", "text": text[start : start + (1 << 20)]}, self._channel.limit))


def no_input(_prompt: object = "", /) -> str:
    raise EOFError(NO_INPUT)
