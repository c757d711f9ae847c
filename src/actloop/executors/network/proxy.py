"""The proxy of one session: takes the connections of its programs, each in a thread, and ends with the session."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import threading
import time
from typing import TYPE_CHECKING

from actloop.executors.network.dial import Dialer
from actloop.executors.network.exchange import Exchange, Times
from actloop.executors.network.policy import MAX_REQUESTS
from actloop.executors.network.relay import Budget

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from actloop.executors.network.policy import NetworkPolicy
    from actloop.values.events import NetworkRequested

MAX_CONNECTIONS = 64
"""Connections of one session that are served at once; the next ones wait, or are turned away."""

_CLOSE_SECONDS = 1.0
_SETTLE_SECONDS = 0.2
_MOST_UNTOLD = 4 * MAX_CONNECTIONS
_SHORT = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


class SessionProxy:
    """An HTTP proxy for the programs of one session. Its methods may be called from any thread.

    Args:
        policy: What may be reached.
        times: How long things may take.
    """

    def __init__(self, policy: NetworkPolicy, times: Times | None = None) -> None:
        self.policy = policy
        self._times = times or Times()
        self._budget = Budget(policy.budget)
        self._dialer = Dialer(policy, self._times.lookup, self._times.connect)
        self._observer: Callable[[NetworkRequested], None] | None = None
        self._resting = False
        self._moving = self._telling = 0
        self._untold: list[NetworkRequested] = []
        self._changed = threading.Condition(threading.RLock())
        self._closed = False
        self._owner = os.getpid()
        self._requests = 0
        self._active = 0
        self._exchanges: set[Exchange] = set()
        self._sockets: set[socket.socket] = set()
        self._threads: set[threading.Thread] = set()

    def observe(self, observer: Callable[[NetworkRequested], None]) -> None:
        """Have each request told as it ends, from a thread of the proxy's own; the latest observer alone is told.

        A rest ends, and what ended meanwhile is told now.
        """
        with self._changed:
            self._observer, self._resting = observer, False
            untold, self._untold = self._untold, []
            self._changed.notify_all()
        for request in untold:
            self._tell(request)

    def rest(self) -> None:
        """Have requests that are under way told with what they moved so far; nothing moves, or is told, from then on.

        Until the next `observe`, that is. Waits a moment for an observer that is being told, which may itself wait for
        the caller; what it then is not told is told by the next one.
        """
        until = time.monotonic() + _CLOSE_SECONDS
        with self._changed:
            self._resting = True
            self._changed.wait_for(lambda: not self._moving, _CLOSE_SECONDS)
        for exchange in self._under_way():
            exchange.report(until, begun=True)
        with self._changed:
            self._observer = None
            self._changed.wait_for(lambda: not self._telling, max(until - time.monotonic(), 0.0))

    def report(self) -> None:
        """Have requests that are under way told with what they moved so far; waits a moment for those that just end."""
        began = time.monotonic()
        while (under_way := self._under_way()) and time.monotonic() < began + _SETTLE_SECONDS:
            if not any(exchange.moving for exchange in under_way):
                break
            time.sleep(0.002)
        for exchange in under_way:
            exchange.report(began + _CLOSE_SECONDS)

    def _under_way(self) -> list[Exchange]:
        with self._changed:
            return list(self._exchanges)

    def listen(self, listener: socket.socket) -> None:
        """Take connections from a listening socket, which is the proxy's from now on; returns at once."""
        listener.setblocking(False)
        with self._changed:
            if not self._closed:
                self._start(listener, self._accept)
            else:
                listener.close()

    def serve(self, connection: socket.socket) -> None:
        """Serve one connection of a program, which is the proxy's from now on; returns at once."""
        with self._changed:
            if self._closed or self._active >= MAX_CONNECTIONS:
                connection.close()
            elif self._start(connection, self._exchange):
                self._active += 1

    def close(self) -> None:
        """Break off every connection, and wait a moment for the requests to be told; idempotent, never raises.

        In a fork of the process that it belongs to, nothing happens.
        """
        if self._owner != os.getpid():
            return
        with self._changed:
            self._closed = True
            for open_one in self._sockets:
                with contextlib.suppress(OSError):
                    open_one.shutdown(socket.SHUT_RDWR)  # wakes the thread that waits for it, which closes it
            self._changed.notify_all()
            threads = [thread for thread in self._threads if thread is not threading.current_thread()]
        self._dialer.close()
        until = time.monotonic() + _CLOSE_SECONDS
        for thread in threads:
            thread.join(max(until - time.monotonic(), 0.0))
        self._observer = None

    # ---- threads

    def _start(self, first: socket.socket, work: Callable[[socket.socket], None]) -> bool:
        """Do something with a socket in a thread; the lock is held. False when no thread can be had."""

        def run() -> None:
            try:
                work(first)
            finally:
                with self._changed:
                    self._drop(first)
                    self._threads.discard(thread)
                    self._changed.notify_all()

        thread = threading.Thread(target=run, name="actloop-proxy", daemon=True)
        self._sockets.add(first)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # there are too many threads already
            self._drop(first)
            self._threads.discard(thread)
            return False
        return True

    def _drop(self, ended: socket.socket) -> None:
        """Close a socket; the lock is held, so that `close` never wakes another that has its number by then."""
        self._sockets.discard(ended)
        ended.close()

    def _accept(self, listener: socket.socket) -> None:
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._active < MAX_CONNECTIONS)
                if self._closed:
                    return
            poll.poll()
            try:
                connection, _ = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                continue
            except OSError as error:
                if error.errno not in _SHORT:
                    return
                with self._changed:  # of descriptors or memory, which others may give back
                    self._changed.wait(0.1)
                continue
            self.serve(connection)

    def _exchange(self, connection: socket.socket) -> None:
        exchange = Exchange(connection, self._dialer, self._budget, self._times, self._watch, self._tell, self._turn)
        with self._changed:
            self._exchanges.add(exchange)
        try:
            exchange.run(self._refusal())
        finally:
            with self._changed:
                self._active -= 1
                self._exchanges.discard(exchange)
                if exchange.server is not None:
                    self._drop(exchange.server)

    def _watch(self, server: socket.socket) -> None:
        with self._changed:
            self._sockets.add(server)
            if self._closed:
                with contextlib.suppress(OSError):
                    server.shutdown(socket.SHUT_RDWR)

    def _refusal(self) -> str:
        """Why a session's next request is refused unseen; empty when it is not."""
        with self._changed:
            self._requests += 1
            return f"this session has made {MAX_REQUESTS:,} requests, and may make no more" * (
                self._requests > MAX_REQUESTS
            )

    @contextlib.contextmanager
    def _turn(self) -> Generator[None]:
        """While something moves; begins when the proxy does not rest."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or not self._resting)
            self._moving += 1
        try:
            yield
        finally:
            with self._changed:
                self._moving -= 1
                self._changed.notify_all()

    def _tell(self, request: NetworkRequested) -> None:
        with self._changed:
            observer = self._observer
            if self._requests > MAX_REQUESTS + 1:
                return
            if observer is None:
                if self._resting and len(self._untold) < _MOST_UNTOLD:
                    self._untold.append(request)
                return
            self._telling += 1
        try:
            with contextlib.suppress(Exception):  # trouble of the one who is told is none of the program's
                observer(request)
        finally:
            with self._changed:
                self._telling -= 1
                self._changed.notify_all()
