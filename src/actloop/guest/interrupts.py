"""Signals from the host, let through at moments that leave nothing half done."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


class TimeUp(KeyboardInterrupt):
    """The snippet ran out of time. A kind of KeyboardInterrupt, so that asyncio lets it through."""


TimeUp.__name__ = TimeUp.__qualname__ = "TimeoutError"
TimeUp.__module__ = "builtins"


class SnippetStopped(KeyboardInterrupt):
    """The host ended the snippet at a tool call: its answer was given."""


_IDLE, _CLOSED, _WAITING, _USER = range(4)


class Gate:
    """Decides when a signal may raise in the main thread: in the user's code and while waiting, never in between.

    Within the guest's own code a signal is only noted, and raises when the user's code goes on. So no message is cut
    short and no lock is left held.
    """

    def __init__(self, wall: float | None, cpu: float | None = None) -> None:
        import threading
        import time

        self._ident = threading.get_ident
        self.main = self._ident()
        self._state = _IDLE
        self._pending: BaseException | None = None
        self._wall = wall
        self._cpu = cpu
        self._used, self._now = time.process_time, time.monotonic
        self._began = self._since = 0.0
        self._limit = 0
        self.before_end: Callable[[], None] = lambda: None
        """Called when a signal is about to end the user's code, which may not obey and be killed."""

    def install(self) -> None:
        """Take over the three signals that the host and the guest itself send."""
        import signal

        for number in (signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2):
            sys.modules["_signal"].signal(number, self._on_signal)  # in `signal`, enums take longer than all else here

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        import signal

        if self._state == _IDLE:
            return
        if number == signal.SIGUSR1:
            error: BaseException = TimeUp(self._why())
        elif number == signal.SIGUSR2:
            error = SnippetStopped()
        else:
            error = KeyboardInterrupt("interrupted by the user")
        if self._state == _CLOSED:
            self._pending = self._pending or error
            return
        if self._state == _WAITING:
            self._state = _CLOSED
        self.before_end()
        raise error

    def _why(self) -> str:
        early = self._wall is None or self._now() - self._since < 0.95 * self._wall
        if self._cpu is not None and (early or self._used() - self._began >= 0.95 * self._cpu):  # or of its children
            return f"the code used more than {self._cpu:g} seconds of processor time"
        return f"the code ran longer than {self._wall:g} seconds" if self._wall else ""

    def on_main(self) -> bool:
        """True in the thread that runs the user's program."""
        return self._ident() == self.main

    def open(self) -> None:
        """The user's code begins."""
        self._pending = None
        self._since = self._now()
        if self._cpu is not None:
            self._began = self._used()
        self._state = _USER

    def close(self) -> None:
        """The user's code has ended; signals are noted until `idle`."""
        self._state = _CLOSED

    def idle(self) -> None:
        """Nothing runs; signals that come late mean nothing."""
        self._state = _IDLE
        self._pending = None

    def enter(self) -> bool:
        """The guest's own code begins, called by the user's; True if it has to be left again."""
        if self._ident() != self.main or self._state != _USER:
            return False
        self._state = _CLOSED
        self._limit = sys.getrecursionlimit()
        sys.setrecursionlimit(self._limit + 400)  # a call at the edge of the user's recursion must not break half-way
        return True

    def leave(self) -> None:
        """Back to the user's code; a signal noted meanwhile raises now."""
        if self._pending is not None:
            self.before_end()
        sys.setrecursionlimit(self._limit)
        self._state = _USER
        if self._pending is not None:
            error, self._pending = self._pending, None
            raise error

    def waiting(self, wait: Callable[..., Any], *args: Any) -> None:
        """Wait in such a way that a signal may raise, if this is the main thread and the user's code waits."""
        if self._ident() != self.main or self._state != _CLOSED:
            wait(*args)
            return
        if self._pending is not None:
            self.before_end()
            error, self._pending = self._pending, None
            raise error
        self._state = _WAITING
        try:
            wait(*args)
        finally:
            self._state = _CLOSED
