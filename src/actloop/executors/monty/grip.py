"""The process of a worker, for as long as one session has it: what it is ended by, and what ends it with the host."""

from __future__ import annotations

import contextlib
import os
import select
import signal

from actloop.executors.tether import Tether


class Grip:
    """Holds a process that this one has not waited for yet; not safe for threads.

    Args:
        worker: Its number.
    """

    def __init__(self, worker: int) -> None:
        self.worker = worker
        self._tether = Tether(worker)
        self._pidfd = -1
        if hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(worker)

    @property
    def is_sure(self) -> bool:
        """Whether it stays with this very process; else it knows no more than a number, which may become another's."""
        return self._pidfd >= 0

    @property
    def has_ended(self) -> bool:
        """Whether the process is known to have ended."""
        if self._pidfd < 0:
            return False
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return bool(poll.poll(0))

    def kill(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            else:
                os.kill(self.worker, getattr(signal, "SIGKILL", signal.SIGTERM))

    def let_go(self) -> None:
        """Let the process live; nothing else may be called from then on."""
        pidfd, self._pidfd = self._pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)
        self._tether.untie()
