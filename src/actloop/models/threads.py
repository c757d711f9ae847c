"""Blocking calls under asyncio, each in a daemon thread of its own.

asyncio's default pool has a handful of threads, which a few slow replies would exhaust, and it makes the loop wait at
its end for a request that nobody wants any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Generator

T = TypeVar("T")


async def call_in_thread(function: Callable[[], T]) -> T:
    """Call it in a thread, with the caller's context variables. Cancelling does not end the call, only the wait."""
    loop = asyncio.get_running_loop()
    result: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: BaseException | None) -> None:
        if result.done():
            return
        if error is None:
            result.set_result(value)  # pyright: ignore[reportArgumentType]  # a T unless there is an error
        else:
            result.set_exception(error)

    def work() -> None:
        value, failure = None, None
        try:
            value = function()
        except BaseException as error:
            failure = RuntimeError("StopIteration in a thread") if isinstance(error, StopIteration) else error
        _tell(loop, settle, value, failure)

    _start(work)
    return await result


async def iterate_in_thread(make: Callable[[], Generator[T]]) -> AsyncGenerator[T]:
    """Run a generator in a thread; closing this one closes that one before its next item."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[tuple[T] | BaseException | None] = asyncio.Queue()
    unwanted = threading.Event()

    def work() -> None:
        end: BaseException | None = None
        try:
            with contextlib.closing(make()) as items:
                for item in items:
                    if unwanted.is_set():
                        return
                    _tell(loop, arrived.put_nowait, (item,))
        except BaseException as error:
            end = error
        finally:
            _tell(loop, arrived.put_nowait, end)

    _start(work)
    try:
        while (item := await arrived.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item[0]
    finally:
        unwanted.set()


def _start(work: Callable[[], None]) -> None:
    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="actloop-model", daemon=True).start()


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(callback, *args)
