"""Workers of Monty: processes that a pool of this process starts, and that it lends to one session after another."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

from actloop.errors import MissingExtraError, SandboxUnavailableError
from actloop.executors.monty.grip import Grip

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_monty import Monty, MontySession, SyncSnapshot

_SESSIONS_EACH = 100
_MOST = 4096
_BACKSTOP = 10.0
_FOREVER = 86_400.0


class Bounds(NamedTuple):
    """What a worker is held to.

    Attributes:
        memory: Bytes; None for no limit.
        wall: Seconds of a program; None for no limit.
        value: Bytes that may cross at once.
    """

    memory: int | None
    wall: float | None
    value: int


class Checkout:
    """A worker that is lent to one session, and knows nothing of any other.

    Args:
        bounds: What it is held to; Monty itself enforces all but `value`.

    Attributes:
        mark: What the lines begin with that its prelude speaks to the host by.

    Raises:
        MissingExtraError: Monty is not installed.
        SandboxUnavailableError: It cannot be started here.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._guard = threading.RLock()  # a signal's handler may kill while its thread does
        self._grip: Grip | None = None
        self._killed = False
        self._enter(bounds)
        try:
            self._hold()
        except BaseException:
            self.session.__exit__(None, None, None)
            raise
        _lent.add(self)

    def _enter(self, bounds: Bounds) -> None:
        # Whatever a session does, the host answers; how often it may ask is limited by its time.
        asked: dict[str, Any] = {"max_memory": bounds.memory, "max_suspensions": 1 << 31}
        # Where nothing ends a worker with its host, it ends when it next waits for it, or at this limit.
        asked["max_feed_duration_secs"] = bounds.wall or _FOREVER
        self.bounds = bounds
        self.mark = ""
        self.feeds = 0
        self.session = _pool.enter(
            lambda pool: pool.checkout(
                limits=asked,  # pyright: ignore[reportArgumentType]
                print_flush_interval=0,
                os_policy={"sleep": "call_host"},
                assert_message_annotations=False,
            )
        )

    def _hold(self, before: Grip | None = None) -> None:
        """Hold the worker that was taken, by what the one before was held by if it is the same."""
        worker = self.session.worker_pid
        grip = before
        if before is None or before.worker != worker or before.has_ended:
            grip = Grip(worker) if worker is not None else None
        with self._guard:
            self._grip = grip
            if self._killed and grip is not None:
                grip.kill()

    def _taken_out(self) -> Grip | None:
        """What the worker is held by, which nobody can kill it by any more."""
        with self._guard:
            grip, self._grip = self._grip, None
        return grip

    @property
    def worker(self) -> int | None:
        """The number of its process; None while it has none."""
        grip = self._grip
        return grip.worker if grip is not None else None

    def feed(self, code: str, print_to: Callable[[str, str], None] | None = None, **inputs: Any) -> None:
        """Run a program of the host's own to its end; it asks for nothing and its value is not looked at."""
        from pydantic_monty import MontyComplete

        self.feeds += 1
        ended = self.session.feed_start(code, inputs=inputs, print_callback=print_to or _ignore)
        if not isinstance(ended, MontyComplete):
            raise RuntimeError("a program of the host's own was stopped")

    def start(self, code: str, print_to: Callable[[str, str], None], **inputs: Any) -> SyncSnapshot:
        """Start a program of the user's."""
        self.feeds += 1
        return self.session.feed_start(code, inputs=inputs, print_callback=print_to)

    def load(self, data: bytes, feeds: int) -> None:
        """Go on from a dump, which was taken after so many programs; for a fresh worker."""
        self.session.load_session(data)
        self.feeds = feeds

    def renew(self, bounds: Bounds) -> None:
        """Give the worker back and take one that is as fresh as at first: mostly the same process.

        In between, the process may be another session's: whoever kills then, kills what is taken after that. Whoever
        calls this closes it if it fails.

        Raises:
            RuntimeError: It has been killed.
        """
        grip = self._taken_out()
        try:
            self.session.__exit__(None, None, None)
            self._enter(bounds)
            self._hold(grip)
        finally:
            if grip is not None and grip is not self._grip:
                grip.let_go()
        if self._killed:
            raise RuntimeError("the worker was killed")

    @property
    def works(self) -> bool:
        """Whether the worker has neither been killed nor ended by itself, as far as the system knows by now."""
        with self._guard:
            if self._killed or self._grip is None:
                return False
            if self._grip.is_sure:
                return not self._grip.has_ended
        return self.answers

    @property
    def answers(self) -> bool:
        """Whether the worker does what it is told: one that is just being killed does not."""
        try:
            self.feed("None")
        except Exception:
            return False
        return True

    def kill(self) -> None:
        """End the worker, or the one that is about to be taken; from any thread. Once closed, it does nothing."""
        with self._guard:
            self._killed = True
            if self._grip is not None:
                self._grip.kill()

    def close(self) -> None:
        """End the worker and wait for its end."""
        self._killed = True
        grip = self._taken_out()
        if grip is not None:
            if grip.is_sure or self.session.worker_pid is not None:  # its number may be another's once it has ended
                grip.kill()
            grip.let_go()
        _lent.discard(self)
        with contextlib.suppress(Exception):  # the library may say that it was killed
            self.session.__exit__(None, None, None)


def _ignore(_stream: str, _text: str) -> None:
    pass


class _Pool:
    """The library's pool, started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._monty: Monty | None = None
        self._unusable = False

    def enter(self, checkout: Callable[[Monty], MontySession]) -> MontySession:
        """A session of a worker that is free, or else of a new one."""
        monty = self._started()
        from pydantic_monty import MontyCrashedError

        try:
            return checkout(monty).__enter__()
        except MontyCrashedError:  # it ended while it was free; the next one is another
            return checkout(monty).__enter__()

    def _started(self) -> Monty:
        with self._lock:
            if self._unusable:
                raise SandboxUnavailableError(
                    "Monty cannot be used in a process that was forked from one that used it: start processes with "
                    "multiprocessing's method 'spawn' or 'forkserver', or choose another executor"
                )
            if self._monty is None:
                monty = monty_class()
                try:
                    self._monty = monty(
                        min_processes=0,
                        max_processes=_MOST,
                        max_checkouts_per_worker=_SESSIONS_EACH,
                        feed_duration_limit_grace=_BACKSTOP,
                        turn_duration_limit_grace=_BACKSTOP,
                    ).__enter__()
                except (OSError, RuntimeError) as error:
                    raise SandboxUnavailableError(f"Monty cannot be started: {error}") from error
            return self._monty

    def after_fork(self) -> None:
        """A child has the pool's memory without its threads: it must neither use it nor end it."""
        self._lock = threading.Lock()
        self._unusable = self._unusable or self._monty is not None
        for kept in (self._monty, *(checkout.session for checkout in _lent)):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))


def monty_class() -> type[Monty]:
    """The library's class of pools.

    Raises:
        MissingExtraError: The library is not installed.
    """
    try:
        from pydantic_monty import Monty
    except ImportError as error:
        raise MissingExtraError("pydantic-monty", "monty", "MontyExecutor") from error
    return Monty


_lent: set[Checkout] = set()
_pool = _Pool()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pool.after_fork)
