"""The stream on platforms without threads and without a way to wait for descriptors: Python in WebAssembly."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_BELL = struct.Struct("<d?")  # seconds, negative for ever; whether input ends it


class PlainLine:
    """A stream beside a bell: a descriptor to which writing waits, for a time or until there is something to read.

    Args:
        fd: The stream: reading never waits, writing does.
        bell: The bell.
    """

    def __init__(self, fd: int, bell: int) -> None:
        self.fd = fd
        self._bell = bell

    def wait(self, seconds: float = -1.0, *, for_input: bool = True) -> None:
        """Wait until there is something to read, or the time has passed; a negative time is endless."""
        os.write(self._bell, _BELL.pack(seconds, for_input))

    def sleep(self, seconds: float, /) -> None:
        """What `time.sleep` is."""
        seconds = float(seconds)
        if not seconds >= 0:
            raise ValueError("sleep length must be non-negative")
        self.wait(seconds, for_input=False)

    def read(self) -> bytes:
        """As in `Line`."""
        return os.read(self.fd, 65_536)

    def write(self, frame: bytes) -> None:
        """As in `Line`."""
        rest = memoryview(frame)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def wake(self) -> None:
        """As in `Line`: no other thread waits here."""

    def woken(self) -> None:
        """As in `Line`."""

    def install(self) -> None:
        """Have the standard library wait by the bell: it would turn in circles instead, and hear no signal."""
        import asyncio
        import time

        time.sleep = self.sleep
        asyncio.run = asyncio.runners.run
        asyncio.events._set_running_loop(None)  # the platform's own, which never turns while programs run
        asyncio.events._event_loop_policy = _Policy(self)  # pyright: ignore[reportAttributeAccessIssue]


class _Policy:
    """Which event loop `asyncio` takes: one that waits by the bell."""

    def __init__(self, line: PlainLine) -> None:
        self._line = line
        self._loop: Any = None

    def get_event_loop(self) -> Any:
        if self._loop is None:
            raise RuntimeError("There is no current event loop in thread 'MainThread'.")
        return self._loop

    def set_event_loop(self, loop: Any) -> None:
        self._loop = loop

    def new_event_loop(self) -> Any:
        return _loop(self._line)


def _loop(line: PlainLine) -> Any:
    """A new event loop that can read from the line, and from nothing else."""
    import asyncio

    class PlainLoop(asyncio.BaseEventLoop):
        def __init__(self) -> None:
            super().__init__()
            self._selector = self
            self._readers: dict[Any, Callable[[], object]] = {}

        def select(self, timeout: float | None) -> list[Callable[[], object]]:
            """What `BaseEventLoop` waits by; gives what wants to read."""
            line.wait(-1.0 if timeout is None else timeout, for_input=bool(self._readers))
            return list(self._readers.values())

        def _process_events(self, event_list: list[Callable[[], object]]) -> None:
            for read in event_list:
                self.call_soon(read)

        def _write_to_self(self) -> None:
            """Nobody else could wake it."""

        def add_reader(self, fd: Any, callback: Callable[..., object], *args: Any) -> None:
            self._readers[fd] = lambda: callback(*args)

        def remove_reader(self, fd: Any) -> bool:
            return self._readers.pop(fd, None) is not None

    return PlainLoop()
