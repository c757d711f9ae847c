"""Passes bytes between a program and a server, both ways, until the answer has ended; holds few of them."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from actloop.executors.network.dial import ClientGoneError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from actloop.executors.network.http1 import Filter

CHUNK = 64 * 1024
"""Bytes that are read at once, and about as many are held of each direction."""


class BudgetUsedError(Exception):
    """The session has exchanged as many bytes as it may."""


class Budget:
    """Bytes that the connections of a session may exchange with the outside; None for no limit."""

    def __init__(self, size: int | None) -> None:
        self.size = size
        self._used = 0
        self._lock = threading.Lock()

    def spend(self, count: int) -> None:
        """Count bytes before they are passed on.

        Raises:
            BudgetUsedError: They are more than what is left: they are not to be passed on.
        """
        with self._lock:
            self._used += count
            if self.size is not None and self._used > self.size:
                self._used = self.size
                raise BudgetUsedError

    @property
    def used_up(self) -> bool:
        """Whether nothing is left."""
        return self.size is not None and self._used >= self.size


class Flow:
    """One direction.

    Args:
        source: Where bytes come from.
        target: Where they go.
        passing: What becomes of them on the way.
        budget: What they are counted against.
        raw: Count bytes as they come, not as they go.
    """

    def __init__(
        self, source: socket.socket, target: socket.socket, passing: Filter, budget: Budget, *, raw: bool
    ) -> None:
        self.source = source
        self.target = target
        self.passing = passing
        self.count = 0
        self.ended = False
        self.begun = False
        self.waiting = bytearray()
        self._budget = budget
        self._raw = raw
        self._broken = False

    def put(self, data: bytes) -> None:
        """Take bytes of the source."""
        if self._raw:
            self._spend(len(data))
        given = self.passing.take(data)
        if not self._raw:
            self._spend(len(given))
        if not self._broken:
            self.waiting += given

    def write(self, data: bytes) -> None:
        """Have bytes of the proxy's own go to the target, before all others."""
        self._spend(len(data))
        self.waiting += data

    def _spend(self, count: int) -> None:
        self._budget.spend(count)
        self.count += count

    def read(self) -> None:
        """Read what is there."""
        try:
            data = self.source.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return
        if data:
            self.put(data)
        else:
            self.ended = True
            self.waiting += self.passing.finish()

    def flush(self) -> None:
        """Write what fits."""
        try:
            sent = self.target.send(self.waiting)
        except (BlockingIOError, InterruptedError):
            return
        self.begun = True
        del self.waiting[:sent]

    def give_up(self) -> None:
        """The target takes nothing any more: what comes is dropped."""
        self._broken = True
        self.waiting.clear()

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.ended or self.passing.done


def relay(
    up: Flow,
    down: Flow,
    *,
    idle: float,
    total: float,
    tunnel: bool,
    ending: Callable[[], None] | None = None,
    turn: Callable[[], AbstractContextManager[None]] = contextlib.nullcontext,
) -> None:
    """Pass bytes on until the answer has ended and is delivered.

    Args:
        up: From the program to the server.
        down: From the server to the program.
        idle: Seconds in which something has to move.
        total: Seconds that it may take in all.
        tunnel: A program that closes its side may still wait for an answer; of a request, nobody would.
        ending: Called before the answer's last bytes are delivered.
        turn: Bytes are moved within such a one; it may wait for its beginning.

    Raises:
        TimeoutError: It took too long.
        ClientGoneError: The program closed its connection.
        ConnectionError: The server broke off its own.
        Exception: What the filters raise.
    """
    until = time.monotonic() + total
    closed = False
    while not (down.over and not down.waiting):
        if up.ended and not tunnel:
            raise ClientGoneError
        if up.ended and not up.waiting and not closed:
            closed = True
            with contextlib.suppress(OSError):
                up.target.shutdown(socket.SHUT_WR)
        if not (events := _events(up, down, min(idle, until - time.monotonic()))):
            raise TimeoutError
        with turn():
            _pass(up, down, events)
        if down.over and ending is not None:
            ending()
            ending = None


def _events(up: Flow, down: Flow, seconds: float) -> dict[int, int]:
    """Wait until something can move; what, by descriptors: nothing when the time is over."""
    poll = select.poll()
    for sock, reads, writes in ((up.source, up, down), (down.source, down, up)):
        room = not reads.ended and len(reads.waiting) < CHUNK and not (reads is down and down.over)
        mask = (select.POLLIN if room else 0) | (select.POLLOUT if writes.waiting else 0)
        if mask:
            poll.register(sock, mask)
    return dict(poll.poll(max(seconds, 0.0) * 1000))


def _pass(up: Flow, down: Flow, events: dict[int, int]) -> None:
    """Move what can move."""
    client, server = up.source.fileno(), down.source.fileno()
    broken = select.POLLHUP | select.POLLERR
    if client in events:
        try:
            if down.waiting and events[client] & (select.POLLOUT | broken):
                down.flush()
            if not up.ended and events[client] & (select.POLLIN | broken):
                up.read()
        except OSError as error:
            raise ClientGoneError from error
    if server in events:
        if up.waiting and events[server] & (select.POLLOUT | broken):
            try:
                up.flush()
            except OSError:
                up.give_up()  # it may have answered before it closed
        if not down.over and events[server] & (select.POLLIN | broken):
            down.read()
