"""Ends what cannot be ended at once, such as containers: in its own threads, and surely before the interpreter ends."""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

AT_EXIT = 15.0
"""Seconds that the end of the interpreter waits at most."""

_IDLE = 2.0
"""Seconds without work after which a thread ends."""


class Reaper:
    """Does things that may block, in the order in which they come, in threads that end when nothing is left to do.

    Args:
        workers: Threads at most.
    """

    def __init__(self, workers: int = 32) -> None:
        self._workers = workers
        self._renew()

    def _renew(self) -> None:
        self._acts: deque[Callable[[], object]] = deque()
        self._lock = threading.Condition()
        self._threads = self._idle = self._running = 0

    def put(self, act: Callable[[], object]) -> None:
        """Have something done soon; what it raises is logged."""
        with self._lock:
            self._acts.append(act)
            self._staff()
            self._lock.notify_all()

    def _staff(self) -> None:
        """Have a thread for what waits, as far as there may be more; the lock is held."""
        while self._idle < len(self._acts) and self._threads < self._workers:
            try:
                threading.Thread(target=self._work, name="actloop-reaper", daemon=True).start()
            except RuntimeError:  # the interpreter ends, or no thread can be had: `flush` does the rest
                return
            self._threads += 1
            self._idle += 1

    def _work(self) -> None:
        """Do what waits; a thread counts as idle when it begins."""
        while True:
            with self._lock:
                waits = self._lock.wait_for(lambda: self._acts, _IDLE)
                self._idle -= 1
                if not waits:
                    self._threads -= 1
                    return
                act = self._begin()
            try:
                self._do(act)
            except BaseException as error:  # such as SystemExit, which is not meant for a thread of others
                _log.warning("Something could not be cleaned up: %s: %s", type(error).__name__, error)
            with self._lock:
                self._idle += 1

    def _begin(self) -> Callable[[], object]:
        """What waits first, which runs from now on; the lock is held."""
        self._running += 1
        return self._acts.popleft()

    def _do(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:
            _log.warning("Something could not be cleaned up: %s: %s", type(error).__name__, error)
        finally:
            with self._lock:
                self._running -= 1
                self._lock.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all is done; False when the time passed first.

        What no thread can be had for, such as when the interpreter ends, is done here: then what was begun is ended.
        """
        until = time.monotonic() + timeout
        with self._lock:
            self._staff()
            helped = self._threads
        while not helped and time.monotonic() < until:
            with self._lock:
                if not self._acts:
                    break
                act = self._begin()
            self._do(act)
        with self._lock:
            return self._lock.wait_for(lambda: not self._acts and not self._running, max(0.0, until - time.monotonic()))


REAPER = Reaper()
"""The one that all executors share."""

atexit.register(REAPER.flush, AT_EXIT)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=REAPER._renew)  # pyright: ignore[reportPrivateUsage]
