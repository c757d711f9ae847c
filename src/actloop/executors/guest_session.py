"""A session with a guest process: commands and what the guest says to them, interrupts, and the end of the guest."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

from actloop import guest
from actloop.errors import InterpreterError, ProtocolError
from actloop.executors import guest_files, guest_snapshots
from actloop.executors.files.state import off_loop
from actloop.executors.forks import forked
from actloop.executors.guest_clock import GRACE, SnippetClock
from actloop.executors.guest_interrupt import SnippetInterrupt
from actloop.executors.guest_stream import GuestStream
from actloop.executors.protocol import HostProtocol, Ready, Told
from actloop.executors.session import LOST, Call, Finished, GuestFailure, Printed, SandboxLimits, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from actloop.executors.exchange import Exchange
    from actloop.executors.forks import Opener
    from actloop.executors.guest_process import GuestProcess
    from actloop.executors.network import SessionProxy
    from actloop.executors.protocol import Event
    from actloop.executors.session import RemoteTool, Snapshot, Waiter
    from actloop.executors.workspace import FileChanges
    from actloop.values.events import NetworkRequested

STOP_GRACE = 0.5
"""Seconds that a snippet may take to end after its answer was given."""

START = 30.0
"""Seconds that a guest may take to start."""


class GuestSession(Session):
    """A session with a guest; its methods may be called from several threads at once, `receive` from one.

    Args:
        process: The guest, just started.
        limits: What it is held to.
        kind: What kind of sandbox it is; snapshots are restored in their own kind only.
        opener: Opens another session of the same executor, for `fork`.
    """

    def __init__(
        self, process: GuestProcess, limits: SandboxLimits, kind: str = "", opener: Opener | None = None
    ) -> None:
        self.limits = limits
        self._opener = opener
        self._tools: dict[str, RemoteTool] = {}
        self.kind = kind
        self.python = ""
        self._process = process
        self._protocol = HostProtocol(limits)
        self._lock = threading.RLock()
        self._stream = GuestStream(process.channel, self._protocol, self._lock, 2 * limits.value)
        self._clock = SnippetClock(limits, process)
        self._alive = True
        self._closed = False
        self._owner = os.getpid()
        self._stopped = self._killed = False
        self._interrupt = SnippetInterrupt(process, self._protocol, self._lock)
        self._paused = False
        self.exchange: Exchange | None = None
        """Moves the files of a workspace, if the guest has a copy of one."""

    # ---- commands

    async def wait_ready(self, waiter: Waiter) -> None:
        """Wait until the guest has started.

        Raises:
            ProtocolError: It did not start.
        """
        event = await self._next(waiter, time.monotonic() + START)
        if not isinstance(event, Ready):
            self.close()
            raise ProtocolError("The sandbox did not start")
        self.python = event.python

    async def define(
        self, waiter: Waiter, *, tools: Sequence[RemoteTool] = (), variables: Mapping[str, Any] | None = None
    ) -> None:
        """As in `Session`."""
        with self._lock:
            self._tools |= {tool.name: tool for tool in tools}
            frames = self._protocol.define(tools, {})
        for name, value in (variables or {}).items():
            frames.append(await waiter.compute(self._protocol.variable, name, value))
        for frame in frames:
            await self._send(frame, waiter)

    async def start(self, code: str, waiter: Waiter) -> None:
        """As in `Session`."""
        if self.exchange is not None and self._alive:
            await self.give_files(waiter)
            if not self._alive:
                return  # it died of that, as `receive` says
        with self._lock:
            if not self._alive:
                raise InterpreterError("The sandbox is closed; open a new session.")
            frame = self._protocol.run(code)
            self._stopped = self._killed = False
            self._interrupt.start()
            self._clock.start()
        await self._send(frame, waiter)

    async def answer(self, call_id: int, value: Any, waiter: Waiter) -> None:
        """As in `Session`."""
        result = await waiter.compute(self._protocol.result, call_id, value)
        with self._lock:
            self._charge()
            frame = self._protocol.settle(call_id, result)
        await self._send(frame, waiter)

    async def fail(self, call_id: int, kind: str, message: str, waiter: Waiter) -> None:
        """As in `Session`."""
        with self._lock:
            self._charge()
            frame = self._protocol.fail(call_id, kind, message)
        await self._send(frame, waiter)

    async def stop(self, call_id: int, waiter: Waiter) -> None:
        """As in `Session`."""
        with self._lock:
            self._charge()
            frame = self._protocol.stop(call_id)
            self._stopped = True
            self._clock.bound(STOP_GRACE)
        await self._send(frame, waiter)

    async def give_files(self, waiter: Waiter, *, first: bool = False) -> None:
        """Give the guest what is new in the workspace, as `guest_files.give`."""
        assert self.exchange is not None
        await guest_files.give(self, self.exchange, waiter, first=first)

    async def take_files(self, waiter: Waiter, masked: Callable[[str], str] | None = None) -> FileChanges | None:
        """As in `Session`."""
        if self.exchange is None or not self._alive:
            return None
        return await guest_files.take(self, self.exchange, waiter, masked)

    async def read(self, waiter: Waiter) -> dict[str, Any]:
        """The guest's variables: what cannot be encoded as `guest.Opaque`; tools and modules are left out."""
        return await self.ask("read", waiter)

    async def snapshot(self, waiter: Waiter, *, without: Collection[str] = ()) -> Snapshot:
        """As in `Session`."""
        return await guest_snapshots.take(self, waiter, without)

    async def restore(self, snapshot: Snapshot, waiter: Waiter) -> None:
        """As in `Session`."""
        await guest_snapshots.give(self, snapshot, waiter)

    async def fork(self, waiter: Waiter, *, without: Collection[str] = ()) -> Session:
        """As in `Session`."""
        return await forked(self, self._opener, self._tools.values(), waiter, without)

    async def ask(self, what: str, waiter: Waiter, **details: Any) -> Any:
        """Have the guest do something between two snippets; what it answers is untrusted.

        Args:
            what: One of the guest's `duties`.
            waiter: How to wait.
            details: What it needs to know.

        Raises:
            InterpreterError: It could not be done; or the guest died of it, or took longer than a snippet may, and the
                session is lost.
        """
        return await self.ask_within((self.limits.wall or START,), what, waiter, details)

    async def ask_within(self, alarms: Sequence[float], what: str, waiter: Waiter, details: Mapping[str, Any]) -> Any:
        """As `ask`, with the guest interrupted each time so many seconds have passed, and ended after the last time."""
        if not self._alive:
            raise InterpreterError("The sandbox is closed; open a new session.")
        question = await waiter.compute(self._protocol.question, what, details)
        with self._lock:
            frame = self._protocol.pose(what, question)
        try:
            await self._send(frame, waiter)
            event = await self._alarmed(waiter, alarms)
        except BaseException:
            self.close()  # what the guest is doing is not known any more
            raise
        if not isinstance(event, Told):
            self.close()
            raise InterpreterError(f"The sandbox died or took too long when it was asked to {what}. {LOST}")
        with self._lock:
            self._pause()
        if event.error is not None:
            raise InterpreterError(event.error)
        return event.value

    async def _alarmed(self, waiter: Waiter, alarms: Sequence[float]) -> Event | None:
        start = time.monotonic()
        for seconds in alarms:
            event = await self._next(waiter, start + seconds)
            if event is not None:
                return event
            self._process.signal(signal.SIGUSR1)
        return await self._next(waiter, time.monotonic() + GRACE)

    def interrupt(self) -> None:
        """As in `Session`."""
        with self._lock:
            if self._alive:
                self._interrupt.ask()

    def observe(self, observer: Callable[[NetworkRequested], None]) -> None:
        """As in `Session`."""
        if self._proxy is not None:
            self._proxy.observe(observer)

    async def rest(self, waiter: Waiter) -> None:
        """As in `Session`."""
        if self._proxy is not None:
            await off_loop(waiter, self._proxy.rest)

    async def report(self, waiter: Waiter) -> None:
        """As in `Session`."""
        if self._proxy is not None:
            await off_loop(waiter, self._proxy.report)

    @property
    def _proxy(self) -> SessionProxy | None:
        return getattr(self._process, "proxy", None)

    def close(self) -> None:
        """As in `Session`."""
        if self._owner != os.getpid():  # a fork has only descriptors of it, and the lock may be held for ever
            self._alive = False
            if not self._closed:
                self._closed = True
                self._process.close()
                self._process.channel.close()
            return
        with self._lock:
            self._alive = False
            self._interrupt.end()
            if self._closed:
                return
            self._process.close()
            self._process.channel.close()
            self._closed = True  # at the end: when the user interrupts it, it can be done anew

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            self.close()

    @property
    def alive(self) -> bool:
        """As in `Session`; a fork of the process that opened it has no session."""
        return self._alive and self._owner == os.getpid()

    # ---- what the guest says

    async def receive(self, waiter: Waiter) -> Call | Printed | Finished:
        """As in `Session`."""
        if not self._alive:
            return self._lost("SandboxCrash", "The sandbox is closed.")
        if self._killed:
            return self._died()
        if self._protocol.state != "running":
            raise InterpreterError("No program is running in the sandbox.")
        try:
            event = await self._next_running(waiter)
        except ProtocolError as error:
            return self._lost("SandboxCrash", f"{error}, so it was ended.")
        if event is None:
            return self._died()
        if isinstance(event, Finished):
            with self._lock:
                self._interrupt.end()
                self._pause()
            return self._judge(event)
        assert isinstance(event, Call | Printed)
        return event

    def _pause(self) -> None:
        """Give threads that a snippet left behind no time between snippets; the lock is held."""
        if self._alive and not self._paused:
            self._process.pause()
            self._paused = True

    def _judge(self, ended: Finished) -> Finished:
        """A snippet that ended in time is what it says; one that was interrupted for time failed by that."""
        if self._stopped:
            return Finished(None, ended.logs)
        return ended

    async def _next_running(self, waiter: Waiter) -> Event | None:
        """The running guest's next message; None when it has died. Keeps the time."""
        clock, calls = self._clock, self._protocol.open_calls
        while True:
            with self._lock:
                clock.charge(calls=bool(calls))
            event = await self._event(waiter)
            cpu_left = clock.cpu_left()
            if clock.is_over(cpu_left) and not isinstance(event, Finished):
                if clock.ended:
                    self._process.kill()
                    self._killed = True
                    return self._stream.last_words(event)
                clock.end()
                self._process.signal(signal.SIGUSR1)
            if event is not None:
                if isinstance(event, Call):
                    with self._lock:
                        clock.called()
                return event
            if not await self._stream.more(waiter, clock.timeout(cpu_left, calls=bool(calls))):
                return None

    async def _next(self, waiter: Waiter, until: float) -> Event | None:
        """The next message of a guest that runs no snippet; None when it has died or is late."""
        while True:
            event = await self._event(waiter)
            if event is not None:
                return event
            left = until - time.monotonic()
            if left <= 0 or not await self._stream.more(waiter, left):
                return None

    async def _event(self, waiter: Waiter) -> Event | None:
        try:
            return await self._stream.event(waiter)
        except BaseException:
            self.close()  # the message is lost
            raise

    def _charge(self) -> None:
        self._clock.charge(calls=bool(self._protocol.open_calls))

    # ---- the end

    def _died(self) -> Finished:
        if self._stopped:
            return self._lost_after_answer()
        if self._clock.ended:
            return self._lost("TimeoutError", f"{self._clock.overran} and was killed.", guest.TOO_SLOW)
        if self._interrupt.is_asked:
            return self._lost(
                "KeyboardInterrupt", "The code was interrupted by the user and did not end, so it was killed."
            )
        why = getattr(self._process, "ending", "")  # known of some kinds of processes
        return self._lost(
            "SandboxCrash",
            f"{why or 'The sandbox process ended: the code crashed it, ended it or used too much memory'}.",
        )

    def _lost(self, kind: str, message: str, advice: str = "") -> Finished:
        logs = self._protocol.logs
        self.close()
        traceback = f"{kind}: {message}\n"
        return Finished(
            None, logs, GuestFailure(kind, message, traceback=traceback, hint=f"{advice} {LOST}".strip(), lost=True)
        )

    def _lost_after_answer(self) -> Finished:
        """The answer was given before the guest died: that the variables are gone is all that is left to say."""
        return self._lost("SandboxCrash", "The sandbox ended after the answer was given.")

    # ---- sending

    async def _send(self, frame: bytes, waiter: Waiter) -> None:
        """Send a frame whole. A guest that does not read in time is killed; the death shows in `receive`."""
        if not frame or not self._alive:
            return
        with self._lock:
            is_sent = self._stream.send(frame)
            if self._paused:  # only now, so that it wakes up once
                self._paused = False
                self._process.resume()
            if is_sent:
                return
            left = self._clock.left if self._protocol.state == "running" else None
        until = time.monotonic() + (left if left is not None else self.limits.wall or START)
        while self._alive and not self._stream.flush():
            rest = until - time.monotonic()
            if rest <= 0:
                self._clock.ended = left is not None
                self._process.kill()
                return
            await self._stream.room(waiter, min(rest, 0.005))
