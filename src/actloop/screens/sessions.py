"""The visitors of a page: each has an agent of its own, and nothing of it is seen by another."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from actloop.errors import AgentError, AgentInterruptedError, message_of
from actloop.screens.chat import ChatLog, Entry, error_entry
from actloop.screens.markup import plain
from actloop.values.temporary import TemporaryFolder

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from actloop.agents.base import MultiStepAgent


class Visitor:
    """One visitor's conversation.

    Args:
        agent: A copy of the page's agent.
    """

    def __init__(self, agent: MultiStepAgent) -> None:
        self.agent = agent
        self._temporary = TemporaryFolder("page")
        self.folder = self._temporary.path
        self.log = ChatLog(self.folder)
        self.seen = time.monotonic()
        self.is_busy = False

    async def ask(
        self, task: str, *, reset: bool, images: list[Any], variables: dict[str, Any]
    ) -> AsyncGenerator[list[dict[str, Any]]]:
        """Run the agent on a task.

        Args:
            task: What to do.
            reset: Begin a new conversation with the agent; what the page shows stays.
            images: Images that the model is shown.
            variables: Variables for the task, by name.

        Yields:
            All messages of the chat, whenever they have changed. A run that fails says so in the last of them.
        """
        self.is_busy = True
        log, changed = self.log, asyncio.Event()

        async def work() -> None:
            items = self.agent.astream(task, reset=reset, images=images or None, additional_args=variables or None)
            async with aclosing(items) as stream:
                async for item in stream:
                    if log.add(item):
                        changed.set()

        # The run goes on by itself, so that the chat shows what there is also while the run waits.
        run = asyncio.create_task(work())
        run.add_done_callback(lambda _: changed.set())
        try:
            while not run.done():
                await changed.wait()
                changed.clear()
                yield self.log.messages()
                await asyncio.sleep(log.pause)
        finally:
            run.cancel()
            (ended,) = await asyncio.gather(run, return_exceptions=True)
            self.is_busy = False
            self.seen = time.monotonic()
            if ended is not None:
                log.break_off(_end(ended))
        yield self.log.messages()

    def stop(self) -> None:
        """Interrupt the run that is under way."""
        self.agent.interrupt()

    def restart(self) -> None:
        """Begin a new conversation, on an empty page."""
        self.agent.forget()
        self.log = ChatLog(self.folder)

    def close(self) -> None:
        """End the visitor's run and sandbox, and remove the files that the page showed."""
        self.agent.forget()
        self._temporary.close()


def _end(error: BaseException) -> Entry:
    """What the chat says of a run without an answer."""
    if isinstance(error, AgentInterruptedError | asyncio.CancelledError):
        return Entry(plain("Stopped."))
    kind = "" if isinstance(error, AgentError) else f"{type(error).__name__}: "
    return error_entry(kind + message_of(error))


class Visitors:
    """The visitors of one page, by what tells them apart; safe to use from many threads.

    Args:
        make: Makes a visitor's agent.
        limit: How many are kept; the one that was idle longest leaves for a new one.
        idle_seconds: After so long without a run a visitor has left.
    """

    def __init__(self, make: Callable[[], MultiStepAgent], limit: int = 200, idle_seconds: float = 3600.0) -> None:
        self._make = make
        self._limit = limit
        self._idle_seconds = idle_seconds
        self._lock = threading.Lock()
        self.known: dict[str, Visitor] = {}

    def __len__(self) -> int:
        return len(self.known)

    def get(self, key: str) -> Visitor:
        """The visitor of this key; a new one if there is none."""
        with self._lock:
            visitor = self.known.get(key)
            leaving = [] if visitor is not None else self._make_room()
            if visitor is None:
                visitor = self.known[key] = Visitor(self._make())
            visitor.seen = time.monotonic()
        for left in leaving:
            left.close()
        return visitor

    def _make_room(self) -> list[Visitor]:
        oldest = time.monotonic() - self._idle_seconds
        idle = sorted((v.seen, key) for key, v in self.known.items() if not v.is_busy)
        surplus = len(self.known) - self._limit + 1
        leaving = [key for place, (seen, key) in enumerate(idle) if seen < oldest or place < surplus]
        return [self.known.pop(key) for key in leaving]

    def stop(self, key: str) -> None:
        """Interrupt the visitor's run, if there is one."""
        visitor = self.known.get(key)
        if visitor is not None:
            visitor.stop()

    def leave(self, key: str) -> None:
        """The visitor is gone; unknown ones are ignored."""
        with self._lock:
            visitor = self.known.pop(key, None)
        if visitor is not None:
            visitor.close()

    def close(self) -> None:
        """Everybody leaves."""
        for key in list(self.known):
            self.leave(key)
