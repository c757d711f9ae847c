"""The thread of a session: what blocks on a worker is done there, and waited for elsewhere without blocking."""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
import weakref
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from actloop.executors.monty.workers import WORKERS

if TYPE_CHECKING:
    from collections.abc import Callable

    from actloop.executors.monty.pool import Checkout
    from actloop.executors.monty.running import Running
    from actloop.executors.session import Waiter

_JOIN = 1.0


@dataclass(frozen=True, slots=True)
class Done:
    """A job has ended: its value, or what it raised."""

    value: Any = None
    error: BaseException | None = None


class Engine:
    """A thread that has a worker; its first event is a `Done` that says whether it has, and by which mark it speaks.

    Args:
        checkout: Gets the worker.
    """

    def __init__(self, checkout: Callable[[], Checkout]) -> None:
        self._jobs: SimpleQueue[Callable[[Checkout], Any] | None] = SimpleQueue()
        self._events: deque[Any] = deque()
        self._read_fd, self._write_fd = os.pipe()
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._lock = threading.RLock()
        self._woken = self._closed = self._open = False
        self._waiting = 0
        self._checkout: Checkout | None = None
        self._owner = os.getpid()
        self._running: Running | None = None
        self._thread = threading.Thread(target=self._work, args=(checkout,), name="actloop-monty", daemon=True)
        self._thread.start()
        _engines.add(self)

    # ---- the thread

    def _work(self, checkout: Callable[[], Checkout]) -> None:
        try:
            self._checkout = checkout()
        except BaseException as error:
            self.post(Done(error=error))
            return
        self.post(Done(self._checkout.mark))
        while (job := self._jobs.get()) is not None:
            try:
                done = Done(job(self._checkout))
            except BaseException as error:
                done = Done(error=error)
            with self._lock:
                self._running = None
            del job
            self.post(done)
            del done
        with self._lock:
            kept, self._checkout = self._checkout, None
        WORKERS.give_back(kept)

    def post(self, event: Any) -> None:
        """Have an event waited for; from any thread."""
        with self._lock:
            self._events.append(event)
            self._wake()

    def replace(self, checkout: Checkout) -> None:
        """Go on with another worker; for jobs."""
        with self._lock:
            kept, self._checkout = self._checkout, checkout
        if kept is not None:
            WORKERS.give_back(kept)

    # ---- the session

    def do(self, job: Callable[[Checkout], Any]) -> None:
        """Have something done; a `Done` tells when it is."""
        self._jobs.put(job)

    def run(self, running: Running) -> None:
        """Have a program run."""
        self._running = running
        self._jobs.put(running)

    async def next(self, waiter: Waiter, timeout: float | None) -> Any:
        """The next event; None after `timeout` seconds, and whenever something may have changed."""
        with self._lock:
            if self._events:
                return self._events.popleft()
            if self._closed:
                return None
            if self._woken:
                self._woken = False
                with contextlib.suppress(BlockingIOError):
                    os.read(self._read_fd, 64)
            self._waiting += 1
        try:
            await waiter.ready(self._read_fd, timeout=timeout)
        finally:
            with self._lock:
                self._waiting -= 1
                self._free()
        with self._lock:
            return self._events.popleft() if self._events else None

    def take(self, kind: type) -> list[Any]:
        """Events of one kind that have come already, up to the first of another."""
        taken: list[Any] = []
        with self._lock:
            while self._events and type(self._events[0]) is kind:
                taken.append(self._events.popleft())
        return taken

    def wake(self) -> None:
        """Have whoever waits look again."""
        with self._lock:
            self._wake()

    def _wake(self) -> None:
        if not self._woken and not self._closed:
            self._woken = True
            with contextlib.suppress(BlockingIOError):
                os.write(self._write_fd, b"\0")

    @property
    def is_foreign(self) -> bool:
        """True in a fork of the process that it belongs to."""
        return self._owner != os.getpid()

    def kill(self, running: Running | None = None) -> None:
        """End the worker, and with it what it does; with `running`, only if that has not ended already."""
        with self._lock:
            if self._checkout is not None and (running is None or self._running is running):
                self._checkout.kill()

    def close(self, *, kill: bool) -> None:
        """End the thread; with `kill`, the worker, too. Idempotent."""
        if self.is_foreign:  # a fork has neither the thread nor the worker; its locks may be held for ever
            if not self._closed:
                self._closed = True
                os.close(self._read_fd)
                os.close(self._write_fd)
            return
        with self._lock:
            if self._closed:
                return
            self._wake()
            self._closed = True
            if kill:
                self.kill()
                if (running := self._running) is not None:
                    running.interrupt()
            self._jobs.put(None)
            self._free()
        if threading.current_thread() is not self._thread:
            self._thread.join(_JOIN)

    def _free(self) -> None:
        if self._closed and not self._waiting and not self._freed():
            os.close(self._read_fd)
            os.close(self._write_fd)
            self._read_fd = self._write_fd = -1

    def _freed(self) -> bool:
        return self._read_fd < 0


_engines: weakref.WeakSet[Engine] = weakref.WeakSet()


@atexit.register
def _end_all() -> None:
    """A thread that is inside of a worker when the interpreter ends would come back to one that is gone."""
    WORKERS.close()
    for engine in list(_engines):
        engine.close(kill=True)
