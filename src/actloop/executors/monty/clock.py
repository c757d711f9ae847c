"""The time that a program has."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Clock:
    """What is left of a program's time; it stands still while the host answers a call.

    Args:
        left: Seconds; None for no limit.
        started: Called each time that it goes on.
    """

    def __init__(self, left: float | None, started: Callable[[], None]) -> None:
        self._left = left
        self._started = started
        self._since: float | None = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Let time pass."""
        with self._lock:
            stood = self._since is None
            if stood:
                self._since = time.monotonic()
        if stood:
            self._started()

    def stop(self) -> None:
        """Stand still."""
        with self._lock:
            self._charge()
            self._since = None

    def cut(self, most: float) -> None:
        """Leave no more than this."""
        with self._lock:
            self._charge()
            self._left = most if self._left is None else min(self._left, most)

    @property
    def left(self) -> float | None:
        """Seconds; None if there is no limit, or while it stands still."""
        with self._lock:
            self._charge()
            return None if self._since is None else self._left

    def _charge(self) -> None:
        now = time.monotonic()
        if self._since is not None and self._left is not None:
            self._left -= now - self._since
            self._since = now
