"""A guest that is being started, which takes a while and may be given up at any moment."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import FileIO

    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.session import Waiter


class Starting:
    """Starts a guest in a thread of its own, where no signal of the user's interrupts it half-way.

    Args:
        start: Starts it; may block.
    """

    def __init__(self, start: Callable[[], GuestProcess]) -> None:
        self._start = start
        self._lock = threading.RLock()  # a signal may interrupt `abandon`, which is called once more then
        self._abandoned = False
        self._results: list[GuestProcess | BaseException] = []
        self._ready: FileIO | None = None
        self._begun = threading.Event()

    async def process(self, waiter: Waiter) -> GuestProcess:
        """Start it, and wait for it through the waiter; whoever does not take it over must `abandon` it.

        Raises:
            BaseException: What `start` raises.
        """
        thread = threading.Thread(target=self._work, name="actloop-spawn")
        thread.start()
        self._begun.wait()
        if self._ready is not None:
            with self._ready:
                await waiter.ready(self._ready.fileno())
        thread.join()
        result = self._results[0]
        if isinstance(result, BaseException):
            raise result
        return result

    def _work(self) -> None:
        try:
            read_fd, write_fd = os.pipe()
        except OSError as error:
            self._results.append(error)
            self._begun.set()
            return
        # A file closes itself when an interrupt leaves it to nobody.
        self._ready = open(read_fd, "rb", buffering=0)  # noqa: SIM115 - closed by who waits for it
        self._begun.set()
        try:
            result: GuestProcess | BaseException = self._start()
        except BaseException as error:
            result = error
        with self._lock:
            self._results.append(result)
            if self._abandoned:
                self._end()
        os.close(write_fd)

    def abandon(self) -> None:
        """End it, now or as soon as it has started; idempotent."""
        with self._lock:
            self._abandoned = True
            self._end()
        if self._ready is not None:
            self._ready.close()

    def _end(self) -> None:
        for result in self._results:
            if not isinstance(result, BaseException):
                result.channel.close()
                result.close()
