"""Keepers as real child processes, whose standard input and output are pipes."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from actloop.executors import bundle
from actloop.executors.guest_session import GuestSession
from actloop.executors.session import SandboxLimits
from actloop.executors.stream import KeeperProcess
from actloop.executors.waiting import BlockingWaiter, run_now
from actloop.guest import BASE_BUILTIN_MODULES

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Generator

WAITER = BlockingWaiter()


class PipeStream:
    """The two pipes of a child process as a `ByteStream`."""

    def __init__(self, command: list[str]) -> None:
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self._in, self._out = self.child.stdin, self.child.stdout
        self._woken, self._wake = os.pipe()
        self._lock = threading.Lock()
        self.closed = 0

    def read(self) -> bytes:
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        poll.register(self._woken, select.POLLIN)
        ready = [fd for fd, _ in poll.poll()]
        return b"" if self._woken in ready else os.read(self._out.fileno(), 1 << 16)

    def write(self, data: bytes) -> None:
        self._in.write(data)
        self._in.flush()

    def close(self) -> None:
        with self._lock:
            self.closed += 1
            os.write(self._wake, b"x")
            if self.closed == 1:
                with contextlib.suppress(BrokenPipeError):
                    self._in.close()

    def end(self) -> None:
        """What removes the sandbox: here a process that may not obey."""
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()
        self._out.close()
        os.close(self._woken)
        os.close(self._wake)


def keeper_stream(
    config: dict[str, Any] | None = None, *, interpreter: str = sys.executable, **options: Any
) -> PipeStream:
    """A keeper that has been started."""
    stream = PipeStream([interpreter, "-I", "-c", bundle.BOOT])
    stream.write(bundle.boot({"config": {"imports": BASE_BUILTIN_MODULES, **(config or {})}, **options}))
    return stream


class Kept:
    """A session with a guest under a keeper.

    Attributes:
        ended: How often the sandbox was removed.
        gone: Set when it was.
    """

    def __init__(
        self,
        stream: PipeStream,
        limits: SandboxLimits,
        *,
        armor: bool = False,
        connect: Callable[[socket.socket], None] | None = None,
    ) -> None:
        self.stream = stream
        self.ended = 0
        self.gone = threading.Event()
        self.process = KeeperProcess(stream, self._end, armor=armor, connect=connect)
        self.session = GuestSession(self.process, limits)

    def _end(self) -> None:
        self.stream.end()
        self.ended += 1
        self.gone.set()

    def wait_gone(self) -> None:
        assert self.gone.wait(60)
        for thread in self.process._threads:  # pyright: ignore[reportPrivateUsage]
            thread.join(60)


@contextlib.contextmanager
def kept(
    limits: SandboxLimits | None = None,
    config: dict[str, Any] | None = None,
    *,
    connect: Callable[[socket.socket], None] | None = None,
    rlimits: tuple[str, ...] = (),
    **options: Any,
) -> Generator[Kept]:
    """A session whose guest has started."""
    limits = limits or SandboxLimits(wall=10)
    config = {"value": limits.value, "output": limits.output, "wall": limits.wall, "cpu": limits.cpu, **(config or {})}
    stream = keeper_stream(config, rlimits=rlimits, **options)
    made = Kept(stream, limits, armor=options.get("armor", False), connect=connect)
    try:
        run_now(made.session.wait_ready(WAITER))
        yield made
    finally:
        made.session.close()
        made.wait_gone()


def guest_of(made: Kept) -> int:
    """The process of the guest."""
    keeper = made.stream.child.pid
    return int(Path(f"/proc/{keeper}/task/{keeper}/children").read_text().split()[0])
