"""A child process ends with this one, however that ends."""

from __future__ import annotations

import os
import signal
import socket
import sys
import weakref


class Tether:
    """Has the kernel kill a process as soon as this one has ended, however it did; nothing where that is not possible.

    It is a pair of sockets, each of which sends the signal when the other is closed. Nobody writes to them: they are
    closed when this process ends, and whichever goes first, the other one is still there. A fork of this process lets
    go of them by itself, lest they stay open. This needs Linux.

    Args:
        process: A process of the same user, which this one has not waited for yet.
    """

    def __init__(self, process: int) -> None:
        self._ends: tuple[socket.socket, ...] = ()
        if not sys.platform.startswith("linux"):
            return
        import fcntl

        self._ends = socket.socketpair()
        _tied.add(self)
        try:
            for end in self._ends:
                fcntl.fcntl(end, fcntl.F_SETOWN, process)
                fcntl.fcntl(end, fcntl.F_SETSIG, signal.SIGKILL)
                fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        except OSError:
            self.untie()

    def untie(self) -> None:
        """Let the process live; idempotent."""
        if self._ends:
            import fcntl

            for end in self._ends:
                if end.fileno() >= 0:  # the garbage collector may have closed it already
                    fcntl.fcntl(end, fcntl.F_SETFL, os.O_NONBLOCK)
        self._abandon()

    def _abandon(self) -> None:
        """Close this process's sockets only; the process that this one was forked from has the others."""
        for end in self._ends:
            end.close()
        self._ends = ()


_tied: weakref.WeakSet[Tether] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for tether in list(_tied):
        tether._abandon()  # pyright: ignore[reportPrivateUsage]
    _tied.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
