"""Guests that are reached through one byte stream only: the host's side of `guest.keeper`."""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import select
import socket
import threading
import time
import weakref
from collections import deque
from typing import TYPE_CHECKING, Protocol

from actloop.executors.reaper import REAPER
from actloop.guest.multiplex import (
    BEAT,
    COUNT,
    MAX_STREAMS,
    STATUS,
    Frame,
    FrameReader,
    Stream,
    armored,
    frame,
)
from actloop.guest.values import WireError

if TYPE_CHECKING:
    from collections.abc import Callable

_log = logging.getLogger(__name__)

_BEAT = 10.0
"""Seconds between two signs of life of this process; a keeper that hears none for a while ends everything."""

_SILENCE = 60.0
"""Seconds without an answer after which a keeper is taken for dead."""

_FRESH = 0.05
"""Seconds that a figure of processor time is good for."""

_DELAY = 0.05
"""Seconds that an answer may take at least: the machine over there may be busy."""

_AT_ONCE = 8
"""Pieces of a stream that are written at once: a write may be a request to a service."""

_LAST_WORD = 0.3
"""Seconds that a keeper gets to hear that it shall end before its stream is cut."""


_CHANGES = frozenset({Frame.OPEN, Frame.CREDIT, Frame.END, Frame.STOP})
"""Frames after which there may be more to write."""


class ByteStream(Protocol):
    """A stream to the standard input of a keeper, and from its standard output."""

    def read(self) -> bytes:
        """Wait for bytes; empty at the end of the stream."""
        ...

    def write(self, data: bytes) -> None:
        """Write all of it; may block."""
        ...

    def close(self) -> None:
        """Close it: a `read` or `write` that blocks comes back. Idempotent, callable from any thread."""
        ...


