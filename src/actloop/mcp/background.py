"""An event loop in a thread of its own, for clients that are used from blocking code, async code and many threads."""

from __future__ import annotations

import asyncio
import os
import threading
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from actloop.errors import AgentInterruptedError
from actloop.mcp.errors import MCPConnectionError
from actloop.tools.streaming import current_interrupt

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from actloop.tools.streaming import Interruptible

T = TypeVar("T")

_LEAVING = 2.0
"""Seconds that the thread may take to end once its work is done."""


class Background:
    """Runs coroutines in a thread of its own. It belongs to the process that made it: a fork makes another one."""

    def __init__(self) -> None:
        self._owner = os.getpid()
        self._ready: Future[asyncio.AbstractEventLoop] = Future()
        self._stop: asyncio.Event | None = None
        self._thread = threading.Thread(target=self._run, name="actloop-mcp", daemon=True)
        self._thread.start()
        self._loop = self._ready.result()

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._stop = asyncio.Event()
        self._ready.set_result(asyncio.get_running_loop())
        await self._stop.wait()

    @property
    def usable(self) -> bool:
        """Whether it runs, in this very process."""
        return self._owner == os.getpid() and self._thread.is_alive()

    @property
    def own(self) -> bool:
        """Whether this process made it."""
        return self._owner == os.getpid()

    @property
    def thread(self) -> threading.Thread:
        """The thread that it runs in."""
        return self._thread

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start a coroutine; cancelling the future cancels it."""
        try:
            return asyncio.run_coroutine_threadsafe(work, self._loop)
        except RuntimeError:
            work.close()
            raise

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, blocking this thread. An interrupted run, or Ctrl-C, cancels it.

        Raises:
            AgentInterruptedError: The run that made this call was interrupted.
            RuntimeError: It is called from the loop's own thread, which can wait for nothing.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise RuntimeError("a callback of an MCP client cannot wait for that client: use its async methods")
        future = self.submit(work)
        interrupt = current_interrupt()
        if interrupt is not None:
            interrupt.add_waker(future.cancel)
        try:
            return future.result()
        except CancelledError:
            raise _ended(interrupt) from None
        except BaseException:
            future.cancel()  # Ctrl-C: nobody waits for it any more
            raise
        finally:
            if interrupt is not None:
                interrupt.remove_waker(future.cancel)

    async def wait_async(self, work: Coroutine[Any, Any, T]) -> T:
        """As `wait`, on the running event loop, which is never blocked. Cancelling this cancels the coroutine."""
        future = self.submit(work)
        interrupt = current_interrupt()
        if interrupt is not None:
            interrupt.add_waker(future.cancel)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            raise _ended(interrupt) from None
        finally:
            if interrupt is not None:
                interrupt.remove_waker(future.cancel)

    def stop(self) -> None:
        """End the loop and its thread; what still runs is cancelled. Idempotent."""
        if not self.own or self._stop is None:
            return
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._stop.set)
        if threading.current_thread() is not self._thread:
            self._thread.join(_LEAVING)


def _ended(interrupt: Interruptible | None) -> Exception:
    """Why a coroutine was cancelled, though not by its caller."""
    if interrupt is not None and interrupt.is_set:
        return AgentInterruptedError("Agent interrupted.")
    return MCPConnectionError("the MCP client was disconnected before the server answered")
