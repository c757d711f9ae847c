"""The user's interrupt of a snippet: a signal, one more for a guest that did not hear the first, then the end."""

from __future__ import annotations

import signal
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.protocol import HostProtocol

INTERRUPT_GRACE = 2.0
"""Seconds that a snippet may take to end after the user's interrupt, besides those that the way to it takes."""

_MOST_DELAY = 10.0
"""Seconds that the way to a distant sandbox and back is waited for, at most."""


class SnippetInterrupt:
    """Interrupts one snippet after another; whoever calls holds the session's lock.

    Args:
        process: The guest's.
        protocol: What is said with it.
        lock: The session's.

    Attributes:
        is_asked: Whether the user has interrupted the latest snippet.
    """

    def __init__(self, process: GuestProcess, protocol: HostProtocol, lock: threading.RLock) -> None:
        self.is_asked = False
        self._process = process
        self._protocol = protocol
        self._lock = lock
        self._timer: threading.Timer | None = None
        self._snippet = 0

    def start(self) -> None:
        """A snippet begins."""
        self._snippet += 1
        self.is_asked = False

    def ask(self) -> None:
        """Interrupt the snippet, if one runs."""
        if self._protocol.state != "running":
            return
        self.is_asked = True
        self._process.signal(signal.SIGINT)
        if self._timer is None:
            self._after(self._insist)

    def end(self) -> None:
        """The snippet has ended, or its session was closed: nothing is to be interrupted any more."""
        self._snippet += 1
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _after(self, act: Callable[[int], None]) -> None:
        way = min(getattr(self._process, "delay", 0.0), _MOST_DELAY)
        self._timer = threading.Timer(INTERRUPT_GRACE / 2 + way, act, (self._snippet,))
        self._timer.daemon = True
        self._timer.start()

    def _insist(self, snippet: int) -> None:
        """Interrupt once more: a guest that had not begun yet did not hear the first."""
        with self._lock:
            if self._is_running(snippet):
                self._process.signal(signal.SIGINT)
                self._after(self._kill)

    def _kill(self, snippet: int) -> None:
        with self._lock:
            if self._is_running(snippet):
                self._process.kill()

    def _is_running(self, snippet: int) -> bool:
        return self._snippet == snippet and self._protocol.state == "running"
