"""Workers of Monty: processes that a pool of this process starts, lends to sessions and replaces when they die."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import threading
from typing import TYPE_CHECKING, Any

from actloop.errors import MissingExtraError, SandboxUnavailableError
from actloop.executors.tether import Tether

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_monty import Monty, MontySession, ResourceLimits, SyncSnapshot

WARM = 1
"""Workers that are used by one session after another. Sessions beside these get workers that end with them."""

_SESSIONS_EACH = 100
_MOST = 4096
_PATIENCE = 0.001
_BACKSTOP = 10.0
_FOREVER = 86_400.0


class Checkout:
    """A worker that is lent to one session.

    Args:
        limits: What Monty itself enforces.

    Raises:
        MissingExtraError: Monty is not installed.
        SandboxUnavailableError: It cannot be started here.
    """

    def __init__(self, limits: ResourceLimits) -> None:
        # Whatever a session does, the host answers; how often it may ask is limited by its time.
        asked: dict[str, Any] = {**limits, "max_suspensions": 1 << 31}
        # Where nothing ends a worker with its host, it ends when it next waits for it, or at this limit.
        asked["max_feed_duration_secs"] = limits.get("max_feed_duration_secs") or _FOREVER
        self.session = _pools.lend(
            lambda pool: pool.checkout(
                limits=asked,  # pyright: ignore[reportArgumentType]
                print_flush_interval=0,
                os_policy={"sleep": "call_host"},
                assert_message_annotations=False,
            )
        )
        self.worker = self.session.worker_pid
        self._pidfd = -1
        if self.worker is not None and hasattr(os, "pidfd_open"):
            with contextlib.suppress(OSError):
                self._pidfd = os.pidfd_open(self.worker)
        self._tether = Tether(self.worker) if self.worker is not None else None
        self.feeds = 0
        _lent.add(self)

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

    def kill(self) -> None:
        """End the worker; callable from any thread until `close`."""
        with contextlib.suppress(ProcessLookupError):
            if self._pidfd >= 0:
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)
            elif self.worker is not None:
                os.kill(self.worker, getattr(signal, "SIGKILL", signal.SIGTERM))

    def close(self) -> None:
        """Give the worker back."""
        _lent.discard(self)
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1
        if self._tether is not None:
            self._tether.untie()
        with contextlib.suppress(Exception):  # it may have been killed
            self.session.__exit__(None, None, None)


def _ignore(_stream: str, _text: str) -> None:
    pass


class _Pools:
    """The pools of this process, started when they are first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._warm: Monty | None = None
        self._more: Monty | None = None
        self._unusable = False

    def lend(self, checkout: Callable[[Monty], MontySession]) -> MontySession:
        """A session of a worker that is free, or else of a new one."""
        with self._lock:
            warm, more = self._started()
        try:
            session = checkout(warm)
            session.__enter__()
        except TimeoutError:
            session = checkout(more)
            session.__enter__()
        return session

    def _started(self) -> tuple[Monty, Monty]:
        if self._unusable:
            raise SandboxUnavailableError(
                "Monty cannot be used in a process that was forked from one that used it: start processes with "
                "multiprocessing's method 'spawn' or 'forkserver', or choose another executor"
            )
        if self._warm is None or self._more is None:
            monty = monty_class()
            common: dict[str, Any] = {
                "min_processes": 0,
                "feed_duration_limit_grace": _BACKSTOP,
                "turn_duration_limit_grace": _BACKSTOP,
            }
            try:
                self._warm = monty(
                    max_processes=WARM,
                    max_checkouts_per_worker=_SESSIONS_EACH,
                    checkout_timeout=_PATIENCE,
                    **common,
                ).__enter__()
                self._more = monty(max_processes=_MOST, max_checkouts_per_worker=1, **common).__enter__()
            except (OSError, RuntimeError) as error:
                raise SandboxUnavailableError(f"Monty cannot be started: {error}") from error
        return self._warm, self._more

    def after_fork(self) -> None:
        """A child has the pools' memory without their threads: it must neither use them nor end them."""
        self._lock = threading.Lock()
        self._unusable = self._unusable or self._warm is not None
        for kept in (self._warm, self._more, *(checkout.session for checkout in _lent)):
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


def lent() -> list[Checkout]:
    """What sessions have now."""
    return list(_lent)


_lent: set[Checkout] = set()
_pools = _Pools()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_pools.after_fork)
