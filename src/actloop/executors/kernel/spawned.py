"""A session of the kernel sandbox that a zygote has forked: its process, its channel, and what it reports of itself."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field

from actloop.errors import SandboxUnavailableError
from actloop.executors.descriptors import if_few

from .harden import Level


class Report:
    """Lines that a session, and the zygote when it has ended, write about it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._data = b""

    def line(self, deadline: float) -> bytes:
        """The next line; empty when no more comes, or not before the deadline (`time.monotonic()`)."""
        while b"\n" not in self._data:
            if self._descriptor < 0:
                return b""
            poller = select.poll()
            poller.register(self._descriptor, select.POLLIN)
            if not poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
                return b""
            chunk = os.read(self._descriptor, 4096)
            if not chunk:
                return b""
            self._data += chunk
        line, _, self._data = self._data.partition(b"\n")
        return line

    def close(self) -> None:
        """Close the pipe; idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(slots=True)
class Spawned:
    """A session that has been started.

    Attributes:
        channel: The host's end of the stream to the guest; the caller closes it.
        pid: The session's process id, for messages only: signals go through `pidfd`.
        pidfd: Descriptor of the session's process; readable once it has ended.
        levels: How it is confined, level by level.
        network: Where connections of its programs to `config["network"]` arrive; None without a way out. The caller
            closes it.
    """

    channel: socket.socket
    pid: int
    pidfd: int
    levels: list[Level]
    _report: Report
    network: socket.socket | None = None
    _code: int | None = field(default=None, init=False)
    _owner: int = field(default_factory=os.getpid, init=False)
    """The process that started it: a fork of that inherits the descriptors, but the session is not its own."""

    def kill(self) -> None:
        """End the session at once; harmless when it has ended already or was closed."""
        if self.pidfd >= 0 and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def interrupt(self) -> None:
        """Send SIGINT, which the guest sees as `KeyboardInterrupt`; harmless when it has ended."""
        if self.pidfd >= 0 and self._owner == os.getpid():
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGINT)

    def exit_code(self, timeout: float = 1.0) -> int | None:
        """How the session ended: its exit status, or a signal's number, negated. Waits for the end.

        Args:
            timeout: Seconds to wait for it.

        Returns:
            None when it has not ended in time, or when nobody is left who knows.
        """
        if self._code is None:
            line = self._report.line(time.monotonic() + timeout)
            self._code = json.loads(line)["status"] if line else None
        return self._code

    def close(self) -> None:
        """Kill the session and close what this object holds, the channel included; idempotent."""
        self.kill()
        self.channel.close()
        self._report.close()
        pidfd, self.pidfd = self.pidfd, -1
        if pidfd >= 0:
            os.close(pidfd)


def confined(channel: socket.socket, pidfd: int, report: Report, deadline: float, *, network: bool) -> Spawned:
    """A session that has been forked, once it is confined.

    Args:
        channel: The host's end of the stream to its guest.
        pidfd: Descriptor of its process.
        report: What it writes about itself.
        deadline: When it must be confined (`time.monotonic()`).
        network: Whether it hands a way out over.

    Raises:
        SandboxUnavailableError: It could not be confined, or not in time.
    """
    levels = _read_levels(report, deadline)
    listener = _take_listener(channel) if network else None
    return Spawned(channel, _pid_of(pidfd), pidfd, levels, report, listener)


def _read_levels(report: Report, deadline: float) -> list[Level]:
    line = report.line(deadline)
    if not line:
        raise SandboxUnavailableError(f"a session died or hung while it was being confined{if_few()}")
    message = json.loads(line)
    if "status" in message:
        how = f"exit code {message['status']}"
        raise SandboxUnavailableError(f"a session died while it was being confined ({how}){if_few()}")
    if "error" in message:
        raise SandboxUnavailableError(f"a session could not be confined: {message['error']}{if_few()}")
    return [Level(*level) for level in message["levels"]]


def _take_listener(channel: socket.socket) -> socket.socket:
    """The socket that a session sent ahead of everything else."""
    channel.settimeout(1.0)
    _, descriptors, _, _ = socket.recv_fds(channel, 1, 1, socket.MSG_CMSG_CLOEXEC)
    channel.settimeout(None)
    if len(descriptors) != 1:
        raise SandboxUnavailableError(f"a session did not hand its way out over{if_few()}")
    return socket.socket(fileno=descriptors[0])


def _pid_of(pidfd: int) -> int:
    """The process id behind a descriptor, in this process's numbering; -1 when it has ended."""
    descriptor = os.open(f"/proc/self/fdinfo/{pidfd}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        told = os.read(descriptor, 4096)
    finally:
        os.close(descriptor)
    for line in told.splitlines():
        if line.startswith(b"Pid:"):
            return int(line.split()[1])
    return -1