class SocketStream:
    """A stream socket as a `ByteStream`.

    Args:
        end: The socket; closed with the stream.
    """

    def __init__(self, end: socket.socket) -> None:
        self._socket = end
        end.setblocking(True)

    def read(self) -> bytes:
        """As in `ByteStream`."""
        return self._socket.recv(1 << 18)

    def write(self, data: bytes) -> None:
        """As in `ByteStream`."""
        self._socket.sendall(data)

    def close(self) -> None:
        """As in `ByteStream`."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class KeeperProcess:
    """A guest under a keeper; a `GuestProcess`. Whatever the keeper says is untrusted.

    Args:
        stream: To the keeper.
        end: Removes the sandbox: called once, in a thread of the shared reaper, when the process was closed or killed
            or has ended. Before the interpreter ends all are called.
        armor: The keeper speaks in lines of base64.
        connect: Takes over the socket of a connection that a program made to the proxy; called in a thread of its own.

    Attributes:
        channel: The host's end of the guest's protocol; the session owns it.
        status: How the guest ended, if the keeper could say so: its exit status, or a signal's number, negated.
        fault: What was wrong with the stream, if that ended it.
        ending: Why the guest is gone, once it is and as far as that is known; without a full stop.
    """

    def __init__(
        self,
        stream: ByteStream,
        end: Callable[[], None],
        *,
        armor: bool = False,
        connect: Callable[[socket.socket], None] | None = None,
    ) -> None:
        self.channel, inner = socket.socketpair()
        self.status: int | None = None
        self.fault = self.ending = ""
        self._stream = stream
        self._end = end
        self._armor = armor
        self._connect = connect
        self._frames = FrameReader(armor)
        self._streams = {0: Stream(0, inner)}
        self._last = 0
        self._lock = threading.RLock()
        self._orders: deque[bytes] = deque()
        self._over = self._gone = self._deaf = False
        self._said = threading.Event()
        self._woken, self._wake = os.pipe()
        os.set_blocking(self._woken, False)
        os.set_blocking(self._wake, False)
        self._owner = os.getpid()
        self._cpu = self._marked = 0.0
        self._marks = self._beats = 0
        self._asked: deque[tuple[int, float, bool]] = deque()
        self._answered = 0.0
        self._delay = _DELAY
        self._threads = [
            threading.Thread(target=work, name=f"actloop-keeper-{work.__name__.strip('_')}", daemon=True)
            for work in (self._reading, self._writing)
        ]
        _begin(self)
        with self._lock:
            self._ping()
        for thread in self._threads:
            thread.start()

    # ---- commands, from any thread

    def signal(self, number: int) -> None:
        """As in `GuestProcess`; the keeper is asked for a sign of life, which tells how long signals take now."""
        with self._lock:
            self._order(frame(Frame.SIGNAL, 0, bytes([number])))
            self._ping()

    def pause(self) -> None:
        """As in `GuestProcess`."""
        with self._lock:
            self._order(frame(Frame.PAUSE))
            self._ping()

    def resume(self) -> None:
        """As in `GuestProcess`."""
        self._order(frame(Frame.RESUME))

    def mark(self) -> None:
        """As in `GuestProcess`: the keeper is asked for the figure before it hears anything that is sent later."""
        with self._lock:
            self._marks += 1
            self._ping(mark=True)

    def cpu_time(self) -> float | None:
        """As in `GuestProcess`: as the keeper last told, which it is asked to do again if that was a while ago."""
        with self._lock:
            if time.monotonic() - self._answered > _FRESH:
                self._ping()
            return 0.0 if self._marks else self._cpu - self._marked

    @property
    def delay(self) -> float:
        """Seconds that an answer may take, going by the latest, and by one that is still to come."""
        with self._lock:
            return max(self._delay, time.monotonic() - self._asked[0][1]) if self._asked else self._delay

    @property
    def alive(self) -> bool:
        """False once it has ended, or was ended."""
        return not (self._over or self._gone)

    def why_lost(self) -> str:
        """Why the guest is gone, as far as that is known; called in the reading thread when it or its stream ended."""
        if self.status == -9:
            return "The sandbox was killed, most likely because it used more memory than it may"
        return f"The sandbox died of signal {-self.status}" if self.status is not None and self.status < 0 else ""

    def kill(self) -> None:
        """As in `GuestProcess`; comes back at once."""
        self._finish()

    def close(self) -> None:
        """As in `GuestProcess`; comes back at once."""
        self._finish()

    def _order(self, order: bytes) -> None:
        with self._lock:
            if not self._over:
                self._orders.append(order)
                self._notify()

    def _ping(self, *, mark: bool = False) -> None:
        """Ask for a sign of life and the processor time, unless an answer is under way; the lock is held."""
        if mark or not self._asked:
            self._beats = (self._beats + 1) & 0xFFFFFFFF
            self._asked.append((self._beats, time.monotonic(), mark))
            self._order(frame(Frame.PING, 0, COUNT.pack(self._beats)))

    def beat(self) -> None:
        """Give a sign of life; end what has given none for too long."""
        with self._lock:
            late = bool(self._asked) and time.monotonic() - self._asked[0][1] > _SILENCE
            self._ping()
        if late:
            self._finish("the sandbox gave no sign of life")

    # ---- what the keeper says

    def _reading(self) -> None:
        fault = ""
        try:
            while data := self._stream.read():
                with self._lock:
                    if self._over:
                        return
                    changed = False
                    for kind, number, payload in self._frames.feed(data):
                        self._take(kind, number, payload)
                        changed = changed or kind in _CHANGES
                    if changed or any(stream.waiting for stream in self._streams.values()):
                        self._notify()
        except WireError as error:
            fault = str(error)
        except Exception as error:  # of whatever library the stream is made of
            _log.debug("the stream of a sandbox broke: %s: %s", type(error).__name__, error)
        if fault:
            self._finish(fault)
        elif not self._over and not self.ending:
            self.ending = self.why_lost()
        with self._lock:
            self._gone = True
            for stream in self._streams.values() if not self._over else ():
                stream.over = True
            self._notify()

    def _take(self, kind: int, number: int, payload: bytes) -> None:
        """Take a frame; the lock is held."""
        if kind == Frame.PONG and self._asked and len(payload) == BEAT.size:
            self._take_answer(*BEAT.unpack(payload))
        elif kind == Frame.OPEN and not payload:
            self._open(number)
        elif kind == Frame.EXIT and len(payload) == STATUS.size and self.status is None:
            (self.status,) = STATUS.unpack(payload)
            self.ending = self.why_lost()
        elif kind in (Frame.DATA, Frame.CREDIT, Frame.END, Frame.STOP) and number in self._streams:
            self._streams[number].take(kind, payload)
        else:
            raise WireError("a keeper said what it may not say")

    def _take_answer(self, beat: int, used: float) -> None:
        """Take a sign of life with the processor time; the lock is held."""
        wanted, asked, mark = self._asked.popleft()
        if beat != wanted or not 0 <= used < 1e9:
            raise WireError("a keeper gave a sign of life that it was not asked for")
        self._answered = time.monotonic()
        self._delay = max(_DELAY, self._answered - asked)
        self._cpu = max(self._cpu, used)
        if mark:
            self._marks -= 1
            self._marked = self._cpu

    def _open(self, number: int) -> None:
        self._forget_done()
        if self._connect is None or number <= self._last or len(self._streams) > MAX_STREAMS:
            raise WireError("a keeper opened a connection that it may not open")
        self._last = number
        ours, theirs = socket.socketpair()
        self._streams[number] = Stream(number, ours)
        threading.Thread(
            target=self._hand_over, args=(self._connect, theirs), name="actloop-connection", daemon=True
        ).start()

    def _hand_over(self, connect: Callable[[socket.socket], None], connection: socket.socket) -> None:
        try:
            connect(connection)
        except Exception as error:
            _log.warning("a connection of a sandbox failed: %s: %s", type(error).__name__, error)
            connection.close()

    # ---- what goes to the keeper

    def _writing(self) -> None:
        while (out := self._next()) is not None:
            self._write(out)
        self._write(frame(Frame.KILL))
        self._said.set()
        self._finish()

    def _write(self, frames: bytes) -> None:
        if self._gone or self._deaf:
            return
        try:
            self._stream.write(armored(frames) if self._armor else frames)
        except Exception as error:  # what the keeper has said already is still to be read
            _log.debug("the stream to a sandbox broke: %s: %s", type(error).__name__, error)
            self._deaf = True

    def _next(self) -> bytes | None:
        """Wait for what has to be written; None when that is nothing more."""
        while True:
            with self._lock:
                if self._over:
                    return None
                if self._gone:
                    for stream in self._streams.values():
                        stream.flush()
                    if not any(stream.unsent for stream in self._streams.values()):
                        return None
                elif (out := self._collect()) and not self._deaf:
                    return out
                elif self._streams[0].ended:
                    return None  # the session has closed its channel
                poll = select.poll()
                poll.register(self._woken, select.POLLIN)
                for stream in self._streams.values():
                    reads = select.POLLIN if stream.readable and not self._gone else 0
                    mask = reads | (select.POLLOUT if stream.unsent else 0)
                    if mask:
                        poll.register(stream.socket, mask)
            poll.poll()
            with self._lock:
                if not self._over:
                    self._drain()
                    for stream in self._streams.values():
                        if stream.unsent:
                            stream.flush()

    def _collect(self) -> bytes:
        """Orders, what is due, and what streams hold; the lock is held."""
        parts = list(self._orders)
        self._orders.clear()
        for stream in self._streams.values():
            parts.append(stream.due())
            for _ in range(_AT_ONCE):
                data = stream.read()
                if not data:
                    break
                parts.append(data)
        self._forget_done()
        return b"".join(parts)

    def _forget_done(self) -> None:
        for number, stream in list(self._streams.items()):
            if stream.done and number:
                del self._streams[number]
                stream.close()

    def _notify(self) -> None:
        """Wake the writing thread; the lock is held."""
        with contextlib.suppress(BlockingIOError):
            if self._wake >= 0:
                os.write(self._wake, b"x")

    def _drain(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._woken, 4096)

    # ---- the end

    def _finish(self, fault: str = "") -> None:
        if self._owner != os.getpid():
            return  # in a fork of the process that it belongs to
        with self._lock:
            if self._over:
                return
            self._over = True
            self.fault = fault
            if fault:
                self.ending = f"The sandbox was ended, since its stream cannot be trusted: {fault}"
            for stream in self._streams.values():
                stream.close()
            self._notify()
        REAPER.put(self._remove)

    def _remove(self) -> None:
        self._said.wait(_LAST_WORD)
        try:
            self._stream.close()
        finally:
            self._end()
            for thread in self._threads:
                thread.join(5)
            with self._lock:
                os.close(self._woken)
                os.close(self._wake)
                self._wake = -1


_alive: weakref.WeakSet[KeeperProcess] = weakref.WeakSet()
_alive_lock = threading.Lock()
_heart: threading.Thread | None = None


def _begin(process: KeeperProcess) -> None:
    """Count a process among those that get signs of life."""
    global _heart
    with _alive_lock:
        _alive.add(process)
        if _heart is None:
            _heart = threading.Thread(target=_beating, name="actloop-heartbeat", daemon=True)
            _heart.start()


def _beating() -> None:
    while True:
        time.sleep(_BEAT)
        with _alive_lock:
            processes = list(_alive)
        for process in processes:
            process.beat()
        del processes


@atexit.register  # before the reaper's last round, which was registered earlier
def _close_all() -> None:
    with _alive_lock:
        processes = list(_alive)
    for process in processes:
        process.close()


def _after_fork_in_child() -> None:
    global _alive_lock, _heart
    _alive_lock, _heart = threading.Lock(), None
    _alive.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
