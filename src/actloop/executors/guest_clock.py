"""The time that a snippet has left: passed time, and processor time only while the host performs its calls."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.session import SandboxLimits

GRACE = 0.03
"""Seconds between the interrupt at a snippet's deadline and the kill."""

_MOST_DELAY = 1.0
"""Seconds that the way to a distant sandbox and back may take of the time until the kill, at most."""


class SnippetClock:
    """The time of one snippet after another; whoever calls holds the session's lock.

    Args:
        limits: What the session is held to.
        process: The guest's.

    Attributes:
        left: Seconds that the snippet has left, as of the last `charge`; None without a limit.
        ended: Whether the snippet has used up its time, and has only the grace left.
        overran: What it did then, in words.
    """

    def __init__(self, limits: SandboxLimits, process: GuestProcess) -> None:
        self._limits = limits
        self._process = process
        self.left: float | None = None
        self.ended = False
        self.overran = ""
        self._wall = 0.0
        self._cpu: float | None = None
        """Its processor time when the first of the open calls came, or at the last charge since."""
        self._cpu_end: float | None = None
        self._bounded = False

    def start(self) -> None:
        """A snippet begins."""
        self.left = self._limits.wall
        self.ended = self._bounded = False
        self.overran = f"The code ran longer than {self.left or 0:g} seconds"
        self._cpu = self._cpu_end = None
        mark = getattr(self._process, "mark", None)  # of those whose figures come late
        if mark is not None:
            mark()
        if self._limits.cpu is not None:
            used = self._process.cpu_time()
            self._cpu_end = None if used is None else used + self._limits.cpu
        self._wall = time.monotonic()

    def called(self) -> None:
        """The snippet calls the host: time counts differently until all such calls are answered."""
        if self.left is not None and self._cpu is None:
            self._cpu = self._process.cpu_time()

    def charge(self, *, calls: bool) -> None:
        """Count the time since the last look.

        Args:
            calls: Whether the host is performing calls.
        """
        if self.left is None:
            return
        now = time.monotonic()
        cost, self._wall = now - self._wall, now
        if calls:
            before, self._cpu = self._cpu, self._process.cpu_time()
            if not self._bounded:
                cost = 0.0 if before is None or self._cpu is None else min(cost, self._cpu - before)
        else:
            self._cpu = None
        self.left -= cost

    def bound(self, seconds: float) -> None:
        """From now on, it has no more than so many seconds left, whether or not the host performs calls."""
        self.left = seconds if self.left is None else min(self.left, seconds)
        self._bounded = True

    def cpu_left(self) -> float | None:
        """Seconds of processor time that the snippet may still use; None without such a limit, or once it is bound."""
        if self._cpu_end is None or self._bounded:
            return None
        used = self._process.cpu_time()
        return None if used is None else self._cpu_end - used

    def is_over(self, cpu_left: float | None) -> bool:
        """Whether it has used up its time, or the time after that."""
        return (self.left is not None and self.left <= 0) or (cpu_left is not None and cpu_left <= 0)

    def end(self) -> None:
        """It has used up its time: what is left is for ending by itself."""
        if self.left is None or self.left > 0:
            self.overran = f"The code used more than {self._limits.cpu:g} seconds of processor time"
        self.ended = self._bounded = True
        self.left = GRACE + min(2 * getattr(self._process, "delay", 0.0), _MOST_DELAY)

    def timeout(self, cpu_left: float | None, *, calls: bool) -> float | None:
        """Seconds after which to look at it again at the latest; None for no need to.

        Args:
            cpu_left: Seconds of processor time that are left, if that is limited.
            calls: Whether the host is performing calls.
        """
        timeout = self.left
        if timeout is not None and calls and not self.ended:
            timeout = max(timeout, 0.01)  # CPU time passes no faster than time, and may not pass at all
        if cpu_left is not None and not self.ended:
            soonest = max(cpu_left / (os.cpu_count() or 1), 0.005)
            timeout = soonest if timeout is None else min(timeout, soonest)
        return timeout
