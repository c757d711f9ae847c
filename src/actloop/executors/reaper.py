"""Ends what cannot be ended at once, such as containers: in its own threads, and surely before the interpreter ends."""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

AT_EXIT = 15.0
"""Seconds that the end of the interpreter waits at most."""

_IDLE = 2.0
"""Seconds without work after which a thread ends."""


class Reaper:
    """Does things that may block, in the order in which they come, in a few threads.

    Args:
        workers: Threads at most.
    """

    def __init__(self, workers: int = 8) -> None:
        self._workers = workers
        self._renew()

    def _renew(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self._lock = threading.Condition()
        self._threads = self._idle = self._open = 0

    def put(self, act: Callable[[], object]) -> None:
        """Have something done soon; what it raises is logged."""
        with self._lock:
            self._open += 1
            self._queue.put(act)
            self._staff()

    def _staff(self) -> None:
        """Have a thread for what waits, as far as there may be more; the lock is held."""
        while self._idle < self._queue.qsize() and self._threads < self._workers:
            try:
                threading.Thread(target=self._work, name="actloop-reaper", daemon=True).start()
            except RuntimeError:  # the interpreter ends, or no thread can be had: `flush` does the rest
                return
            self._threads += 1
            self._idle += 1

    def _work(self) -> None:
        """Do what waits; a thread counts as idle when it begins."""
        while True:
            try:
                act = self._queue.get(timeout=_IDLE)
            except queue.Empty:
                act = None
            with self._lock:
                self._idle -= 1
                if act is None and self._queue.empty():
                    self._threads -= 1
                    return
            if act is not None:
                self._do(act)
            with self._lock:
                self._idle += 1

    def _do(self, act: Callable[[], object]) -> None:
        try:
            act()
        except Exception as error:
            _log.warning("Something could not be cleaned up: %s: %s", type(error).__name__, error)
        finally:
            with self._lock:
                self._open -= 1
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
            try:
                act = self._queue.get_nowait()
            except queue.Empty:
                break
            self._do(act)
        with self._lock:
            return self._lock.wait_for(lambda: not self._open, max(0.0, until - time.monotonic()))


REAPER = Reaper()
"""The one that all executors share."""

atexit.register(REAPER.flush, AT_EXIT)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=REAPER._renew)  # pyright: ignore[reportPrivateUsage]
