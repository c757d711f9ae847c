"""Waiting in the caller's own thread, for callers that have no runtime."""

from __future__ import annotations

import select
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

T = TypeVar("T")


class BlockingWaiter:
    """A `Waiter` that blocks the thread it is called from."""

    async def ready(self, fd: int, *, write: bool = False, timeout: float | None = None) -> bool:
        """Wait until `fd` can be read or written; False when `timeout` seconds passed first."""
        poll = select.poll()
        poll.register(fd, select.POLLOUT if write else select.POLLIN)
        return bool(poll.poll(None if timeout is None else max(0.0, timeout * 1000)))

    async def compute(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call it here."""
        return function(*arguments)


def run_now(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that only ever blocks, and so never suspends."""
    try:
        work.send(None)
    except StopIteration as end:
        return end.value
    work.close()
    raise RuntimeError("a coroutine that was run without an event loop suspended")
