"""The stream to the host, shared by the threads and event loops of the guest."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .framing import Unpacker
from .wire import MAX_OPEN_CALLS

if TYPE_CHECKING:
    from collections.abc import Callable

    from .interrupts import Gate
    from .plain import PlainLine


class Ticket:
    """Something that a thread waits for: the answer to a call, or (for the main thread) the next command."""

    __slots__ = ("answer", "deliver", "done", "wake")

    def __init__(self, wake: Any) -> None:
        self.done = False
        self.answer: dict[str, Any] = {}
        self.deliver: Callable[[], None] | None = None
        self.wake = wake
        wake.acquire()


class Line:
    """The descriptors of the stream. `PlainLine` is the same for platforms that cannot wait for a descriptor.

    Args:
        read_fd: Where the host's messages come from.
        write_fd: Where messages to the host go; may be the same.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        import select

        self.fd = read_fd
        self._write_fd = write_fd
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_read, False)
        os.set_blocking(self._wake_write, False)
        poll = select.poll()
        poll.register(read_fd, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        self._write_poll = select.poll()
        self._write_poll.register(write_fd, select.POLLOUT)
        self.wait: Callable[[], Any] = poll.poll
        """Waits until there is something to read, or another thread called `wake`."""

    def install(self) -> None:
        """Make the standard library fit; it does."""

    def read(self) -> bytes:
        """Bytes that have arrived; empty at the end of the stream.

        Raises:
            BlockingIOError: There are none now.
        """
        return os.read(self.fd, 65_536)

    def write(self, frame: bytes) -> None:
        """Write all of it."""
        rest: bytes | memoryview = frame
        while rest:
            try:
                written = os.write(self._write_fd, rest)
            except BlockingIOError:
                self._write_poll.poll()
                continue
            if written == len(rest):
                return
            rest = memoryview(rest)[written:]

    def wake(self) -> None:
        """End another thread's `wait`."""
        os.write(self._wake_write, b"x")

    def woken(self) -> None:
        """Take note of one `wake`."""
        os.read(self._wake_read, 1)


class Channel:
    """The stream to the host, shared by all threads of the guest.

    Whoever waits reads: one waiting thread is the leader, polls the stream and hands the answers of others over; when
    it has its own, another waiting thread takes the lead. Event loops read as well, when the stream becomes readable.
    """

    def __init__(self, line: Line | PlainLine, limit: int, gate: Gate) -> None:
        import _thread
        import collections

        self.fd = line.fd
        self._line = line
        self.limit = limit
        self._gate = gate
        self._new_lock = _thread.allocate_lock
        self._lock = _thread.allocate_lock()
        self._write_lock = _thread.allocate_lock()
        self._unpacker = Unpacker(limit)
        self._leader: Ticket | None = None
        self._reader: Ticket | None = None
        self._woken = False
        self._waiting: list[Ticket] = []
        self._commands: collections.deque[dict[str, Any]] = collections.deque()
        self._command_ticket: Ticket | None = None
        self._calls: dict[int, Ticket] = {}
        self._outbox: collections.deque[bytes] = collections.deque()
        self._sent = 0
        self._count = 0
        self.running = False
        self.stopped = False

    def send(self, frame: bytes) -> None:
        """Write a whole frame."""
        with self._write_lock:
            try:
                self._line.write(frame)
            except OSError:
                os._exit(0)  # the host is gone

    def next_command(self) -> dict[str, Any]:
        """Wait for the host's next command."""
        while not self._commands:
            with self._lock:
                ticket = self._command_ticket = Ticket(self._new_lock())
                if self._commands:
                    break
            self.wait(ticket)
        return self._commands.popleft()

    def number(self) -> int:
        """A number for a call."""
        with self._lock:
            self._count += 1
            return self._count

    def post(self, number: int, frame: bytes, deliver: Callable[[], None] | None = None) -> Ticket:
        """Send a call; if too many are open it is sent when another has been answered."""
        ticket = Ticket(self._new_lock())
        ticket.deliver = deliver
        with self._lock:
            if not self.running:
                raise RuntimeError("tools can be called only while the program runs")
            self._calls[number] = ticket
            if self._sent >= MAX_OPEN_CALLS:
                self._outbox.append(frame)
                return ticket
            self._sent += 1
        self.send(frame)
        return ticket

    def forget(self, number: int) -> None:
        """Nobody waits for this call any more."""
        self._calls.pop(number, None)

    def wait(self, ticket: Ticket) -> None:
        """Wait until a ticket is done."""
        while True:
            with self._lock:
                if ticket.done:
                    return
                lead = self._leader is None
                if lead:
                    self._leader = ticket
                else:
                    self._waiting.append(ticket)
            try:
                if lead:
                    self._gate.waiting(self._line.wait)
                    self.pump(ticket)
                else:
                    self._gate.waiting(ticket.wake.acquire)
            finally:
                self._step_back(ticket)

    def _step_back(self, ticket: Ticket) -> None:
        with self._lock:
            if self._leader is ticket:
                self._leader = None
                if self._waiting:
                    self._waiting.pop().wake.release()
            elif ticket in self._waiting:
                self._waiting.remove(ticket)

    def pump(self, leader: Ticket | None = None) -> None:
        """Take in what has arrived, without waiting; the leader says that it is the one."""
        with self._lock:
            if leader is not None and self._woken:
                self._woken = False
                self._line.woken()
            self._reader = leader
            try:
                data = self._line.read()
                if not data:
                    os._exit(0)  # the host is gone
                self._unpacker.feed(data)
                while (message := self._unpacker.next()) is not None:
                    self._dispatch(message)
            except BlockingIOError:
                pass
            except BaseException:
                os._exit(71)  # out of memory, or a host of another version: the stream cannot go on

    def _dispatch(self, message: dict[str, Any]) -> None:
        if message["t"] not in ("result", "error", "stop"):
            self._commands.append(message)
            if self._command_ticket is not None:
                self._complete(self._command_ticket)
            return
        if self._outbox and self.running:
            self.send(self._outbox.popleft())
        else:
            self._sent -= 1
        if message["t"] == "stop":
            self.stopped = True
        ticket = self._calls.pop(message["id"], None)
        if ticket is not None:
            ticket.answer = message
            self._complete(ticket)

    def _complete(self, ticket: Ticket) -> None:
        ticket.done = True
        if ticket.deliver is not None:
            ticket.deliver()
        elif ticket in self._waiting:
            self._waiting.remove(ticket)
            ticket.wake.release()
        elif ticket is self._leader and ticket is not self._reader and not self._woken:
            self._woken = True
            self._line.wake()

    def begin(self) -> None:
        """A snippet begins."""
        with self._lock:
            self.running, self.stopped, self._sent = True, False, 0

    def end(self) -> None:
        """A snippet ends: calls that are still open (of other threads) end with it."""
        with self._lock:
            self.running = False
            self._outbox.clear()
            for ticket in self._calls.values():
                ticket.answer = {"t": "error", "kind": "RuntimeError", "message": "the program has ended"}
                self._complete(ticket)
            self._calls.clear()
